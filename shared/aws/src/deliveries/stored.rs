//! The parts of a record as its item has them. The names are listed in [`super::item`].

use aws_sdk_dynamodb::types::AttributeValue;
use pombo_domain::cursor::{seal, unseal};
use pombo_domain::delivery::{Claim, Record, Step};
use pombo_domain::outcome::{Answer, Attempt, Outcome, SentTo};
use pombo_domain::retry::Next;
use pombo_domain::time::Timestamp;

use crate::item::{BadAttribute, Item, Reader, bytes, nested, number, text, time};
use crate::writer::writer;

const YES: AttributeValue = AttributeValue::Bool(true);

fn map<const N: usize>(attributes: [(&str, AttributeValue); N]) -> Item {
    attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A claim in a record that `written_by` wrote. Mostly that is the holder, which is stored once then.
pub(super) fn claim(claim: &Claim, written_by: &str) -> AttributeValue {
    let mut item = map([("u", time(claim.until))]);
    if claim.holder != written_by {
        item.insert("h".into(), writer(&claim.holder));
    }
    AttributeValue::M(item)
}

pub(super) fn to_claim(mut item: Reader, written_by: &str) -> Result<Claim, BadAttribute> {
    let holder = item.take_writer("h")?.unwrap_or_else(|| written_by.to_owned());
    Ok(Claim { holder, until: item.take_time("u")? })
}

pub(super) fn next(next: Next) -> Result<AttributeValue, BadAttribute> {
    Ok(AttributeValue::M(map([("t", time(next.at)), ("route", nested("route", next.route)?)])))
}

pub(super) fn to_next(mut item: Reader) -> Result<Next, BadAttribute> {
    let route = item.take_nested("route")?.ok_or_else(|| BadAttribute::new("route", "is missing"))?;
    Ok(Next { at: item.take_time("t")?, route })
}

/// A job's id. The id is base64 of the job's key, so the key is stored in its place.
pub(super) fn job(id: &str) -> AttributeValue {
    match unseal(id).filter(|key| seal(key) == id) {
        Some(key) => bytes(key.into_bytes()),
        None => text(id),
    }
}

pub(super) fn to_job(value: AttributeValue) -> Result<String, BadAttribute> {
    match value {
        AttributeValue::S(id) => Ok(id),
        AttributeValue::B(key) => match String::from_utf8(key.into_inner()) {
            Ok(key) => Ok(seal(&key)),
            Err(error) => Err(BadAttribute::new("j", error)),
        },
        _ => Err(BadAttribute::new("j", "is neither text nor bytes")),
    }
}

/// The step that a record has unless it says otherwise: that of its newest attempt.
pub(super) fn usual_step(attempts: &[Attempt]) -> Step {
    attempts.last().map(|newest| newest.step).unwrap_or_default()
}

pub(super) fn attempt(attempt: &Attempt) -> Result<AttributeValue, BadAttribute> {
    let mut item = map([("t", time(attempt.started_at)), ("d", number(attempt.duration_ms))]);
    let mut add = |name: &str, value| _ = item.insert(name.to_owned(), value);
    if attempt.step != Step::FIRST {
        add("s", text(attempt.step));
    }
    match &attempt.outcome {
        Outcome::Succeeded { status_code } => add("c", number(status_code)),
        other => add("o", nested("o", other)?),
    }
    if let Some(sent_to) = &attempt.sent_to {
        add("v", number(sent_to.version));
        if let Some(url) = &sent_to.url {
            add("u", text(url));
        }
    }
    if let Some(answer) = &attempt.answer {
        add("a", text(&answer.text));
        if answer.cut {
            add("cut", YES);
        }
        if let Some(bytes) = answer.bytes {
            add("n", number(bytes));
        }
        if let Some(location) = &answer.location {
            add("l", text(location));
        }
        if let Some(seconds) = answer.retry_after {
            add("w", number(seconds));
        }
    }
    if attempt.redelivered {
        add("r", YES);
    }
    if attempt.trigger != Record::trigger(attempt.step) {
        add("trigger", nested("trigger", attempt.trigger)?);
    }
    Ok(AttributeValue::M(item))
}

pub(super) fn to_attempt(mut item: Reader) -> Result<Attempt, BadAttribute> {
    let step = item.take_optional("s")?.unwrap_or(Step::FIRST);
    let outcome = match item.take_optional("c")? {
        Some(status_code) => Outcome::Succeeded { status_code },
        None => item.take_nested("o")?.ok_or_else(|| BadAttribute::new("o", "is missing"))?,
    };
    let version: Option<u64> = item.take_optional("v")?;
    let url = item.take_optional("u")?;
    Ok(Attempt {
        step,
        started_at: item.take_time("t")?,
        duration_ms: item.take("d")?,
        outcome,
        sent_to: version.map(|version| SentTo { version, url }),
        answer: to_answer(&mut item)?,
        redelivered: item.take_flag("r")?,
        trigger: item.take_nested("trigger")?.unwrap_or(Record::trigger(step)),
    })
}

fn to_answer(item: &mut Reader) -> Result<Option<Answer>, BadAttribute> {
    let Some(text) = item.take_optional("a")? else { return Ok(None) };
    Ok(Some(Answer {
        text,
        cut: item.take_flag("cut")?,
        bytes: item.take_optional("n")?,
        location: item.take_optional("l")?,
        retry_after: item.take_optional("w")?,
    }))
}

/// A time that may not be there.
pub(super) fn to_optional_time(item: &mut Reader, name: &str) -> Result<Option<Timestamp>, BadAttribute> {
    Ok(item.take_optional(name)?.map(Timestamp::from_millis))
}
