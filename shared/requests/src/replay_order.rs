//! The body of `POST /v1/replays`.

use std::collections::BTreeSet;

use pombo_domain::delivery::DeliveryKey;
use pombo_domain::event_type::Pattern;
use pombo_domain::ids::{EndpointId, TenantId};
use pombo_domain::job::{Filter, Include, Scope};
use pombo_domain::rate_limit::PerSecond;
use pombo_domain::time::Timestamp;
use pombo_web::{Problem, Request};
use serde::Deserialize;

/// The most deliveries that one request chooses.
const MOST_CHOSEN: usize = 100;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    deliveries: Option<Vec<DeliveryKey>>,
    filter: Option<FilterBody>,
    include: Option<BTreeSet<Include>>,
    rate_per_second: Option<PerSecond>,
    dry_run: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FilterBody {
    endpoint_id: Option<EndpointId>,
    tenant: Option<TenantId>,
    stack: Option<bool>,
    #[serde(rename = "type")]
    event_type: Option<Pattern>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

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
    pub fn read(request: &Request) -> Result<Self, Problem> {
        let body: Body = request.json()?;
        match (body.deliveries, body.filter) {
            (Some(_), Some(_)) => Err(Problem::invalid("filter", "must not be given with deliveries")),
            (None, None) => Err(Problem::invalid("filter", "is required, or deliveries: the ids of up to 100")),
            (Some(deliveries), None) => {
                let others = [
                    ("include", body.include.is_some()),
                    ("rate_per_second", body.rate_per_second.is_some()),
                    ("dry_run", body.dry_run.is_some()),
                ];
                match others.iter().find(|(_, given)| *given) {
                    Some((field, _)) => Err(Problem::invalid(field, "must be given with filter, not with deliveries")),
                    None => chosen(deliveries),
                }
            }
            (None, Some(filter)) => Ok(Self::Matching(Box::new(MatchingOrder {
                filter: filter.read()?,
                include: body.include.unwrap_or_else(|| BTreeSet::from([Include::Failed])),
                rate_per_second: body.rate_per_second,
                dry_run: body.dry_run.unwrap_or_default(),
            }))),
        }
    }
}

impl MatchingOrder {
    /// All that failed at an endpoint, of events accepted since a time.
    pub fn of_failed(endpoint_id: EndpointId, since: Timestamp) -> Self {
        let until = Timestamp::from_millis(i64::MAX);
        Self {
            filter: Filter { scope: Scope::Endpoint(endpoint_id), event_type: None, since, until },
            include: BTreeSet::from([Include::Failed]),
            rate_per_second: None,
            dry_run: false,
        }
    }
}

fn chosen(deliveries: Vec<DeliveryKey>) -> Result<ReplayOrder, Problem> {
    if !(1..=MOST_CHOSEN).contains(&deliveries.len()) {
        return Err(Problem::invalid("deliveries", format!("must be 1 to {MOST_CHOSEN} ids of deliveries")));
    }
    let mut seen = BTreeSet::new();
    match deliveries.iter().position(|key| !seen.insert(key)) {
        Some(index) => Err(Problem::invalid(&format!("deliveries[{index}]"), "must not be there twice")),
        None => Ok(ReplayOrder::Chosen(deliveries)),
    }
}

impl FilterBody {
    fn read(self) -> Result<Filter, Problem> {
        let scope = Scope::one_of(self.endpoint_id, self.tenant, self.stack);
        let since = self.since.ok_or_else(|| {
            Problem::invalid("filter.since", "is required: the time from which events were accepted; until bounds it")
        });
        Ok(Filter {
            scope: scope.map_err(|rule| Problem::field(rule.in_field("filter")))?,
            event_type: self.event_type,
            since: since?,
            until: self.until.unwrap_or(Timestamp::from_millis(i64::MAX)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::request;

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
            (r#"{"filter":{"tenant":"a","status":"failed"}}"#, "filter.status"),
            (r#"{"filter":{"tenant":"a b"}}"#, "filter.tenant"),
            (r#"{"filter":{"endpoint_id":"ep_x"}}"#, "filter.endpoint_id"),
            (&format!(r#"{{"filter":{{"tenant":"a",{since}}},"include":["failed","lost"]}}"#), "include[1]"),
            (&format!(r#"{{"filter":{{"tenant":"a",{since}}},"include":[7]}}"#), "include[0]"),
            (&format!(r#"{{"filter":{{"tenant":"a",{since}}},"rate_per_second":0}}"#), "rate_per_second"),
        ] {
            let problem = read(body).unwrap_err();
            assert_eq!((problem.status, problem.errors[0].field.as_str()), (400, field), "{body}");
        }
        assert_eq!(read(&body((0..100).map(key))).unwrap(), ReplayOrder::Chosen((0..100).map(key).collect()));
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
