//! Chosen deliveries, each in a new round.
//!
//! A delivery that is being sent at this moment, or counts as being sent because the window of its first attempt is open, is
//! left alone: it says `in_flight`. When the window has closed and the delivery has no record, its first message is sent again.
//! A delivery whose endpoint is paused or deleted is left alone, too: its replay would only be held or cancelled, and its
//! record would no longer say why it failed. The answer says so for each; nothing of the order is lost silently.
//!
//! Behind an open circuit a delivery waits in its new round until the circuit closes: it says `held`, and when the next probe
//! is. An order of one delivery does not wait for that: the delivery is the probe, unless one is under way.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use pombo_aws::AwsError;
use pombo_aws::clock;
use pombo_aws::jobs::PutJob;
use pombo_domain::delivery::{DeliveryKey, Record};
use pombo_domain::endpoint::{Endpoint, EndpointStatus};
use pombo_domain::event::Event;
use pombo_domain::health::Health;
use pombo_domain::ids::EndpointId;
use pombo_domain::job::{Job, JobKey, JobKind, Row, RowResult};
use pombo_domain::time::Timestamp;
use pombo_jobs::leg::{LegError, PageRun, run_page};
use pombo_jobs::{Invocation, Known, OpenCircuits, Records};
use pombo_web::{Caller, Problem, Response};
use serde::Serialize;

use super::{queue_leg, random};
use crate::held::Held;
use crate::pending;
use crate::replay_view::ReplayView;
use crate::settings::App;

/// How many reads are under way at one time.
const AT_ONCE: usize = 16;

#[derive(Debug, Serialize)]
struct Answer {
    #[serde(flatten)]
    replay: ReplayView,
    deliveries: Vec<Chosen>,
}

#[derive(Debug, Serialize)]
struct Chosen {
    id: DeliveryKey,
    result: Told,
    /// Why the delivery is held, if it is held.
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<Held>,
}

/// What the caller is told of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum Told {
    /// What became of it.
    Result(RowResult),
    /// It is part of a replay that is stored and goes on; the replay's counts will say.
    Accepted(Accepted),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Accepted {
    Accepted,
}

/// Orders the replay and answers with what became of each delivery.
pub(super) async fn answer(
    app: &App,
    caller: &Caller,
    chosen: Vec<DeliveryKey>,
    invocation: &Invocation,
) -> Result<Response, Problem> {
    let now = clock::now();
    let mut records = app.clients.protocol.deliveries.get_many(&chosen).await?;
    records.retain(|_, record| record.expires_at > now.as_seconds());
    let read_at = Instant::now();
    let endpoints = endpoints_of(app, &chosen).await?;
    let circuits = OpenCircuits::of(endpoints.values(), read_at);
    let decided = stream::iter(chosen.iter().map(|key| {
        let (record, endpoint) = (records.get(key), endpoints.get(&key.endpoint_id).map(|(endpoint, _)| endpoint));
        async move { Ok::<_, AwsError>((key, decide(app, caller, key, record, endpoint, now).await?)) }
    }));
    let decided: Vec<_> = decided.buffered(AT_ONCE).try_collect().await?;
    let (mut results, mut known) = (HashMap::new(), Known { circuits: Some(circuits), ..Known::default() });
    for (key, decision) in decided {
        match decision {
            Decision::Settled(result) => _ = results.insert(key, Some(result)),
            Decision::Unrecorded(event) => {
                known.fanned_out.insert(key.clone());
                known.new.insert(key.clone(), event.new_delivery());
                results.insert(key, None);
            }
            Decision::ForTheJob => _ = results.insert(key, None),
        }
    }
    let job = store(app, caller, &chosen, &results, &records, invocation, now).await?;
    known.records = records;
    let (job, told) = run(app, job, known, invocation).await;
    for (key, result) in &told {
        if let Some(undecided) = results.get_mut(key) {
            *undecided = Some(*result);
        }
    }
    let deliveries = chosen.iter().map(|key| {
        let result = results.get(key).copied().flatten();
        let known = endpoints.get(&key.endpoint_id).filter(|_| result == Some(RowResult::Held));
        let held = known.map(|(endpoint, health)| Held::of(endpoint.status, health));
        Chosen { id: key.clone(), result: result.map_or(Told::Accepted(Accepted::Accepted), Told::Result), held }
    });
    Ok(Response::json(202, &Answer { deliveries: deliveries.collect(), replay: ReplayView::of(job) }))
}

async fn endpoints_of(app: &App, chosen: &[DeliveryKey]) -> Result<HashMap<EndpointId, (Endpoint, Health)>, AwsError> {
    let ids: BTreeSet<_> = chosen.iter().map(|key| key.endpoint_id.clone()).collect();
    let found = app.clients.endpoints.get_many_with_health(&Vec::from_iter(ids)).await?;
    Ok(found.into_iter().map(|known| (known.0.id.clone(), known)).collect())
}

/// The decision on a delivery before its record is changed.
enum Decision {
    /// This is the result.
    Settled(RowResult),
    /// The job has to see: the delivery has a record.
    ForTheJob,
    /// The job has to see: the delivery has no record yet, and is of this event.
    Unrecorded(Box<Event>),
}

async fn decide(
    app: &App,
    caller: &Caller,
    key: &DeliveryKey,
    record: Option<&Record>,
    endpoint: Option<&Endpoint>,
    now: Timestamp,
) -> Result<Decision, AwsError> {
    let status = endpoint.map(|endpoint| endpoint.status);
    if let Some(record) = record {
        let result = before_the_job(caller.sees(&record.tenant), status);
        return Ok(result.map_or(Decision::ForTheJob, Decision::Settled));
    }
    let Some(endpoint) = endpoint.filter(|endpoint| caller.sees(&endpoint.tenant)) else {
        return Ok(Decision::Settled(RowResult::NotFound));
    };
    let Some(event) = pending::event_of(app, endpoint, key, now).await? else {
        return Ok(Decision::Settled(RowResult::NotFound));
    };
    Ok(before_the_job(true, status).map_or_else(|| Decision::Unrecorded(Box::new(event)), Decision::Settled))
}

/// The result for a delivery that exists, unless the job has to see. An endpoint that is not there any more was deleted long ago.
fn before_the_job(visible: bool, endpoint: Option<EndpointStatus>) -> Option<RowResult> {
    match endpoint {
        _ if !visible => Some(RowResult::NotFound),
        Some(EndpointStatus::Active) => None,
        Some(EndpointStatus::Paused) => Some(RowResult::EndpointPaused),
        Some(EndpointStatus::Deleted) | None => Some(RowResult::EndpointDeleted),
    }
}

/// Stores the job: its page is what is undecided, the rest is counted already.
async fn store(
    app: &App,
    caller: &Caller,
    chosen: &[DeliveryKey],
    results: &HashMap<&DeliveryKey, Option<RowResult>>,
    records: &Records,
    invocation: &Invocation,
    now: Timestamp,
) -> Result<Job, Problem> {
    let key = JobKey::generate(caller.tenant.as_ref(), now, random()?);
    let mut page = Vec::new();
    let mut job = Job::new(key, JobKind::Replay, now, app.retention);
    for key in chosen {
        match (results.get(key).copied().flatten(), records.get(key)) {
            (Some(result), _) => job.counts.add(result),
            (None, Some(record)) => page.push(Row { delivery: key.clone(), round: record.step.round, first: false }),
            (None, None) => page.push(Row { delivery: key.clone(), round: 0, first: true }),
        }
    }
    match app.clients.jobs.put(None, job.with_page(page, Duration::ZERO, now), invocation.writer()).await? {
        PutJob::Stored(job) => Ok(*job),
        PutJob::Conflict(_) => Err(Problem::conflict()),
    }
}

/// Runs the job's leg. If that fails, or somebody has changed the job in the meantime, the job stays and its leg runs from
/// the queue; if that message cannot be sent either, the sweep finds the job stalled.
async fn run(app: &App, job: Job, known: Known, invocation: &Invocation) -> (Job, Vec<(DeliveryKey, RowResult)>) {
    let id = job.key().to_string();
    let leg = run_page(&app.clients, job.clone(), "", known, invocation.writer());
    let error = match tokio::time::timeout(invocation.until_answer(), leg).await {
        Ok(Ok(PageRun::Done(leg))) => return (leg.job.unwrap_or(job), leg.rows),
        Ok(Ok(PageRun::Overtaken(_))) => LegError::Contended(1),
        Ok(Err(error)) => error,
        Err(_) => LegError::OutOfTime,
    };
    tracing::warn!(job = id, %error, "The leg of replay {id} failed and goes on from the queue.");
    queue_leg(app, &job).await;
    (job, Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_caller_sees_and_an_active_endpoint_takes_goes_to_the_job() {
        for (visible, endpoint, expected) in [
            (true, Some(EndpointStatus::Active), None),
            (true, Some(EndpointStatus::Paused), Some(RowResult::EndpointPaused)),
            (true, Some(EndpointStatus::Deleted), Some(RowResult::EndpointDeleted)),
            (true, None, Some(RowResult::EndpointDeleted)),
            (false, Some(EndpointStatus::Active), Some(RowResult::NotFound)),
            (false, Some(EndpointStatus::Paused), Some(RowResult::NotFound)),
        ] {
            assert_eq!(before_the_job(visible, endpoint), expected, "{visible} {endpoint:?}");
        }
    }

    #[test]
    fn results_are_told_by_name() {
        let told = [
            Told::Result(RowResult::InFlight),
            Told::Result(RowResult::EndpointPaused),
            Told::Result(RowResult::Held),
            Told::Result(RowResult::Probe),
            Told::Accepted(Accepted::Accepted),
        ];
        assert_eq!(
            serde_json::to_string(&told).unwrap(),
            r#"["in_flight","endpoint_paused","held","probe","accepted"]"#
        );
    }
}
