//! `GET /v1/dead-letters`: the messages that could not be processed, with what is to become of each.
//!
//! What can become a visible delivery is taken by the next sweep. What is left is for an operator: it cannot be read, so
//! nobody knows which delivery or job it was about.
//!
//! A queue can be looked into only by receiving. The letters are hidden from the sweep while this looks, and put back at the
//! end, or seen again after [`HIDDEN_SECONDS`] if it dies; those that the sweep has hidden are not seen here until then. The
//! sweep waits a second for a letter, so that it gets those that somebody who looks again and again has just put back.
//! Looking raises a letter's count of receives, which nothing depends on: dead letters have no further queue to go to.
//! Nor are there pages: a look shows what it can, and says about how many it does not show.

use std::collections::BTreeSet;

use futures::future::join_all;
use futures::try_join;
use pombo_aws::AwsError;
use pombo_aws::queue::{Incoming, LARGEST_BATCH, Queue};
use pombo_domain::delivery::DeliveryKey;
use pombo_domain::message::{DeliveryMessage, JobMessage, JobWork};
use pombo_domain::time::Timestamp;
use pombo_web::{Caller, Problem, Request, Response};
use serde::Serialize;
use serde_json::Value;

use crate::settings::App;

/// How long a letter is hidden from the sweep at most, in seconds. A look is done sooner; in one that is not, a letter comes
/// twice and is shown once.
const HIDDEN_SECONDS: u32 = 5;
/// How often a queue is asked for ten more.
const MOST_RECEIVES: usize = 10;
/// How much of a message is shown, in bytes.
const LONGEST_SHOWN: usize = 2048;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Origin {
    Deliveries,
    Jobs,
}

/// Who has to look after a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum WaitsFor {
    Sweep,
    Operator,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Letter {
    queue: Origin,
    waits_for: WaitsFor,
    reason: String,
    delivery_id: Option<DeliveryKey>,
    job_id: Option<String>,
    message: String,
    message_bytes: usize,
    message_id: String,
    received: u32,
    sent_at: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
struct Answer {
    dead_letters: Vec<Letter>,
    not_shown: u64,
}

/// Answers with the letters, the newest first. They belong to no tenant, so it takes a key for the whole stack.
pub(crate) async fn answer(app: &App, caller: &Caller, request: &Request) -> Result<Response, Problem> {
    request.only_query(&[])?;
    if caller.tenant.is_some() {
        return Err(Problem::new(403, "Dead letters belong to no tenant: this takes an API key for the whole stack."));
    }
    let (deliveries, jobs, deliveries_length, jobs_length) = try_join!(
        look(&app.dead_deliveries),
        look(&app.dead_jobs),
        app.dead_deliveries.whole_length(),
        app.dead_jobs.whole_length(),
    )?;
    let letters = deliveries.into_iter().map(of_deliveries).chain(jobs.into_iter().map(of_jobs));
    let mut dead_letters: Vec<_> = letters.collect();
    dead_letters.sort_by(|a, b| (b.sent_at, &b.message_id).cmp(&(a.sent_at, &a.message_id)));
    let not_shown = (deliveries_length + jobs_length).saturating_sub(dead_letters.len() as u64);
    Ok(Response::json(200, &Answer { dead_letters, not_shown }))
}

/// What there is in a queue, each letter once.
async fn look(queue: &Queue) -> Result<Vec<Incoming>, AwsError> {
    let mut found = Vec::new();
    let mut failed = None;
    for _ in 0..MOST_RECEIVES {
        match queue.receive(HIDDEN_SECONDS).await {
            Ok(letters) if letters.is_empty() => break,
            Ok(letters) => found.extend(letters),
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    for put_back in join_all(found.chunks(LARGEST_BATCH).map(|letters| queue.put_back(letters))).await {
        if let Err(error) = put_back {
            tracing::warn!(%error, "Dead letters could not be put back; they are seen again in {HIDDEN_SECONDS} seconds.");
        }
    }
    if let Some(error) = failed {
        return Err(error);
    }
    // A queue may give a message twice.
    let mut seen = BTreeSet::new();
    found.retain(|letter| seen.insert(letter.id.clone()));
    Ok(found)
}

fn of_deliveries(letter: Incoming) -> Letter {
    let of =
        |waits_for, reason: String, delivery_id| of(Origin::Deliveries, waits_for, reason, &letter, delivery_id, None);
    match DeliveryMessage::parse(&letter.body) {
        Err(error) => of(WaitsFor::Operator, sentence(&error), None),
        Ok(message) if message.record.is_some() => {
            let reason = "An attempt's outcome could not be recorded. The next sweep records it.";
            of(WaitsFor::Sweep, reason.to_owned(), Some(message.delivery))
        }
        Ok(message) => {
            let reason = "It could not be processed. Unless its delivery has moved on, the next sweep ends it as failed, to \
                          be replayed.";
            of(WaitsFor::Sweep, reason.to_owned(), Some(message.delivery))
        }
    }
}

fn of_jobs(letter: Incoming) -> Letter {
    let of = |waits_for, reason: String, job_id| of(Origin::Jobs, waits_for, reason, &letter, None, job_id);
    match JobMessage::parse(&letter.body) {
        Err(error) => of(WaitsFor::Operator, sentence(&error), None),
        Ok(JobMessage { work: JobWork::Leg { job, .. }, .. }) => {
            let reason = "A leg of a job could not be run. The next sweep finds the job stalled and runs it again.";
            of(WaitsFor::Sweep, reason.to_owned(), Some(job))
        }
        Ok(JobMessage { work: JobWork::Publish { .. }, .. }) => {
            let reason = "An event of Pombo's own could not be queued. The next sweep finds it unqueued and queues it.";
            of(WaitsFor::Sweep, reason.to_owned(), None)
        }
        Ok(JobMessage { work: JobWork::Sweep { .. }, .. }) => {
            let reason = "A sweep could not be run. The next one makes up for it.";
            of(WaitsFor::Sweep, reason.to_owned(), None)
        }
    }
}

/// A message as it is shown. An outcome on its way to its record says where the request went, and where a redirect leads to;
/// for whom, and whether the endpoint still exists, is not known here.
fn without_urls(body: &str) -> String {
    let Ok(mut message) = serde_json::from_str::<Value>(body) else { return body.to_owned() };
    let Some(attempt) = message.pointer_mut("/record/attempt").and_then(Value::as_object_mut) else {
        return body.to_owned();
    };
    attempt.retain(|name, _| name != "url" && name != "location");
    message.to_string()
}

fn sentence(error: &impl ToString) -> String {
    let error = error.to_string();
    let mut letters = error.chars();
    letters.next().map(|first| format!("{}{}.", first.to_uppercase(), letters.as_str())).unwrap_or_default()
}

fn of(
    queue: Origin,
    waits_for: WaitsFor,
    reason: String,
    letter: &Incoming,
    delivery_id: Option<DeliveryKey>,
    job_id: Option<String>,
) -> Letter {
    let mut message = without_urls(&letter.body);
    message.truncate(message.floor_char_boundary(LONGEST_SHOWN));
    Letter {
        queue,
        waits_for,
        reason,
        delivery_id,
        job_id,
        message,
        message_bytes: letter.body.len(),
        message_id: letter.id.clone(),
        received: letter.received,
        sent_at: letter.sent_at,
    }
}

#[cfg(test)]
mod tests {
    use pombo_domain::delivery::Step;

    use super::*;

    fn letter(body: &str) -> Incoming {
        Incoming {
            id: "m".into(),
            body: body.into(),
            receipt: "r".into(),
            sent_at: Some(Timestamp::from_seconds(1)),
            received: 3,
        }
    }

    #[test]
    fn what_cannot_be_read_waits_for_an_operator_and_the_rest_for_the_sweep() {
        let key = DeliveryKey {
            endpoint_id: "ep_aaaaaaaaaaaaaaaa".parse().unwrap(),
            accepted_at: Timestamp::from_seconds(1),
            event_id: "e".parse().unwrap(),
        };
        let plain = of_deliveries(letter(&DeliveryMessage::by_reference(key.clone(), Step::FIRST).to_json()));
        assert_eq!((plain.queue, plain.waits_for, plain.delivery_id), (Origin::Deliveries, WaitsFor::Sweep, Some(key)));
        let leg = of_jobs(letter(&JobMessage::leg("j".into(), 2).to_json()));
        assert_eq!((leg.queue, leg.waits_for, leg.job_id.as_deref()), (Origin::Jobs, WaitsFor::Sweep, Some("j")));
        for job in [JobMessage::sweep(), JobMessage::publish("t#e".into())] {
            assert_eq!(of_jobs(letter(&job.to_json())).waits_for, WaitsFor::Sweep);
        }
        for broken in [of_deliveries(letter("<b>nonsense")), of_jobs(letter(r#"{"v":1}"#))] {
            assert_eq!(broken.waits_for, WaitsFor::Operator);
            assert!(broken.reason.starts_with("The message cannot be read: "), "{}", broken.reason);
            assert_eq!((broken.received, broken.sent_at), (3, Some(Timestamp::from_seconds(1))));
        }
    }

    #[test]
    fn a_queued_outcome_is_shown_without_the_receivers_urls() {
        let shown = |body: &str| of_deliveries(letter(body)).message;
        let outcome = r#"{"v":1,"record":{"holder":"h","attempt":{"url":"https://a.example/hook/token","location":"/token","answer":"no"}}}"#;
        let message = shown(outcome);
        assert!(!message.contains("token") && message.contains(r#""answer":"no""#), "{message}");
        for other in
            [r#"{"v":1,  "url":"https://a.example/"}"#, r#"{"record":{"attempt":7}}"#, "https://a.example/", ""]
        {
            assert_eq!(shown(other), other, "what is no outcome of Pombo's is shown as it is");
        }
    }

    #[test]
    fn a_long_message_is_cut_at_a_character_and_its_length_told() {
        let long = of_jobs(letter(&"é".repeat(3000)));
        assert_eq!((long.message.len(), long.message_bytes), (2048, 6000));
        let odd = of_jobs(letter(&format!("x{}", "é".repeat(3000))));
        assert_eq!((odd.message.len(), odd.message_bytes), (2047, 6001));
    }
}
