//! The item of a delivery: its record, and its places in the sparse indexes, which follow from it.
//!
//! Every delivery is written and kept for weeks, so most attributes have short names, and nothing is stored twice. Keys,
//! `tenant`, `status` and `expires_at` can be read as they are. A time is a number of milliseconds since 1970. A *writer* is
//! stored as [`crate::writer`] says: the ids of an invocation and of a message in 16 bytes each.
//!
//! | name | what it is | how it is written |
//! | --- | --- | --- |
//! | `endpoint_id`, `sort_key` | the key: the endpoint; the time of acceptance and the event | text |
//! | `tenant` | the tenant | text |
//! | `t` | the event's type | text |
//! | `status` | the status | text |
//! | `s` | the step: `1.2` is attempt 2 of round 1 | text; absent if it is the step of the newest attempt, or `0.0` |
//! | `r` | the revision | number |
//! | `w` | who wrote the revision | writer |
//! | `expires_at` | when the record expires | number, in seconds |
//! | `c` | the claim: `h` its holder, `u` until when | map: writer, absent if it is `w`; time |
//! | `n` | the next attempt: `t` when it is due, `route` how its message comes | map: time, text |
//! | `l` | when the sweep looks for the next attempt again | time |
//! | `a` | the newest attempts | list of maps, below |
//! | `u` | URLs of the endpoint, by its version | map of texts |
//! | `o` | number of attempts before those | number |
//! | `j` | the job that last opened a round or released the delivery | bytes of its key; any other id as text |
//!
//! The map of an attempt:
//!
//! | name | what it is | how it is written |
//! | --- | --- | --- |
//! | `s` | the step | text; absent if it is `0.1` |
//! | `t` | when it began | time |
//! | `d` | how long it took, in milliseconds | number |
//! | `c` | the status code of a success | number |
//! | `o` | any other outcome | map, as the API shows it |
//! | `v` | the endpoint's version | number |
//! | `u` | the URL, unless the record has it | text |
//! | `a` | the start of the answer | text |
//! | `cut` | whether the answer went on | truth value, if it did |
//! | `n` | the size of the whole answer | number |
//! | `l` | where a redirect leads to | text |
//! | `w` | the wait that the receiver asked for, in seconds | number |
//! | `r` | whether it may have been sent before | truth value, if so |
//! | `trigger` | why it was made | text; absent if the step says it |

use aws_sdk_dynamodb::types::AttributeValue;
use pombo_domain::delivery::{DeliveryKey, Listing, Record};

use super::stored;
use crate::item::{BadAttribute, Item, Reader, nested, number, text, time};
use crate::writer::writer;

/// The attribute that counts the writes.
pub(super) const REV: &str = "r";
/// The attribute that tells who wrote a revision.
pub(super) const WRITER: &str = "w";

/// The attributes that only indexes use; they follow from the record.
const LISTING: [&str; 6] = ["endpoint_status", "tenant_status", "stack_status", "list_key", "due_shard", "due_at"];

/// The table's key.
pub(super) fn table_key(key: &DeliveryKey) -> Item {
    Item::from([("endpoint_id".into(), text(&key.endpoint_id)), ("sort_key".into(), text(key.sort_key()))])
}

/// Reads the table's key.
pub(super) fn key_of(item: &mut Reader) -> Result<DeliveryKey, Box<dyn std::error::Error + Send + Sync>> {
    let sort_key: String = item.take("sort_key")?;
    Ok(DeliveryKey::from_parts(item.take("endpoint_id")?, &sort_key)?)
}

/// The table's key, if it can be read.
pub(super) fn key_in(item: &Item) -> Option<DeliveryKey> {
    let part = |name: &str| Some((name.to_owned(), item.get(name)?.clone()));
    key_of(&mut Reader([part("endpoint_id")?, part("sort_key")?].into())).ok()
}

/// A record with its places in the indexes.
pub(super) fn to_item(record: &Record) -> Result<Item, BadAttribute> {
    let mut item = table_key(&record.key);
    item.extend([
        ("tenant".into(), text(&record.tenant)),
        ("t".into(), text(&record.event_type)),
        ("status".into(), text(record.status.as_str())),
        (REV.into(), number(record.rev)),
        (WRITER.into(), writer(&record.writer)),
        ("expires_at".into(), number(record.expires_at)),
    ]);
    let mut add = |name: &str, value| _ = item.insert(name.to_owned(), value);
    if record.step != stored::usual_step(&record.attempts) {
        add("s", text(record.step));
    }
    if let Some(claim) = &record.claim {
        add("c", stored::claim(claim, &record.writer));
    }
    if let Some(next) = record.next {
        add("n", stored::next(next)?);
    }
    if let Some(look) = record.next_look {
        add("l", time(look));
    }
    if !record.attempts.is_empty() {
        add("a", AttributeValue::L(record.attempts.iter().map(stored::attempt).collect::<Result<_, _>>()?));
    }
    if !record.urls.is_empty() {
        add("u", nested("u", &record.urls)?);
    }
    if record.older_attempts > 0 {
        add("o", number(record.older_attempts));
    }
    if let Some(job) = &record.job {
        add("j", stored::job(job));
    }
    for (name, value) in &record.unknown {
        add(name, nested(name, value)?);
    }
    if let Some(listing) = record.listing() {
        item.extend(listing_attributes(&listing));
    }
    Ok(item)
}

fn listing_attributes(listing: &Listing) -> Vec<(String, AttributeValue)> {
    let mut attributes = vec![
        ("endpoint_status".to_owned(), text(&listing.endpoint_status)),
        ("tenant_status".to_owned(), text(&listing.tenant_status)),
        ("stack_status".to_owned(), text(&listing.stack_status)),
        ("list_key".to_owned(), text(&listing.list_key)),
    ];
    if let (Some(shard), Some(due_at)) = (&listing.due_shard, listing.due_at) {
        attributes.push(("due_shard".to_owned(), text(shard)));
        attributes.push(("due_at".to_owned(), number(due_at)));
    }
    attributes
}

/// Reads a record. What this version does not know is kept as JSON says it, so a newer one may add texts, numbers, lists and maps to a
/// record, but neither sets nor bytes.
pub(super) fn from_item(mut item: Item) -> Result<Record, Box<dyn std::error::Error + Send + Sync>> {
    for name in LISTING {
        item.remove(name);
    }
    let mut item = Reader(item);
    let attempts = item.take_maps("a")?.into_iter().map(stored::to_attempt).collect::<Result<Vec<_>, _>>()?;
    let writer = item.take_writer(WRITER)?.ok_or_else(|| BadAttribute::new(WRITER, "is missing"))?;
    let mut record = Record {
        key: key_of(&mut item)?,
        tenant: item.take("tenant")?,
        event_type: item.take("t")?,
        status: item.take("status")?,
        step: item.take_optional("s")?.unwrap_or_else(|| stored::usual_step(&attempts)),
        claim: item.take_map("c")?.map(|claim| stored::to_claim(claim, &writer)).transpose()?,
        next: item.take_map("n")?.map(stored::to_next).transpose()?,
        next_look: stored::to_optional_time(&mut item, "l")?,
        attempts,
        urls: item.take_nested("u")?.unwrap_or_default(),
        older_attempts: item.take_optional("o")?.unwrap_or_default(),
        job: item.0.remove("j").map(stored::to_job).transpose()?,
        rev: item.take(REV)?,
        writer,
        expires_at: item.take("expires_at")?,
        unknown: Default::default(),
    };
    for (name, value) in item.0 {
        record.unknown.insert(name, serde_dynamo::from_attribute_value(value)?);
    }
    Ok(record)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use pombo_domain::delivery::{NewDelivery, Status, Step};
    use pombo_domain::ids::EndpointId;
    use pombo_domain::job::JobKey;
    use pombo_domain::outcome::{Answer, Attempt, Detail, NEWEST_ANSWER, Outcome, RefusedBy, SentTo, Trigger};
    use pombo_domain::retry::{Decision, Next, Route};
    use pombo_domain::time::Timestamp;

    use super::*;
    use crate::item::size_of;

    const LARGEST: usize = 8 * 1024;
    const LATE: Timestamp = Timestamp::from_millis(253_402_207_199_999);

    /// Everything as long as it may be, tried again and again, with this outcome and answer.
    fn largest(outcome: &Outcome, answer: Option<&Answer>) -> Record {
        let longest = "x".repeat(64);
        let key = DeliveryKey {
            endpoint_id: EndpointId::generate([9; 10]),
            accepted_at: LATE,
            event_id: longest.parse().unwrap(),
        };
        let new = NewDelivery {
            tenant: longest.parse().unwrap(),
            event_type: "x".repeat(128).parse().unwrap(),
            expires_at: i64::MAX,
        };
        // An emulator may give other ids than AWS.
        let holder = "x".repeat(36 + 1 + 36);
        let job = JobKey::generate(Some(&new.tenant), LATE, [9; 10]).to_string();
        let mut record = Record { rev: u64::MAX, writer: holder.clone(), ..Record::begin(key, new) };
        record.step.round = u32::MAX / 2;
        for version in 0..40 {
            record = record.round_opened(&job, LATE);
            let attempt = Attempt {
                step: record.step.next(),
                started_at: LATE,
                duration_ms: u64::MAX,
                outcome: outcome.clone(),
                answer: answer.cloned(),
                sent_to: Some(SentTo { version: u64::MAX - version, url: Some("x".repeat(120)) }),
                redelivered: true,
                trigger: Trigger::Replay,
            };
            let next = Next { at: LATE, route: Route::Scheduler };
            record = record.record_attempt("another", attempt, Decision::Retry(next)).unwrap();
        }
        assert_eq!(record.status, Status::Retrying);
        record.claimed(&holder, LATE)
    }

    #[test]
    fn a_record_takes_8_kib_at_most_however_often_it_is_tried_and_whatever_is_answered() {
        let detail = "é".repeat(10_000);
        let answer = Answer {
            text: "é".repeat(NEWEST_ANSWER),
            cut: true,
            bytes: Some(u64::MAX),
            location: Some(Answer::printable_location(detail.as_bytes())),
            retry_after: Some(86_400),
        };
        let refused = Outcome::Refused { rule: "x".repeat(40), by: RefusedBy::Addresses, detail: Detail::new(&detail) };
        for (outcome, answer) in [
            (Outcome::HttpStatus { status_code: u16::MAX }, Some(&answer)),
            (Outcome::InvalidResponse { detail: Detail::new(&detail) }, None),
            (refused, None),
        ] {
            let record = largest(&outcome, answer);
            let item = to_item(&record).unwrap();
            assert_eq!(from_item(item.clone()).unwrap(), record, "it reads back");
            let size = size_of(&item);
            assert!((LARGEST / 3..=LARGEST).contains(&size), "{size} bytes");
        }
    }

    const INVOCATION: &str = "8d2f6c1e-4b7a-4c3d-9e5f-0a1b2c3d4e5f/1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed";

    fn new_record() -> Record {
        let key = DeliveryKey {
            endpoint_id: EndpointId::generate([9; 10]),
            accepted_at: Timestamp::from_millis(1_764_288_123_456),
            event_id: "evt_aeaqcaibaeaqcaibaeaqcaibae".parse().unwrap(),
        };
        let new = NewDelivery {
            tenant: "school-4711".parse().unwrap(),
            event_type: "student.enrolled".parse().unwrap(),
            expires_at: 1_766_880_000,
        };
        Record { rev: 1, writer: INVOCATION.to_owned(), ..Record::begin(key, new) }
    }

    fn attempt(step: Step, outcome: Outcome) -> Attempt {
        Attempt {
            step,
            started_at: Timestamp::from_millis(1_764_288_123_999),
            duration_ms: 84,
            outcome,
            answer: Some(r#"{"received":true}"#.into()),
            sent_to: Some(SentTo { version: 1, url: Some("https://example.com/hooks".to_owned()) }),
            redelivered: false,
            trigger: Record::trigger(step),
        }
    }

    #[test]
    fn the_record_of_an_ordinary_first_success_takes_at_most_280_bytes() {
        let success = attempt(Step::FIRST, Outcome::Succeeded { status_code: 200 });
        let record = new_record().record_attempt(INVOCATION, success, Decision::Succeeded).unwrap();
        let size = size_of(&to_item(&record).unwrap());
        assert!(size <= 280, "{size} bytes");
    }

    #[test]
    fn what_follows_from_another_attribute_is_not_stored() {
        let names = |record: &Record| to_item(record).unwrap().into_keys().collect::<std::collections::BTreeSet<_>>();
        let step = Step { round: 1, attempt: 2 };
        let success = attempt(step, Outcome::Succeeded { status_code: 200 });
        let usual = Record { step: Step { round: 1, attempt: 1 }, ..new_record() };
        let usual = usual.record_attempt(INVOCATION, success, Decision::Succeeded).unwrap();
        assert!(!names(&usual).contains("s"));
        assert!(names(&Record { step: Step { round: 2, attempt: 0 }, ..usual }).contains("s"));
        let own = new_record().claimed(INVOCATION, LATE);
        let foreign = Record { writer: "sweep".to_owned(), ..own.clone() };
        for (record, has_holder) in [(own, false), (foreign, true)] {
            let AttributeValue::M(claim) = &to_item(&record).unwrap()["c"] else { unreachable!() };
            assert_eq!(claim.contains_key("h"), has_holder);
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let key = JobKey::generate(None, LATE, [9; 10]).to_string();
        let answer = Answer {
            text: String::new(),
            cut: true,
            bytes: Some(5),
            location: Some("/x".to_owned()),
            retry_after: Some(7),
        };
        let second = Step { round: 0, attempt: 2 };
        let failed = Outcome::HttpStatus { status_code: 503 };
        let attempts = [
            Attempt { answer: Some(answer), ..attempt(Step::FIRST, failed.clone()) },
            Attempt { answer: None, sent_to: None, redelivered: true, ..attempt(second, Outcome::TimedOut) },
            Attempt { trigger: Trigger::Probe, ..attempt(second, Outcome::Succeeded { status_code: 204 }) },
            Attempt { trigger: Trigger::Unknown, ..attempt(Step { round: 7, attempt: 1 }, Outcome::Unknown) },
        ];
        let base = || new_record().claimed(INVOCATION, LATE);
        let tried = Record { attempts: attempts.to_vec(), step: Step { round: 7, attempt: 1 }, ..base() };
        let later = [("zz".to_owned(), serde_json::json!({"a": [1, "b", null]}))];
        let records = [
            new_record(),
            base(),
            Record { writer: "sweep".to_owned(), ..base() },
            Record { writer: "sweep".to_owned(), ..base().claimed("without a claim", LATE) },
            Record { step: Step { round: 8, attempt: 0 }, older_attempts: 3, ..tried.clone() },
            Record { urls: [(1, "https://a.example".to_owned())].into(), unknown: later.into(), ..tried.clone() },
            tried.round_opened(&key, LATE).looked_at(LATE),
            tried.released("job", LATE),
            Record { next: Some(Next { at: LATE, route: Route::Scheduler }), ..tried.clone() },
            Record { status: Status::Failed, ..tried },
        ];
        for record in records {
            assert_eq!(from_item(to_item(&record).unwrap()).unwrap(), record);
        }
    }

    #[test]
    fn what_is_not_as_this_version_writes_it_is_not_read() {
        let success = attempt(Step::FIRST, Outcome::Succeeded { status_code: 200 });
        let record = new_record().record_attempt("me", success, Decision::Succeeded).unwrap();
        let whole = to_item(&record.claimed("other", LATE)).unwrap();
        assert!(from_item(whole.clone()).is_ok());
        let wrong: [(&str, &[AttributeValue]); 7] = [
            ("w", &[number(1), crate::item::bytes(vec![1])]),
            ("s", &[text("1"), number(1)]),
            ("c", &[text("me"), AttributeValue::M(Item::new())]),
            ("n", &[text("2026-01-31T09:30:00Z")]),
            ("a", &[text("x"), AttributeValue::L(vec![AttributeValue::M(Item::new())])]),
            ("j", &[number(1), crate::item::bytes(vec![255])]),
            ("status", &[text("parked")]),
        ];
        for (name, values) in wrong {
            for value in values {
                let mut item = whole.clone();
                item.insert(name.to_owned(), value.clone());
                assert!(from_item(item).is_err(), "{name}: {value:?}");
            }
        }
        for name in ["t", "r", "w", "status", "tenant", "expires_at"] {
            let mut item = whole.clone();
            item.remove(name);
            assert!(from_item(item).is_err(), "{name}");
        }
    }

    #[test]
    fn keys_keep_to_what_dynamodb_takes() {
        let item = to_item(&largest(&Outcome::TimedOut, None)).unwrap();
        for (name, most) in [("endpoint_id", 2048), ("sort_key", 1024), ("list_key", 1024), ("tenant_status", 2048)] {
            let AttributeValue::S(key) = &item[name] else { unreachable!() };
            assert!(key.len() <= most, "{name}: {key}");
        }
    }
}
