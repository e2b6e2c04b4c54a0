//! The routing record of a tenant: everything that ingest needs to know of its endpoints, in one small item.
//!
//! Endpoint changes write the endpoint and this record in one transaction, so that one strongly consistent read decides
//! who gets an event. It holds no URL and no secret.

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::SerializeSeq as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::event_type::{EventType, Pattern};
use crate::ids::{EndpointId, TenantId};
use crate::invalid::Invalid;
use crate::unknown::Unknown;

/// The most patterns that an endpoint may have.
pub const MOST_PATTERNS: usize = 32;

/// The largest a tenant's routes may be when written, in bytes: each event posted reads them.
pub const LARGEST_ROUTES: usize = 100 * 1024;

/// One endpoint as ingest sees it. Written as `[id without prefix, version, active, patterns]`, to be small; a newer version
/// may add to the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The endpoint.
    pub endpoint_id: EndpointId,
    /// The endpoint's own version: raised by every change of it.
    pub version: u64,
    /// Whether events are fanned out to it: not while it is paused.
    pub active: bool,
    /// What it subscribes to.
    pub patterns: Vec<Pattern>,
    /// What a newer version wrote behind these; kept as it is.
    pub unknown: Vec<Value>,
}

impl Serialize for Route {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sequence = serializer.serialize_seq(Some(4 + self.unknown.len()))?;
        sequence.serialize_element(self.endpoint_id.suffix())?;
        sequence.serialize_element(&self.version)?;
        sequence.serialize_element(&u8::from(self.active))?;
        sequence.serialize_element(&self.patterns)?;
        self.unknown.iter().try_for_each(|value| sequence.serialize_element(value))?;
        sequence.end()
    }
}

impl<'de> Deserialize<'de> for Route {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(RouteVisitor)
    }
}

struct RouteVisitor;

impl<'de> Visitor<'de> for RouteVisitor {
    type Value = Route;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a route: id, version, active, patterns")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut route: A) -> Result<Route, A::Error> {
        let missing = |name| A::Error::custom(format_args!("a route has no {name}"));
        let suffix: String = route.next_element()?.ok_or_else(|| missing("id"))?;
        let version = route.next_element()?.ok_or_else(|| missing("version"))?;
        let active: u8 = route.next_element()?.ok_or_else(|| missing("active"))?;
        let patterns = route.next_element()?.ok_or_else(|| missing("patterns"))?;
        let mut unknown = Vec::new();
        while let Some(value) = route.next_element()? {
            unknown.push(value);
        }
        let endpoint_id = EndpointId::from_suffix(&suffix).map_err(A::Error::custom)?;
        Ok(Route { endpoint_id, version, active: active != 0, patterns, unknown })
    }
}

/// The endpoints of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutingRecord {
    /// Whose endpoints these are.
    pub tenant: TenantId,
    /// Raised by every change; a change replaces the version that it saw. 0 while the tenant has no record.
    pub version: u64,
    /// The endpoints, in the order in which they were registered.
    pub routes: Vec<Route>,
    /// What a newer version stored beside these; kept as it is.
    pub unknown: Unknown,
}

impl RoutingRecord {
    /// The record of a tenant that has none.
    #[must_use]
    pub const fn empty(tenant: TenantId) -> Self {
        Self { tenant, version: 0, routes: Vec::new(), unknown: Unknown::none() }
    }

    /// The active endpoints that get events of the type.
    pub fn matching<'a>(&'a self, event_type: &'a EventType) -> impl Iterator<Item = &'a Route> {
        self.subscribed(event_type).filter(|route| route.active)
    }

    /// The endpoints that subscribe to the type, paused ones too.
    pub fn subscribed<'a>(&'a self, event_type: &'a EventType) -> impl Iterator<Item = &'a Route> {
        self.routes.iter().filter(|route| route.patterns.iter().any(|pattern| pattern.matches(event_type)))
    }

    /// The version of an endpoint, if it is still one of the tenant's.
    #[must_use]
    pub fn version_of(&self, endpoint_id: &EndpointId) -> Option<u64> {
        self.routes.iter().find(|route| route.endpoint_id == *endpoint_id).map(|route| route.version)
    }

    /// The next version of the record with `route` in its place, or at the end when it is new. One that subscribes to nothing
    /// more is never refused: an endpoint of a full record can be paused, though its version may have a digit more.
    pub fn with(&self, route: Route) -> Result<Self, Invalid> {
        let mut routes = self.routes.clone();
        let known = routes.iter().find(|existing| existing.endpoint_id == route.endpoint_id);
        let known = known.map(|existing| existing.patterns.as_slice()).unwrap_or_default();
        let subscribes_to_more = !route.patterns.iter().all(|pattern| known.contains(pattern));
        match routes.iter_mut().find(|existing| existing.endpoint_id == route.endpoint_id) {
            Some(existing) => *existing = Route { unknown: std::mem::take(&mut existing.unknown), ..route },
            None => routes.push(route),
        }
        let next = Self { routes, version: self.version + 1, ..self.clone() };
        if subscribes_to_more && next.routes_json().len() > LARGEST_ROUTES {
            return Err(Invalid::rule(
                "must fit the tenant's routes: its endpoints and their event types together take 100 KiB at most",
            ));
        }
        Ok(next)
    }

    /// The next version of the record without the endpoint.
    #[must_use]
    pub fn without(&self, endpoint_id: &EndpointId) -> Self {
        let routes = self.routes.iter().filter(|route| route.endpoint_id != *endpoint_id).cloned().collect();
        Self { routes, version: self.version + 1, ..self.clone() }
    }

    /// The routes as they are stored.
    #[must_use]
    pub fn routes_json(&self) -> String {
        // Plain tuples of texts and numbers: writing them cannot fail.
        serde_json::to_string(&self.routes).unwrap_or_default()
    }

    /// Reads the routes as they are stored.
    pub fn from_stored(tenant: TenantId, version: u64, routes_json: &str) -> Result<Self, serde_json::Error> {
        Ok(Self { tenant, version, routes: serde_json::from_str(routes_json)?, unknown: Unknown::none() })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn route(byte: u8, active: bool, patterns: &[&str]) -> Route {
        Route {
            endpoint_id: EndpointId::generate([byte; 10]),
            version: 1,
            active,
            patterns: patterns.iter().map(|pattern| pattern.parse().unwrap()).collect(),
            unknown: Vec::new(),
        }
    }

    fn record(routes: Vec<Route>) -> RoutingRecord {
        RoutingRecord { version: 4, routes, ..RoutingRecord::empty("acme".parse().unwrap()) }
    }

    #[test]
    fn an_event_goes_to_each_active_endpoint_that_matches_once() {
        let record = record(vec![
            route(1, true, &["student.created", "student.*", "*"]),
            route(2, false, &["*"]),
            route(3, true, &["course.*"]),
        ]);
        let event_type = "student.created".parse().unwrap();
        let ids: Vec<_> = record.matching(&event_type).map(|route| route.endpoint_id.clone()).collect();
        assert_eq!(ids, [EndpointId::generate([1; 10])]);
    }

    #[test]
    fn a_change_replaces_the_endpoint_in_its_place_and_raises_the_version() {
        let before = record(vec![route(1, true, &["a"]), route(2, true, &["b"])]);
        let after = before.with(route(1, false, &["c"])).unwrap();
        assert_eq!((after.version, &after.routes), (5, &vec![route(1, false, &["c"]), route(2, true, &["b"])]));
        let deleted = after.without(&EndpointId::generate([1; 10]));
        assert_eq!((deleted.version, &deleted.routes), (6, &vec![route(2, true, &["b"])]));
    }

    #[test]
    fn the_stored_form_is_compact_and_reads_back() {
        let record = record(vec![route(1, true, &["student.*"])]);
        let json = record.routes_json();
        assert_eq!(json, r#"[["aeaqcaibaeaqcaib",1,1,["student.*"]]]"#);
        assert_eq!(RoutingRecord::from_stored(record.tenant.clone(), 4, &json).unwrap(), record);
    }

    #[test]
    fn what_a_newer_version_wrote_behind_a_route_stays_there() {
        let json = r#"[["aeaqcaibaeaqcaib",1,1,["a"],{"later":[1]},2]]"#;
        let record = RoutingRecord::from_stored("acme".parse().unwrap(), 4, json).unwrap();
        let changed = record.with(route(1, false, &["b"])).unwrap();
        assert_eq!(changed.routes_json(), r#"[["aeaqcaibaeaqcaib",1,0,["b"],{"later":[1]},2]]"#);
        for wrong in [r#"[["aeaqcaibaeaqcaib",1,1]]"#, r#"[["x",1,1,["a"]]]"#, r#"[{}]"#] {
            assert!(RoutingRecord::from_stored("acme".parse().unwrap(), 4, wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn two_thousand_endpoints_fit_and_the_limit_is_said() {
        let mut routes: Vec<Route> = Vec::new();
        for number in 0u16..2000 {
            let mut random = [0; 10];
            random[..2].copy_from_slice(&number.to_be_bytes());
            routes.push(Route { endpoint_id: EndpointId::generate(random), ..route(0, true, &["student.created"]) });
        }
        let full = record(routes);
        assert!(full.with(route(9, true, &["a"])).is_ok());
        let long = "x".repeat(128);
        let mut large = full;
        let error = (0u8..200).find_map(|byte| match large.with(route(byte, true, &[&long])) {
            Ok(next) => {
                large = next;
                None
            }
            Err(error) => Some(error),
        });
        assert!(error.unwrap().to_string().contains("100 KiB"));
    }

    #[test]
    fn in_a_full_record_an_endpoint_can_be_changed_but_not_to_subscribe_to_more() {
        let long = |number: u32| format!("{number}.{}", "x".repeat(120));
        let many: Vec<_> = (0..24).map(long).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        let mut full = record(vec![route(0, true, &["*", "a"])]);
        // The last one takes what is left to the byte.
        let shorter: Vec<_> = (1..=120).rev().map(|length| "x".repeat(length)).collect();
        let shorter: Vec<_> = shorter.iter().map(|pattern| [pattern.as_str()]).collect();
        for patterns in std::iter::once(many.as_slice()).chain(shorter.iter().map(|one| one.as_slice())) {
            while let Ok(next) = full.with(route(full.routes.len() as u8, true, patterns)) {
                full = next;
            }
        }
        assert_eq!(full.routes_json().len(), LARGEST_ROUTES);
        let old = Route { version: u64::MAX, ..route(0, false, &["*", "a"]) };
        let paused = full.with(old.clone()).unwrap();
        assert!(paused.routes_json().len() > LARGEST_ROUTES && !paused.routes[0].active);
        assert!(paused.with(Route { patterns: vec!["*".parse().unwrap()], ..old.clone() }).is_ok(), "to less");
        assert!(full.with(Route { patterns: vec![long(99).parse().unwrap()], ..old }).is_err(), "to other things");
    }
}
