//! The item of a delivery: its record, and its places in the sparse indexes, which follow from it.

use aws_sdk_dynamodb::types::AttributeValue;
use pombo_domain::delivery::{DeliveryKey, Listing, Record, Step};

use crate::item::{BadAttribute, Item, Reader, nested, number, text};

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
        ("type".into(), text(&record.event_type)),
        ("status".into(), text(record.status.as_str())),
        ("round".into(), number(record.step.round)),
        ("attempt".into(), number(record.step.attempt)),
        ("rev".into(), number(record.rev)),
        ("writer".into(), text(&record.writer)),
        ("expires_at".into(), number(record.expires_at)),
    ]);
    if let Some(claim) = &record.claim {
        item.insert("claim".into(), nested("claim", claim)?);
    }
    if let Some(next) = &record.next {
        item.insert("next".into(), nested("next", next)?);
    }
    if let Some(time) = record.next_look {
        item.insert("next_look".into(), text(time));
    }
    if !record.attempts.is_empty() {
        item.insert("attempts".into(), nested("attempts", &record.attempts)?);
    }
    if !record.urls.is_empty() {
        item.insert("urls".into(), nested("urls", &record.urls)?);
    }
    if record.older_attempts > 0 {
        item.insert("older_attempts".into(), number(record.older_attempts));
    }
    if let Some(job) = &record.job {
        item.insert("job".into(), text(job));
    }
    for (name, value) in &record.unknown {
        item.insert(name.clone(), nested(name, value)?);
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
    let mut record = Record {
        key: key_of(&mut item)?,
        tenant: item.take("tenant")?,
        event_type: item.take("type")?,
        status: item.take("status")?,
        step: Step { round: item.take("round")?, attempt: item.take("attempt")? },
        claim: item.take_nested("claim")?,
        next: item.take_nested("next")?,
        next_look: item.take_optional("next_look")?,
        attempts: item.take_nested("attempts")?.unwrap_or_default(),
        urls: item.take_nested("urls")?.unwrap_or_default(),
        older_attempts: item.take_optional("older_attempts")?.unwrap_or_default(),
        job: item.take_optional("job")?,
        rev: item.take("rev")?,
        writer: item.take("writer")?,
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
    use pombo_domain::delivery::{NewDelivery, Status};
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
        // An invocation's and a message's id.
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

    #[test]
    fn keys_keep_to_what_dynamodb_takes() {
        let item = to_item(&largest(&Outcome::TimedOut, None)).unwrap();
        for (name, most) in [("endpoint_id", 2048), ("sort_key", 1024), ("list_key", 1024), ("tenant_status", 2048)] {
            let AttributeValue::S(key) = &item[name] else { unreachable!() };
            assert!(key.len() <= most, "{name}: {key}");
        }
    }
}
