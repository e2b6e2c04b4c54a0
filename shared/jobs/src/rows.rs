//! The deliveries of a page, each changed under a condition.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use pombo_aws::AwsError;
use pombo_aws::clock;
use pombo_aws::deliveries::Put;
use pombo_aws::events::EventHead;
use pombo_domain::delivery::{DeliveryKey, NewDelivery, Record, Status};
use pombo_domain::endpoint::{Endpoint, EndpointStatus};
use pombo_domain::first_attempt::FirstAttemptWindow;
use pombo_domain::health::Health;
use pombo_domain::ids::{EndpointId, TenantId};
use pombo_domain::job::{Job, JobKind, Row, RowPlan, RowResult, Seen};
use pombo_domain::pace::ROWS_AT_ONCE;
use pombo_domain::time::Timestamp;

use crate::clients::Clients;

/// How often a change is planned anew because another process was faster. Each time the record moves, so a delivery that
/// is changed more often is busy.
const MOST_CONFLICTS: usize = 10;
/// How long a circuit counts as open after it was read. After that, dispatch reads it again and holds what has to be held.
const CIRCUIT_KNOWN_FOR: Duration = Duration::from_secs(10);

/// Records by key.
pub type Records = HashMap<DeliveryKey, Record>;

/// What was read of deliveries.
#[derive(Debug, Default)]
pub struct Known {
    /// Their records.
    pub records: Records,
    /// What the records of those would begin with that have none.
    pub new: HashMap<DeliveryKey, NewDelivery>,
    /// The deliveries of `new` whose event was sent to the endpoint when the event came in.
    pub fanned_out: BTreeSet<DeliveryKey>,
    /// Which circuits are open.
    pub circuits: Option<OpenCircuits>,
}

impl Known {
    /// Until when a delivery without a record counts as being sent: its event was sent to the endpoint, and the window of its
    /// first attempt is open. `None` for any other delivery.
    #[must_use]
    pub fn being_sent_until(&self, key: &DeliveryKey, window: FirstAttemptWindow, now: Timestamp) -> Option<Timestamp> {
        let may_be_under_way = self.fanned_out.contains(key) && !self.records.contains_key(key);
        window.open_until(key.accepted_at, now).filter(|_| may_be_under_way)
    }

    /// Notes that a delivery has no record, and that it is of this event.
    pub(crate) fn learn_unrecorded(&mut self, key: DeliveryKey, head: &EventHead, tenant: &TenantId) {
        if head.fan_out.endpoints().contains(&key.endpoint_id) {
            self.fanned_out.insert(key.clone());
        }
        self.new.insert(key, head.new_delivery(tenant));
    }
}

/// The endpoints whose circuits were open a moment ago.
#[derive(Debug)]
pub struct OpenCircuits {
    endpoints: HashSet<EndpointId>,
    read_at: Instant,
}

impl OpenCircuits {
    /// Of endpoints that were read at `read_at` or later.
    pub fn of<'a>(read: impl IntoIterator<Item = &'a (Endpoint, Health)>, read_at: Instant) -> Self {
        let is_open = |(endpoint, health): &(Endpoint, Health)| {
            (endpoint.status == EndpointStatus::Active && health.open.is_some()).then(|| endpoint.id.clone())
        };
        Self { endpoints: read.into_iter().filter_map(is_open).collect(), read_at }
    }

    /// Whether the circuit of this endpoint is known to be open. `settle`: how long after it has closed a drain looks for what
    /// was put on hold.
    fn holds(&self, id: &EndpointId, settle: Duration) -> bool {
        self.endpoints.contains(id) && self.read_at.elapsed() < CIRCUIT_KNOWN_FOR.min(settle / 2)
    }
}

/// What a page came to.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    /// What became of each delivery, in the order of the page.
    pub(crate) results: Vec<(DeliveryKey, RowResult)>,
    /// The records that were queued or held, by this run or an earlier one.
    pub(crate) to_send: Vec<Record>,
}

/// Changes the deliveries of a page as the job plans.
pub(crate) async fn change(
    clients: &Clients,
    job: &Job,
    page: &[Row],
    mut known: Known,
    writer: &str,
) -> Result<Changed, AwsError> {
    let closed = read_rest(clients, job, page, &mut known).await?;
    let circuits = known.circuits.as_ref();
    let work = page.iter().enumerate().map(|(place, row)| {
        let record = known.records.remove(&row.delivery);
        let (new, fanned_out) = (known.new.get(&row.delivery), known.fanned_out.contains(&row.delivery));
        let closed = closed.get(&row.delivery.endpoint_id).copied();
        let plan = move |record: Option<&Record>| {
            let is_open = circuits.is_some_and(|circuits| circuits.holds(&row.delivery.endpoint_id, clients.settle));
            let seen = Seen { record, new, fanned_out, window: clients.window, closed, is_open };
            job.plan(place, row, seen, clock::now())
        };
        async move {
            let (result, record) = change_one(clients, record, plan, writer).await?;
            Ok::<_, AwsError>((row.delivery.clone(), result, record))
        }
    });
    let done: Vec<_> = stream::iter(work).buffered(ROWS_AT_ONCE).try_collect().await?;
    let mut changed = Changed::default();
    for (key, result, record) in done {
        changed.results.push((key, result));
        changed.to_send.extend(record);
    }
    Ok(changed)
}

/// Reads what is not known yet; gives why some endpoints take nothing.
async fn read_rest(
    clients: &Clients,
    job: &Job,
    page: &[Row],
    known: &mut Known,
) -> Result<HashMap<EndpointId, RowResult>, AwsError> {
    let is_known = |key: &DeliveryKey| known.records.contains_key(key) || known.new.contains_key(key);
    let unread: Vec<_> = page.iter().map(|row| &row.delivery).filter(|key| !is_known(key)).cloned().collect();
    known.records.extend(clients.protocol.deliveries.get_many(&unread).await?);
    // A drain asks for the endpoint before each page, and releases what is to be cancelled too.
    let is_read = matches!(job.kind, JobKind::Replay) && known.circuits.is_some();
    if matches!(job.kind, JobKind::Drain { .. }) || is_read {
        return Ok(HashMap::new());
    }
    let read_at = Instant::now();
    let ids: BTreeSet<_> = page.iter().map(|row| row.delivery.endpoint_id.clone()).collect();
    let ids: Vec<_> = ids.into_iter().collect();
    let read = clients.endpoints.get_many_with_health(&ids).await?;
    known.circuits = Some(OpenCircuits::of(&read, read_at));
    let mut endpoints: HashMap<_, _> = ids.into_iter().map(|id| (id, None)).collect();
    endpoints.extend(read.into_iter().map(|(endpoint, _)| (endpoint.id.clone(), Some(endpoint))));
    for (id, endpoint) in &endpoints {
        let Some(endpoint) = endpoint else { continue };
        let of_endpoint = page.iter().filter(|row| row.first && row.delivery.endpoint_id == *id);
        let missing: Vec<_> = of_endpoint
            .map(|row| &row.delivery)
            .filter(|key| !known.records.contains_key(key) && !known.new.contains_key(key))
            .cloned()
            .collect();
        let heads = heads_of(clients, &endpoint.tenant, &missing).await?;
        heads.into_iter().for_each(|(key, head)| known.learn_unrecorded(key, &head, &endpoint.tenant));
    }
    // The caller was told which endpoints of chosen deliveries take nothing.
    if matches!(job.kind, JobKind::Replay) {
        return Ok(HashMap::new());
    }
    let closed = endpoints.into_iter().filter_map(|(id, endpoint)| Some((id, why_closed(endpoint.as_ref())?)));
    Ok(closed.collect())
}

fn why_closed(endpoint: Option<&Endpoint>) -> Option<RowResult> {
    match endpoint.map(|endpoint| endpoint.status) {
        Some(EndpointStatus::Active) => None,
        Some(EndpointStatus::Paused) => Some(RowResult::EndpointPaused),
        Some(EndpointStatus::Deleted) | None => Some(RowResult::EndpointDeleted),
    }
}

/// The events of deliveries, which are all of one tenant, without their bodies. An id may be used again after its event
/// has expired; that is another event.
pub(crate) async fn heads_of(
    clients: &Clients,
    tenant: &TenantId,
    keys: &[DeliveryKey],
) -> Result<HashMap<DeliveryKey, EventHead>, AwsError> {
    let ids: BTreeSet<_> = keys.iter().map(|key| key.event_id.clone()).collect();
    let heads = clients.events.heads(tenant, &Vec::from_iter(ids), clock::now()).await?;
    let own = keys.iter().filter_map(|key| {
        let head = heads.get(&key.event_id).filter(|head| head.accepted_at == key.accepted_at)?;
        Some((key.clone(), head.clone()))
    });
    Ok(own.collect())
}

/// Changes one delivery; gives its record if its next attempt is to be sent.
async fn change_one(
    clients: &Clients,
    mut record: Option<Record>,
    plan: impl Fn(Option<&Record>) -> RowPlan,
    writer: &str,
) -> Result<(RowResult, Option<Record>), AwsError> {
    for _ in 0..MOST_CONFLICTS {
        let wanted = match plan(record.as_ref()) {
            RowPlan::Skip(reason) => return Ok((reason, None)),
            RowPlan::QueueAgain => return Ok((result_of(record.as_ref()), record)),
            RowPlan::Write(wanted) => *wanted,
        };
        let seen = record.as_ref().map(|record| record.rev);
        match clients.protocol.deliveries.put(seen, wanted, writer).await? {
            Put::Stored(stored) => return Ok((result_of(Some(&stored)), Some(*stored))),
            Put::Conflict(standing) => record = standing.map(|record| *record),
        }
    }
    Ok((RowResult::InFlight, None))
}

/// The result for a delivery that the job has written.
fn result_of(record: Option<&Record>) -> RowResult {
    match record {
        Some(record) if record.status == Status::Held => RowResult::Held,
        _ => RowResult::Queued,
    }
}
