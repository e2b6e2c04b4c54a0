//! What of the deliveries a list shows, and from which partitions it is made.

use std::collections::BTreeSet;

use pombo_aws::deliveries::List;
use pombo_domain::cursor::Paged;
use pombo_domain::delivery::{DeliveryKey, Listing, Record, SHARDS, Status};
use pombo_domain::event_type::Pattern;
use pombo_domain::ids::{EndpointId, TenantId};
use pombo_domain::time::Timestamp;
use pombo_web::{Caller, Problem};
use serde::{Deserialize, Serialize};

/// How many deliveries a search by type looks at before it shows what it has: the record of each is read.
const MOST_SEARCHED: usize = 1000;
/// How many of them in one look.
const SEARCHED_AT_ONCE: usize = 200;

/// Whose deliveries a list shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Scope {
    /// An endpoint's.
    Endpoint(EndpointId),
    /// A tenant's.
    Tenant(TenantId),
    /// Everybody's.
    Stack,
}

/// The statuses that a list shows; none for all that the scope's lists hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredStatuses", into = "StoredStatuses")]
pub(crate) struct Statuses(pub(crate) BTreeSet<Status>);

/// Statuses as a cursor has them: with none or one, as in the cursors of the version before.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum StoredStatuses {
    Any(Option<Status>),
    Several(BTreeSet<Status>),
}

impl From<StoredStatuses> for Statuses {
    fn from(stored: StoredStatuses) -> Self {
        match stored {
            StoredStatuses::Any(status) => Self(status.into_iter().collect()),
            StoredStatuses::Several(statuses) => Self(statuses),
        }
    }
}

impl From<Statuses> for StoredStatuses {
    fn from(statuses: Statuses) -> Self {
        match statuses.0.len() {
            0 | 1 => Self::Any(statuses.0.into_iter().next()),
            _ => Self::Several(statuses.0),
        }
    }
}

impl Statuses {
    /// Whether a list by status shows deliveries in this status.
    fn has(&self, status: Status) -> bool {
        if self.0.is_empty() { Status::LISTED.contains(&status) } else { self.0.contains(&status) }
    }
}

/// What a list shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Filter {
    /// Whose deliveries.
    pub(crate) scope: Scope,
    /// In which statuses.
    #[serde(rename = "status")]
    pub(crate) statuses: Statuses,
    /// Of events of which types; `None` for all.
    pub(crate) event_type: Option<Pattern>,
    /// Of events accepted at this time or later.
    pub(crate) since: Option<Timestamp>,
    /// Of events accepted before this time.
    pub(crate) until: Option<Timestamp>,
}

/// A page that a caller asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// What the list shows.
    pub(crate) filter: Filter,
    /// Behind which delivery the page begins.
    pub(crate) after: Option<DeliveryKey>,
    /// The most deliveries on the page.
    pub(crate) limit: usize,
}

impl Request {
    /// Reads the query of `GET /v1/deliveries`.
    pub(crate) fn read(request: &pombo_web::Request, caller: &Caller) -> Result<Self, Problem> {
        const KNOWN: [&str; 8] = ["endpoint_id", "tenant", "status", "type", "since", "until", "limit", "cursor"];
        request.only_query_with_several(&KNOWN, &["status"])?;
        let statuses = Statuses(request.query_all("status")?.into_iter().collect());
        let scope = match (request.query("endpoint_id")?, request.query::<TenantId>("tenant")?) {
            (Some(_), Some(_)) => return Err(Problem::invalid("tenant", "must not be given with endpoint_id")),
            (Some(endpoint_id), None) => Scope::Endpoint(endpoint_id),
            // Whoever is bound to a tenant asks for its list, also when asking for everybody's.
            (None, tenant) if tenant.is_some() || caller.tenant.is_some() => Scope::Tenant(caller.tenant_for(tenant)?),
            (None, _) => Scope::Stack,
        };
        refuse_unlisted(&scope, &statuses)?;
        let (since, until) = super::range(request)?;
        let filter = Filter { scope, statuses, event_type: request.query("type")?, since, until };
        let after = request.page(&filter)?;
        Ok(Self { filter, after, limit: request.limit()? })
    }

    /// How many deliveries the page looks at before it is cut.
    pub(crate) const fn most(&self) -> usize {
        if self.filter.event_type.is_some() { MOST_SEARCHED } else { 4 * self.limit }
    }

    /// How many deliveries one look takes.
    pub(crate) const fn at_once(&self) -> usize {
        if self.filter.event_type.is_some() { SEARCHED_AT_ONCE } else { self.limit }
    }
}

/// What is pending or succeeded is on no list by its status: a delivery that succeeds at once pays for no index.
fn refuse_unlisted(scope: &Scope, statuses: &Statuses) -> Result<(), Problem> {
    let Some(status) = statuses.0.iter().find(|status| !Status::LISTED.contains(status)) else { return Ok(()) };
    let instead = match scope {
        Scope::Endpoint(endpoint) => format!("GET /v1/deliveries?endpoint_id={endpoint} without status shows all"),
        Scope::Tenant(_) | Scope::Stack => {
            "GET /v1/deliveries?endpoint_id=… shows all of an endpoint, GET /v1/events/{id} all of an event".to_owned()
        }
    };
    let rule =
        format!("must be retrying, held, failed or cancelled; there is no list of {}: {instead}", status.as_str());
    Err(Problem::invalid("status", rule))
}

impl Paged for Filter {
    type Place = DeliveryKey;

    fn may_hold(&self, place: &DeliveryKey) -> bool {
        let scope = match &self.scope {
            Scope::Endpoint(endpoint_id) => place.endpoint_id == *endpoint_id,
            // Whose endpoint it is, the key does not say. Whatever stands behind it is asked of this list's partitions.
            Scope::Tenant(_) | Scope::Stack => true,
        };
        scope && place.accepted_at.is_within(self.since, self.until)
    }
}

impl Filter {
    /// The partitions to ask, in stages: those of a stage at one time, one stage after the other.
    ///
    /// A delivery that changes its status between two queries must not be missed by both. It goes from `retrying` to
    /// another status or from another to `retrying`; so `retrying` is asked first and, where there are others, once more at
    /// the end.
    pub(crate) fn stages(&self) -> Vec<Vec<List>> {
        if let (Scope::Endpoint(endpoint), true) = (&self.scope, self.statuses.0.is_empty()) {
            return vec![vec![List::OfEndpoint(endpoint.clone())]];
        }
        let order: [&[Status]; 4] =
            [&[Status::Retrying], &[Status::Held], &[Status::Failed, Status::Cancelled], &[Status::Retrying]];
        let asked = |stage: &[Status]| stage.iter().copied().filter(|status| self.statuses.has(*status)).collect();
        let mut stages: Vec<Vec<Status>> =
            order.into_iter().map(asked).filter(|stage: &Vec<_>| !stage.is_empty()).collect();
        if stages.iter().all(|stage| *stage == [Status::Retrying]) {
            stages.truncate(1);
        }
        let lists = |stage: Vec<Status>| stage.into_iter().flat_map(|status| self.lists(status)).collect();
        stages.into_iter().map(lists).collect()
    }

    /// The partitions of the deliveries in a status.
    fn lists(&self, status: Status) -> Vec<List> {
        match &self.scope {
            Scope::Endpoint(endpoint) => vec![List::ByEndpoint(Listing::endpoint_partition(endpoint, status))],
            Scope::Tenant(_) | Scope::Stack => self.shards(status).collect(),
        }
    }

    fn shards(&self, status: Status) -> impl Iterator<Item = List> {
        (0..SHARDS).map(move |shard| match &self.scope {
            Scope::Tenant(tenant) => List::ByTenant(Listing::tenant_partition(tenant, status, shard)),
            _ => List::ByStack(Listing::stack_partition(status, shard)),
        })
    }

    /// How many keys to ask a partition for, in a look at so many.
    pub(crate) fn keys_to_ask(&self, look: usize) -> usize {
        match self.scope {
            Scope::Endpoint(_) => look,
            Scope::Tenant(_) | Scope::Stack => super::of_each(look, SHARDS),
        }
    }

    /// Whether a candidate belongs on the page, by its record.
    pub(crate) fn shows(&self, record: &Record, now: Timestamp) -> bool {
        let status = match (&self.scope, self.statuses.0.is_empty()) {
            (Scope::Endpoint(_), true) => true,
            _ => self.statuses.has(record.status),
        };
        let event_type = self.event_type.as_ref().is_none_or(|pattern| pattern.matches(&record.event_type));
        status && event_type && record.expires_at > now.as_seconds()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use pombo_domain::api_key;
    use pombo_domain::delivery::NewDelivery;
    use pombo_web::Method;

    use super::*;

    const ENDPOINT: &str = "ep_aaaaaaaaaaaaaaaa";

    fn caller(tenant: Option<&str>) -> Caller {
        let tenant = tenant.map(|tenant| tenant.parse().unwrap());
        Caller::without_key("k".into(), tenant, api_key::Scope::Ops)
    }

    fn query_of(query: &[(&str, &str)]) -> BTreeMap<String, Vec<String>> {
        let mut parameters = BTreeMap::<String, Vec<String>>::new();
        for (name, value) in query {
            parameters.entry((*name).to_owned()).or_default().push((*value).to_owned());
        }
        parameters
    }

    fn read(query: &[(&str, &str)], tenant: Option<&str>) -> Result<Request, Problem> {
        let request = pombo_web::Request {
            method: Method::Get,
            path: "/v1/deliveries".into(),
            query: query_of(query),
            headers: BTreeMap::new(),
            body: Vec::new(),
            identity: None,
        };
        Request::read(&request, &caller(tenant))
    }

    fn key() -> DeliveryKey {
        let accepted_at = Timestamp::from_seconds(1_700_000_000);
        DeliveryKey { endpoint_id: ENDPOINT.parse().unwrap(), accepted_at, event_id: "e".parse().unwrap() }
    }

    #[test]
    fn a_wrong_query_is_refused_by_field() {
        let other_cursor = read(&[("status", "failed")], None).unwrap().filter.cursor(key());
        for (query, field, says) in [
            (vec![("stauts", "failed")], "stauts", "known are"),
            (vec![("status", "lost")], "status", "must be pending"),
            (vec![("type", "student.")], "type", "student.*"),
            (vec![("endpoint_id", "ep_x")], "endpoint_id", "ep_"),
            (vec![("endpoint_id", ENDPOINT), ("tenant", "a")], "tenant", "endpoint_id"),
            (vec![("tenant", "a b")], "tenant", "1 to 64"),
            (vec![("since", "yesterday")], "since", "RFC 3339"),
            (vec![("until", "2026")], "until", "RFC 3339"),
            (vec![("since", "2026-01-02T00:00:00Z"), ("until", "2026-01-02T00:00:00Z")], "since", "before until"),
            (vec![("limit", "0")], "limit", "1 to 100"),
            (vec![("limit", "101")], "limit", "1 to 100"),
            (vec![("cursor", "x")], "cursor", "page before"),
            (vec![("cursor", &other_cursor)], "cursor", "filters"),
            (vec![("status", "succeeded"), ("endpoint_id", ENDPOINT)], "status", "?endpoint_id=ep_aaaaaaaaaaaaaaaa"),
            (vec![("status", "pending"), ("endpoint_id", ENDPOINT)], "status", "without status"),
            (vec![("status", "succeeded"), ("tenant", "a")], "status", "GET /v1/deliveries?endpoint_id"),
            (vec![("status", "pending")], "status", "GET /v1/events/{id}"),
            (vec![("status", "failed"), ("status", "lost")], "status", "must be pending"),
            (vec![("status", "failed"), ("status", "succeeded")], "status", "no list of succeeded"),
            (vec![("type", "a"), ("type", "b")], "type", "must be given once"),
            (vec![("limit", "3"), ("limit", "3")], "limit", "must be given once"),
        ] {
            let problem = read(&query, None).unwrap_err();
            let error = &problem.errors[0];
            assert_eq!((problem.status, error.field.as_str()), (400, field), "{query:?}");
            assert!(error.rule.contains(says), "{query:?}: {}", error.rule);
        }
    }

    #[test]
    fn a_bound_caller_gets_its_own_tenants_list() {
        let own = Scope::Tenant("acme".parse().unwrap());
        assert_eq!(read(&[], Some("acme")).unwrap().filter.scope, own);
        assert_eq!(read(&[("tenant", "acme")], Some("acme")).unwrap().filter.scope, own);
        assert_eq!(read(&[("tenant", "other")], Some("acme")).unwrap_err().status, 403);
        assert_eq!(read(&[], None).unwrap().filter.scope, Scope::Stack);
    }

    #[test]
    fn a_cursor_reads_back_with_its_filters_whatever_the_limit() {
        let query = [("tenant", "acme"), ("status", "held"), ("since", "2023-01-01T00:00:00Z")];
        let cursor = read(&query, None).unwrap().filter.cursor(key());
        let with = |more: &[(&str, &str)], caller| read(&[&query, more].concat(), caller);
        let page = with(&[("cursor", &cursor), ("limit", "7")], None).unwrap();
        assert_eq!((page.after, page.limit), (Some(key()), 7));
        assert_eq!(with(&[("cursor", &cursor), ("until", "2027-01-01T00:00:00Z")], None).unwrap_err().status, 400);
        let stack = read(&[], None).unwrap().filter.cursor(key());
        assert_eq!(read(&[("cursor", &stack)], Some("acme")).unwrap_err().errors[0].field, "cursor");
    }

    #[test]
    fn a_cursor_that_stands_outside_of_its_list_is_refused() {
        let at = |time: &str, endpoint: &str| DeliveryKey {
            endpoint_id: endpoint.parse().unwrap(),
            accepted_at: time.parse().unwrap(),
            event_id: "e".parse().unwrap(),
        };
        let (other, from, to) = ("ep_bbbbbbbbbbbbbbbb", "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z");
        let range = [("since", from), ("until", to)];
        for (query, place, stands) in [
            (&[][..], at("1970-01-01T00:00:00Z", other), true),
            (&range, at(from, ENDPOINT), true),
            (&range, at("2026-01-02T23:59:59.999Z", other), true),
            (&range, at("2026-01-01T23:59:59.999Z", ENDPOINT), false),
            (&range, at(to, ENDPOINT), false),
            (&range[..1], at("1999-01-01T00:00:00Z", ENDPOINT), false),
            (&range[1..], at("9999-01-01T00:00:00Z", ENDPOINT), false),
            (&[("endpoint_id", ENDPOINT)], at(from, ENDPOINT), true),
            (&[("endpoint_id", ENDPOINT)], at(from, other), false),
            (&[("endpoint_id", ENDPOINT), ("status", "failed")], at(from, other), false),
        ] {
            let cursor = read(query, None).unwrap().filter.cursor(place.clone());
            let page = read(&[query, &[("cursor", &cursor)]].concat(), None);
            match page {
                Ok(page) => assert!(stands && page.after == Some(place), "{query:?} {:?}", page.after),
                Err(problem) => {
                    let field = problem.errors[0].field.as_str();
                    assert_eq!((stands, problem.status, field), (false, 400, "cursor"), "{query:?} {place:?}");
                }
            }
        }
    }

    #[test]
    fn a_list_asks_a_bounded_number_of_partitions_for_a_bounded_number_of_keys() {
        for (query, partitions, keys) in [
            (vec![("endpoint_id", ENDPOINT), ("limit", "100")], 1, 100),
            (vec![("endpoint_id", ENDPOINT), ("status", "failed"), ("limit", "100")], 1, 100),
            (vec![("tenant", "a"), ("status", "failed"), ("limit", "100")], 8, 33),
            (vec![("tenant", "a"), ("limit", "5")], 40, 5),
            (vec![("status", "held")], 8, 20),
            (vec![("status", "held"), ("type", "a.*"), ("limit", "5")], 8, 58),
            (vec![("status", "retrying")], 8, 20),
            (vec![("status", "retrying"), ("status", "retrying")], 8, 20),
            (vec![("status", "held"), ("status", "failed")], 16, 20),
            (vec![("status", "held"), ("status", "retrying"), ("tenant", "a")], 24, 20),
            (vec![("endpoint_id", ENDPOINT), ("status", "retrying"), ("status", "failed")], 3, 50),
        ] {
            let page = read(&query, None).unwrap();
            let asked: usize = page.filter.stages().iter().map(Vec::len).sum();
            assert_eq!((asked, page.filter.keys_to_ask(page.at_once())), (partitions, keys), "{query:?}");
        }
    }

    #[test]
    fn several_statuses_show_the_deliveries_in_each_of_them() {
        let record = |status| {
            let new = NewDelivery { tenant: "a".parse().unwrap(), event_type: "a".parse().unwrap(), expires_at: 9 };
            Record { status, ..Record::begin(key(), new) }
        };
        let shown = |query: &[(&str, &str)]| {
            let filter = read(query, None).unwrap().filter;
            let all = [Status::Pending, Status::Succeeded].into_iter().chain(Status::LISTED);
            all.filter(|status| filter.shows(&record(*status), Timestamp::from_seconds(1))).collect::<Vec<_>>()
        };
        for scope in [("tenant", "a"), ("endpoint_id", ENDPOINT)] {
            assert_eq!(shown(&[scope, ("status", "failed")]), [Status::Failed]);
            assert_eq!(shown(&[scope, ("status", "failed"), ("status", "held")]), [Status::Held, Status::Failed]);
        }
        assert_eq!(shown(&[]), Status::LISTED);
        assert_eq!(shown(&[("endpoint_id", ENDPOINT)]).len(), 6);
    }

    #[test]
    fn a_cursor_of_the_version_before_reads_as_its_one_status() {
        let statuses = |stored: &str| serde_json::from_str::<Statuses>(stored).unwrap();
        let of = |statuses: &[Status]| Statuses(statuses.iter().copied().collect());
        for (stored, expected) in [
            ("null", of(&[])),
            (r#""held""#, of(&[Status::Held])),
            (r#"["held","failed"]"#, of(&[Status::Held, Status::Failed])),
        ] {
            assert_eq!(statuses(stored), expected);
            assert_eq!(serde_json::to_string(&expected).unwrap(), stored);
        }
        let query = [("status", "held"), ("status", "failed")];
        let cursor = read(&query, None).unwrap().filter.cursor(key());
        let turned = [("status", "failed"), ("cursor", &cursor), ("status", "held")];
        assert_eq!(read(&turned, None).unwrap().after, Some(key()), "in any order");
        assert_eq!(read(&[("status", "held"), ("cursor", &cursor)], None).unwrap_err().errors[0].field, "cursor");
    }
}
