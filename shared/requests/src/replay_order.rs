//! The body of `POST /v1/replays`.

use std::collections::BTreeSet;

use pombo_domain::delivery::DeliveryKey;
use pombo_domain::ids::EndpointId;
use pombo_domain::invalid::Invalid;
use pombo_domain::job::{Filter, Include, Scope};
use pombo_domain::rate_limit::PerSecond;
use pombo_domain::time::Timestamp;
use pombo_web::{Problem, Request};

use crate::json::{Mistakes, Noted, Object, Value};
use crate::{body, fields};

/// The most deliveries that one request chooses.
const MOST_CHOSEN: usize = 100;

/// What is to be replayed.
#[derive(Debug, PartialEq)]
pub enum ReplayOrder {
    /// These.
    Chosen(Vec<DeliveryKey>),
    /// All that match.
    Matching(Box<MatchingOrder>),
}

/// All that match.
#[derive(Debug, PartialEq)]
pub struct MatchingOrder {
    /// Which deliveries; without an end the range goes as far as it may.
    pub filter: Filter,
    /// What of them.
    pub include: BTreeSet<Include>,
    /// How many a second at most.
    pub rate_per_second: Option<PerSecond>,
    /// Whether only to tell what would be done.
    pub dry_run: bool,
}

impl ReplayOrder {
    /// Reads and checks the body of a request, as far as that goes without looking anything up.
    ///
    /// # Errors
    /// 400 with every field that breaks a rule.
    pub fn read(request: &Request) -> Result<Self, Problem> {
        let mut body = body::object(request)?;
        let deliveries = body.optional("deliveries", deliveries);
        if deliveries == Ok(None) { matching(body) } else { chosen(body, deliveries) }
    }
}

/// An order of chosen deliveries. All other fields belong to a filter.
fn chosen(mut body: Object<'_>, deliveries: Result<Option<Vec<DeliveryKey>>, Noted>) -> Result<ReplayOrder, Problem> {
    const RULE: &str = "must be left out where deliveries are chosen by their ids";
    for name in ["filter", "include", "rate_per_second", "dry_run"] {
        // A mistake if it is there, and no value in any case.
        let _: Result<Option<()>, Noted> = body.optional(name, |value| Err(value.wrong(Invalid::rule(RULE))));
    }
    body.end()?;
    Ok(ReplayOrder::Chosen(deliveries?.unwrap_or_default()))
}

/// An order of all deliveries that match a filter.
fn matching(mut body: Object<'_>) -> Result<ReplayOrder, Problem> {
    let filter = body.optional("filter", filter).and_then(|filter| {
        filter.ok_or_else(|| body.note("filter", Invalid::rule("is required, or deliveries: the ids of up to 100")))
    });
    let include = body.optional("include", |value| value.list(Value::parsed));
    let rate_per_second = body.optional("rate_per_second", fields::per_second);
    let dry_run = body.optional("dry_run", Value::boolean);
    body.end()?;
    Ok(ReplayOrder::Matching(Box::new(MatchingOrder {
        filter: filter?,
        include: include?.map_or_else(|| BTreeSet::from([Include::Failed]), BTreeSet::from_iter),
        rate_per_second: rate_per_second?,
        dry_run: dry_run?.unwrap_or_default(),
    })))
}

impl MatchingOrder {
    /// All that failed at an endpoint, of events accepted since a time.
    pub fn of_failed(endpoint_id: EndpointId, since: Timestamp) -> Self {
        Self {
            filter: Filter { scope: Scope::Endpoint(endpoint_id), event_type: None, since, until: Filter::OPEN },
            include: BTreeSet::from([Include::Failed]),
            rate_per_second: None,
            dry_run: false,
        }
    }
}

fn deliveries(value: &Value<'_>) -> Result<Vec<DeliveryKey>, Mistakes> {
    let keys: Vec<DeliveryKey> = value.list(Value::parsed)?;
    if !(1..=MOST_CHOSEN).contains(&keys.len()) {
        let rule = format!("must be 1 to {MOST_CHOSEN} ids of deliveries, not {}", keys.len());
        return Err(value.wrong(Invalid::from(rule)));
    }
    value.check_different(&keys)?;
    Ok(keys)
}

fn filter(value: &Value<'_>) -> Result<Filter, Mistakes> {
    let mut filter = value.object()?;
    let endpoint_id = filter.optional("endpoint_id", Value::parsed);
    let tenant = filter.optional("tenant", Value::parsed);
    let stack = filter.optional("stack", Value::boolean);
    let scope = match (endpoint_id, tenant, stack) {
        (Ok(endpoint_id), Ok(tenant), Ok(stack)) => {
            Scope::one_of(endpoint_id, tenant, stack).map_err(|rule| filter.note_whole(rule))
        }
        _ => Err(Noted),
    };
    let event_type = filter.optional("type", Value::parsed);
    let since = filter.optional("since", Value::parsed).and_then(|since| {
        let rule = "is required: the time from which events were accepted; until bounds it";
        since.ok_or_else(|| filter.note("since", Invalid::rule(rule)))
    });
    let until = filter.optional("until", Value::parsed);
    filter.end()?;
    let until = until?.unwrap_or(Filter::OPEN);
    Ok(Filter { scope: scope?, event_type: event_type?, since: since?, until })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{fields, request};

    const ENDPOINT: &str = "ep_aaaaaaaaaaaaaaaa";

    fn key(event: u32) -> DeliveryKey {
        DeliveryKey {
            endpoint_id: ENDPOINT.parse().unwrap(),
            accepted_at: Timestamp::from_seconds(1),
            event_id: format!("e{event}").parse().unwrap(),
        }
    }

    fn read(body: &str) -> Result<ReplayOrder, Problem> {
        ReplayOrder::read(&request(body))
    }

    fn body(keys: impl Iterator<Item = DeliveryKey>) -> String {
        serde_json::json!({"deliveries": keys.collect::<Vec<_>>()}).to_string()
    }

    #[test]
    fn a_wrong_order_is_refused_by_field() {
        let right = key(0).to_string();
        let with_wrong = format!(r#"{{"deliveries":["{right}","{}","{}","x"]}}"#, key(1), key(2));
        let twice = body([key(1), key(2), key(1)].into_iter());
        let too_many = body((0..101).map(key));
        let extra = format!(r#"{{"deliveries":["{right}"],"all":true}}"#);
        let both = format!(r#"{{"deliveries":["{right}"],"filter":{{"stack":true}}}}"#);
        let dry = format!(r#"{{"deliveries":["{right}"],"dry_run":true}}"#);
        let since = r#""since":"2026-01-31T09:30:00Z""#;
        for (body, field) in [
            ("{}", "filter"),
            (r#"{"include":["failed"]}"#, "filter"),
            (r#"{"deliveries":[]}"#, "deliveries"),
            (r#"{"deliveries":"all"}"#, "deliveries"),
            (r#"{"deliveries":[7]}"#, "deliveries[0]"),
            (&with_wrong, "deliveries[3]"),
            (&twice, "deliveries[2]"),
            (&too_many, "deliveries"),
            (&extra, "all"),
            (&both, "filter"),
            (&dry, "dry_run"),
            (r#"{"filter":{}}"#, "filter"),
            (&format!(r#"{{"filter":{{{since}}}}}"#), "filter"),
            (&format!(r#"{{"filter":{{"tenant":"a","stack":true,{since}}}}}"#), "filter"),
            (&format!(r#"{{"filter":{{"tenant":"a","endpoint_id":"{ENDPOINT}",{since}}}}}"#), "filter"),
            (r#"{"filter":{"tenant":"a"}}"#, "filter.since"),
            (r#"{"filter":{"tenant":"a","since":"yesterday"}}"#, "filter.since"),
            (&format!(r#"{{"filter":{{"tenant":"a","status":"failed",{since}}}}}"#), "filter.status"),
            (r#"{"filter":{"tenant":"a b"}}"#, "filter.tenant"),
            (r#"{"filter":{"endpoint_id":"ep_x"}}"#, "filter.endpoint_id"),
            (&format!(r#"{{"filter":{{"tenant":"a",{since}}},"include":["failed","lost"]}}"#), "include[1]"),
            (&format!(r#"{{"filter":{{"tenant":"a",{since}}},"include":[7]}}"#), "include[0]"),
            (&format!(r#"{{"filter":{{"tenant":"a",{since}}},"rate_per_second":0}}"#), "rate_per_second"),
            (&format!(r#"{{"filter":{{"tenant":"a","tenant":"b",{since}}}}}"#), "filter.tenant"),
            (&format!(r#"{{"deliveries":["{right}"],"deliveries":["{right}"]}}"#), "deliveries"),
        ] {
            let problem = read(body).unwrap_err();
            assert_eq!((problem.status, problem.errors[0].field.as_str()), (400, field), "{body}");
        }
        assert_eq!(read(&body((0..100).map(key))).unwrap(), ReplayOrder::Chosen((0..100).map(key).collect()));
    }

    #[test]
    fn all_that_is_wrong_is_named_at_once() {
        let id = key(0).to_string();
        for (body, expected) in [
            (
                r#"{"filter":{"since":"x","type":"a b","until":7,"status":"failed"},"include":["x",1],"dry_run":"no","all":1}"#.to_owned(),
                &[
                    "filter", "filter.type", "filter.since", "filter.until", "filter.status", "include[0]", "include[1]", "dry_run",
                    "all",
                ][..],
            ),
            (r#"{"filter":{"tenant":"a b","stack":7}}"#.to_owned(), &["filter.tenant", "filter.stack", "filter.since"]),
            (
                format!(r#"{{"deliveries":["{id}","{id}","{id}"],"filter":{{}},"include":[],"rate_per_second":0}}"#),
                &[
                    "deliveries[1]", "deliveries[2]", "filter", "include", "rate_per_second",
                ],
            ),
        ] {
            let problem = read(&body).unwrap_err();
            assert_eq!(fields(&problem), expected, "{body}");
        }
    }

    #[test]
    fn an_order_by_filter_is_of_what_failed_unless_it_says_otherwise() {
        let since = "2026-01-31T09:30:00.000Z";
        let ReplayOrder::Matching(order) =
            read(&format!(r#"{{"filter":{{"tenant":"a","since":"{since}"}}}}"#)).unwrap()
        else {
            panic!()
        };
        assert_eq!((order.include, order.dry_run), (BTreeSet::from([Include::Failed]), false));
        assert_eq!(order.filter.scope, Scope::Tenant("a".parse().unwrap()));
        let body = format!(
            r#"{{"filter":{{"stack":true,"type":"a.*","since":"{since}"}},"include":["held","failed"],"rate_per_second":2.5,"dry_run":true}}"#
        );
        let ReplayOrder::Matching(order) = read(&body).unwrap() else { panic!() };
        assert_eq!((order.include, order.dry_run), (BTreeSet::from([Include::Failed, Include::Held]), true));
        assert_eq!(order.rate_per_second, Some(PerSecond::new(2.5).unwrap()));
        assert_eq!((order.filter.scope, order.filter.event_type), (Scope::Stack, Some("a.*".parse().unwrap())));
    }
}
