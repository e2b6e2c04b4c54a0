//! What of the deliveries a list shows, and from which partitions it is made.

use pombo_aws::deliveries::List;
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

/// What a list shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Filter {
    /// Whose deliveries.
    pub(crate) scope: Scope,
    /// In which status; `None` for all that the scope's lists hold.
    pub(crate) status: Option<Status>,
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
        request.only_query(&["endpoint_id", "tenant", "status", "type", "since", "until", "limit", "cursor"])?;
        let status: Option<Status> = request.query("status")?;
        let scope = match (request.query("endpoint_id")?, request.query::<TenantId>("tenant")?) {
            (Some(_), Some(_)) => return Err(Problem::invalid("tenant", "must not be given with endpoint_id")),
            (Some(endpoint_id), None) => Scope::Endpoint(endpoint_id),
            // Whoever is bound to a tenant asks for its list, also when asking for everybody's.
            (None, tenant) if tenant.is_some() || caller.tenant.is_some() => Scope::Tenant(caller.tenant_for(tenant)?),
            (None, _) => Scope::Stack,
        };
        refuse_unlisted(&scope, status)?;
        let (since, until) = super::range(request)?;
        let filter = Filter { scope, status, event_type: request.query("type")?, since, until };
        let after = super::position(request, &filter)?;
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
fn refuse_unlisted(scope: &Scope, status: Option<Status>) -> Result<(), Problem> {
    let Some(status) = status.filter(|status| !Status::LISTED.contains(status)) else { return Ok(()) };
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

impl Filter {
    /// The cursor behind a delivery.
    pub(crate) fn cursor(&self, after: DeliveryKey) -> String {
        super::cursor(self, after)
    }

    /// The partitions to ask, in stages: those of a stage at one time, one stage after the other.
    ///
    /// A delivery that changes its status between two queries must not be missed by both. It goes from `retrying` to
    /// another status or from another to `retrying`; so `retrying` is asked first and once more at the end.
    pub(crate) fn stages(&self) -> Vec<Vec<List>> {
        match (&self.scope, self.status) {
            (Scope::Endpoint(endpoint), None) => vec![vec![List::OfEndpoint(endpoint.clone())]],
            (Scope::Endpoint(endpoint), Some(status)) => {
                vec![vec![List::ByEndpoint(Listing::endpoint_partition(endpoint, status))]]
            }
            (_, Some(status)) => vec![self.shards(status).collect()],
            (_, None) => vec![
                self.shards(Status::Retrying).collect(),
                self.shards(Status::Held).collect(),
                self.shards(Status::Failed).chain(self.shards(Status::Cancelled)).collect(),
                self.shards(Status::Retrying).collect(),
            ],
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
        let status = match (&self.scope, self.status) {
            (_, Some(status)) => record.status == status,
            (Scope::Endpoint(_), None) => true,
            (_, None) => Status::LISTED.contains(&record.status),
        };
        let event_type = self.event_type.as_ref().is_none_or(|pattern| pattern.matches(&record.event_type));
        status && event_type && record.expires_at > now.as_seconds()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use pombo_domain::api_key;
    use pombo_web::Method;

    use super::*;

    const ENDPOINT: &str = "ep_aaaaaaaaaaaaaaaa";

    fn caller(tenant: Option<&str>) -> Caller {
        let tenant = tenant.map(|tenant| tenant.parse().unwrap());
        Caller { name: "k".into(), tenant, scope: api_key::Scope::Ops }
    }

    fn read(query: &[(&str, &str)], tenant: Option<&str>) -> Result<Request, Problem> {
        let request = pombo_web::Request {
            method: Method::Get,
            path: "/v1/deliveries".into(),
            query: query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
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
        let query = [("tenant", "acme"), ("status", "held"), ("since", "2026-01-01T00:00:00Z")];
        let cursor = read(&query, None).unwrap().filter.cursor(key());
        let with = |more: &[(&str, &str)], caller| read(&[&query, more].concat(), caller);
        let page = with(&[("cursor", &cursor), ("limit", "7")], None).unwrap();
        assert_eq!((page.after, page.limit), (Some(key()), 7));
        assert_eq!(with(&[("cursor", &cursor), ("until", "2027-01-01T00:00:00Z")], None).unwrap_err().status, 400);
        let stack = read(&[], None).unwrap().filter.cursor(key());
        assert_eq!(read(&[("cursor", &stack)], Some("acme")).unwrap_err().errors[0].field, "cursor");
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
        ] {
            let page = read(&query, None).unwrap();
            let asked: usize = page.filter.stages().iter().map(Vec::len).sum();
            assert_eq!((asked, page.filter.keys_to_ask(page.at_once())), (partitions, keys), "{query:?}");
        }
    }
}
