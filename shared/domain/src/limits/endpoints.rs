//! How many endpoints a tenant has, has at one host, and has registered today.
//!
//! A tenant's endpoints are in its routing record, and every change of one of them replaces the version of that record which
//! was seen. The counts are read after the record and written in the same transaction, each on the condition that it has not
//! changed since: a reader may see a part of a transaction before the rest.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::LimitReached;
use crate::address::EndpointUrl;
use crate::ids::{EndpointId, TenantId};
use crate::routing::RoutingRecord;
use crate::time::Timestamp;

/// A day, in seconds.
const DAY: i64 = 86_400;

/// How long the item of a host without endpoints is kept.
const EMPTY_KEPT: Duration = Duration::from_secs(86_400);

/// Maximum numbers of a tenant's endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndpointLimits {
    /// In all, paused ones included.
    pub per_tenant: usize,
    /// At one host, paused ones included.
    pub per_host: usize,
    /// How many it may register in a day, however many it deletes.
    pub registered_per_day: usize,
}

impl EndpointLimits {
    /// Whether the tenant may have one endpoint more than its routing record has.
    ///
    /// # Errors
    /// It has as many as it may have.
    pub fn check_tenant(&self, routing: &RoutingRecord) -> Result<(), LimitReached> {
        let (in_use, limit) = (routing.routes.len(), self.per_tenant);
        if in_use < limit {
            return Ok(());
        }
        Err(LimitReached::Endpoints { tenant: routing.tenant.clone(), in_use, limit })
    }
}

/// The endpoints of a tenant at one host.
///
/// They are kept by id, not as a number: an endpoint that the routing record does not have any more does not count, by
/// whatever version of Pombo it was deleted. So no place is ever lost.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostEndpoints {
    /// Raised by every change; 0 before the first.
    #[serde(default)]
    pub rev: u64,
    /// Their ids.
    #[serde(default)]
    pub endpoints: Vec<EndpointId>,
    /// When the item expires, in Unix seconds, while there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
}

impl HostEndpoints {
    /// The host of a URL as it is counted: in its one spelling, without the port.
    #[must_use]
    pub fn host(url: &EndpointUrl) -> &str {
        url.host().trim_end_matches('.')
    }

    /// The key of the item, next to the endpoints.
    #[must_use]
    pub fn key(tenant: &TenantId, host: &str) -> String {
        format!("host#{tenant}#{host}")
    }

    /// With one endpoint more.
    ///
    /// # Errors
    /// The tenant has as many at this host as it may have.
    pub fn with(
        &self,
        id: &EndpointId,
        host: &str,
        routing: &RoutingRecord,
        limits: &EndpointLimits,
    ) -> Result<Self, LimitReached> {
        let mut endpoints = self.others(id, routing);
        let (in_use, limit) = (endpoints.len(), limits.per_host);
        if in_use >= limit {
            let (tenant, host) = (routing.tenant.clone(), host.to_owned());
            return Err(LimitReached::EndpointsAtHost { tenant, host, in_use, limit });
        }
        endpoints.push(id.clone());
        Ok(Self { rev: self.rev + 1, endpoints, expires_at: None })
    }

    /// Without the endpoint.
    #[must_use]
    pub fn without(&self, id: &EndpointId, routing: &RoutingRecord, now: Timestamp) -> Self {
        let endpoints = self.others(id, routing);
        let expires_at = endpoints.is_empty().then(|| now.plus(EMPTY_KEPT).as_seconds());
        Self { rev: self.rev + 1, endpoints, expires_at }
    }

    /// Those that the tenant still has, but for one.
    fn others(&self, id: &EndpointId, routing: &RoutingRecord) -> Vec<EndpointId> {
        let stands = |other: &&EndpointId| *other != id && routing.version_of(other).is_some();
        self.endpoints.iter().filter(stands).cloned().collect()
    }
}

/// How many endpoints a tenant has registered on a day, in UTC. A deleted endpoint leaves a tombstone and begins a job, so
/// that registering and deleting in a loop is bounded too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// Raised by every change; 0 before the first.
    #[serde(default)]
    pub rev: u64,
    /// The day, counted from the Unix epoch.
    pub day: i64,
    /// How many.
    pub count: usize,
    /// When the day is over everywhere, in Unix seconds.
    pub expires_at: i64,
}

impl Registered {
    /// The key of the item, next to the endpoints.
    #[must_use]
    pub fn key(tenant: &TenantId) -> String {
        format!("registered#{tenant}")
    }

    /// With one endpoint more, at `now`. A machine whose clock is behind counts on the day of the others.
    ///
    /// # Errors
    /// The tenant has registered as many on this day as it may.
    pub fn with_one_more(
        &self,
        tenant: &TenantId,
        limits: &EndpointLimits,
        now: Timestamp,
    ) -> Result<Self, LimitReached> {
        let day = self.day.max(now.as_seconds().div_euclid(DAY));
        let (in_use, limit) = (if self.day == day { self.count } else { 0 }, limits.registered_per_day);
        if in_use >= limit {
            let until = Timestamp::from_seconds(start_of(day.saturating_add(1)));
            return Err(LimitReached::Registered { tenant: tenant.clone(), in_use, limit, until });
        }
        Ok(Self { rev: self.rev + 1, day, count: in_use + 1, expires_at: start_of(day.saturating_add(2)) })
    }
}

/// The first second of a day that is counted from the Unix epoch.
const fn start_of(day: i64) -> i64 {
    day.saturating_mul(DAY)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::routing::Route;

    const LIMITS: EndpointLimits = EndpointLimits { per_tenant: 4, per_host: 2, registered_per_day: 3 };
    const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

    fn id(number: u8) -> EndpointId {
        EndpointId::generate([number; 10])
    }

    fn routing(ids: &[u8]) -> RoutingRecord {
        let route = |number: &u8| Route {
            endpoint_id: id(*number),
            version: 1,
            // A paused one counts.
            active: number.is_multiple_of(2),
            patterns: Vec::new(),
            unknown: Vec::new(),
        };
        RoutingRecord { routes: ids.iter().map(route).collect(), ..RoutingRecord::empty("acme".parse().unwrap()) }
    }

    fn at_host(ids: &[u8]) -> HostEndpoints {
        HostEndpoints { rev: 0, endpoints: ids.iter().map(|number| id(*number)).collect(), expires_at: None }
    }

    #[test]
    fn a_tenant_has_as_many_endpoints_as_it_may() {
        assert_eq!(LIMITS.check_tenant(&routing(&[1, 2, 3])), Ok(()));
        for ids in [&[1, 2, 3, 4][..], &[1, 2, 3, 4, 5]] {
            let (tenant, in_use) = ("acme".parse().unwrap(), ids.len());
            let reached = LimitReached::Endpoints { tenant, in_use, limit: 4 };
            assert_eq!(LIMITS.check_tenant(&routing(ids)), Err(reached), "the limit may have been lowered");
        }
    }

    #[test]
    fn a_host_has_as_many_endpoints_as_it_may_and_those_that_are_gone_do_not_count() {
        let host = "example.com";
        for (known, routes, added, expected) in [
            (&[][..], &[][..], 1, Some(&[1][..])),
            (&[1], &[1], 2, Some(&[1, 2])),
            (&[1, 2], &[1, 2], 3, None),
            (&[1, 2], &[2, 9], 3, Some(&[2, 3])),
            (&[1, 2, 3], &[1, 2, 3], 4, None),
            (&[1, 2], &[1, 2], 2, Some(&[1, 2])),
        ] {
            let next = at_host(known).with(&id(added), host, &routing(routes), &LIMITS);
            assert_eq!(
                next.clone().ok().map(|next| next.endpoints),
                expected.map(|ids| at_host(ids).endpoints),
                "{known:?} of {routes:?}"
            );
            if let Err(LimitReached::EndpointsAtHost { host, in_use, limit, .. }) = next {
                assert_eq!((host.as_str(), in_use, limit), ("example.com", known.len(), 2));
            }
        }
        let left = at_host(&[1, 2]).without(&id(1), &routing(&[1, 2]), NOW);
        assert_eq!((left.rev, &left.endpoints), (1, &at_host(&[2]).endpoints));
        let empty = left.without(&id(2), &routing(&[2]), NOW);
        assert_eq!((empty.endpoints.len(), empty.expires_at), (0, Some(NOW.as_seconds() + 86_400)));
        let again = empty.with(&id(3), host, &routing(&[]), &LIMITS).unwrap();
        assert_eq!(again, HostEndpoints { rev: 3, ..at_host(&[3]) }, "what is in use does not expire");
    }

    #[test]
    fn a_host_is_counted_in_its_one_spelling_whatever_the_port_and_the_path() {
        let host = |text: &str| HostEndpoints::host(&EndpointUrl::from_stored(text).unwrap()).to_owned();
        for (texts, expected) in [
            (
                &[
                    "https://example.com/a",
                    "https://EXAMPLE.com:8443/b?c",
                    "https://example.com./",
                    "https://ex%61mple.com/",
                ][..],
                "example.com",
            ),
            (
                &["https://bücher.example/", "https://BÜCHER.example/", "https://xn--bcher-kva.example/"],
                "xn--bcher-kva.example",
            ),
            (&["https://93.184.215.14/", "https://0x5d.0xb8d70e/", "https://1572394766:8443/"], "93.184.215.14"),
            (&["https://[2606:4700::1111]/", "https://[2606:4700:0:0:0:0:0:1111]:8443/"], "[2606:4700::1111]"),
        ] {
            for text in texts {
                assert_eq!(host(text), expected, "{text}");
            }
        }
        let tenant = "acme".parse().unwrap();
        assert_eq!(HostEndpoints::key(&tenant, "example.com"), "host#acme#example.com");
    }

    #[test]
    fn a_tenant_registers_so_many_endpoints_in_a_day_however_many_it_deletes() {
        let tenant: TenantId = "acme".parse().unwrap();
        let midnight = Timestamp::from_seconds(19_676 * DAY);
        let mut registered = Registered::default();
        for count in 1..=3 {
            registered = registered.with_one_more(&tenant, &LIMITS, NOW).unwrap();
            assert_eq!(registered.count, count);
        }
        for now in [NOW, midnight.minus(Duration::from_millis(1))] {
            let reached = registered.with_one_more(&tenant, &LIMITS, now).unwrap_err();
            assert_eq!(reached.until(), Some(midnight), "{reached}");
        }
        let tomorrow = registered.with_one_more(&tenant, &LIMITS, midnight).unwrap();
        assert_eq!((tomorrow.day, tomorrow.count), (19_676, 1));
        let behind = tomorrow.with_one_more(&tenant, &LIMITS, NOW).unwrap();
        assert_eq!((behind.day, behind.count), (19_676, 2), "a clock that is behind begins no new count");
    }

    proptest! {
        /// Endpoints come, move between two hosts and go, some without a word to the hosts' items. No id comes twice.
        #[test]
        fn no_host_ever_has_too_many_and_a_place_that_is_free_is_given(
            steps in prop::collection::vec((0u8..4, 0u8..16, any::<bool>()), 0..80),
        ) {
            let mut items = [HostEndpoints::default(), HostEndpoints::default()];
            let (mut at, mut gone) = ([None; 16], [false; 16]);
            for (what, number, host) in steps {
                let (place, host) = (usize::from(number), usize::from(host));
                let having: Vec<_> = (0u8..16).filter(|number| at[usize::from(*number)].is_some()).collect();
                let routing = routing(&having);
                match (what, at[place]) {
                    (0 | 1, old) if old != Some(host) && !gone[place] => {
                        let in_use = at.iter().filter(|at| **at == Some(host)).count();
                        let next = items[host].with(&id(number), "h", &routing, &LIMITS);
                        prop_assert_eq!(next.is_ok(), in_use < LIMITS.per_host);
                        let Ok(next) = next else { continue };
                        items[host] = next;
                        if let Some(old) = old {
                            items[old] = items[old].without(&id(number), &routing, NOW);
                        }
                        at[place] = Some(host);
                    }
                    // By this version, or by an older one.
                    (2 | 3, Some(old)) => {
                        if what == 2 {
                            items[old] = items[old].without(&id(number), &routing, NOW);
                        }
                        (at[place], gone[place]) = (None, true);
                    }
                    _ => {}
                }
            }
        }
    }
}
