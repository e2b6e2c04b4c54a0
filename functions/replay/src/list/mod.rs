//! Lists of deliveries and of events, newest first, in pages that neither skip nor repeat.
//!
//! A list of a tenant or of the stack is spread over shards and, for deliveries, statuses. A page asks each of these
//! partitions for what stands behind the cursor, merges it, and lets the records confirm it: an index row is a candidate, for
//! an index is late and a delivery's status changes. The place of a delivery or event never changes, so the cursor is the
//! place of the last candidate, shown or not, together with the filter that it belongs to.
//!
//! A page reads a bounded number of rows whatever the table holds. Where little of what it looks at belongs on it, it looks
//! again, a number of times; then it is short, and says so. Only a page without a cursor is the last.

mod events;
mod filter;
mod page;
#[cfg(test)]
mod walk;
#[cfg(test)]
mod walk_events;

use pombo_domain::cursor::{from_cursor, to_cursor};
use pombo_domain::time::Timestamp;
use pombo_web::Problem;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub(crate) use self::events::{EventFilter, EventRequest};
pub(crate) use self::filter::{Filter, Request, Scope};
pub(crate) use self::page::Page;

/// Where a walk goes on. A cursor that came with other filters would skip or repeat, so it carries its own.
#[derive(Debug, Serialize, Deserialize)]
struct Cursor<F, P> {
    filter: F,
    after: P,
}

/// The cursor behind `after` in the list that `filter` makes.
pub(crate) fn cursor<F: Serialize, P: Serialize>(filter: &F, after: P) -> String {
    to_cursor(&Cursor { filter, after })
}

/// What a cursor stands behind, if it is of the list that `filter` makes.
pub(crate) fn read_cursor<F, P>(cursor: &str, filter: &F) -> Result<P, Problem>
where
    F: DeserializeOwned + PartialEq,
    P: DeserializeOwned,
{
    let read: Cursor<F, P> = from_cursor(cursor).map_err(|invalid| invalid.in_field("cursor"))?;
    if read.filter == *filter {
        Ok(read.after)
    } else {
        Err(Problem::invalid("cursor", "must be used with the filters of the page that it came with"))
    }
}

/// What the request's cursor stands behind, if it has one.
fn position<F, P>(request: &pombo_web::Request, filter: &F) -> Result<Option<P>, Problem>
where
    F: DeserializeOwned + PartialEq,
    P: DeserializeOwned,
{
    request.query_text("cursor").map(|cursor| read_cursor(cursor, filter)).transpose()
}

/// The time that a list is about: from the first, before the second.
fn range(request: &pombo_web::Request) -> Result<(Option<Timestamp>, Option<Timestamp>), Problem> {
    let (since, until) = (request.query("since")?, request.query("until")?);
    match (since, until) {
        (Some(since), Some(until)) if since >= until => Err(Problem::invalid("since", "must be before until")),
        range => Ok(range),
    }
}

/// How many rows to ask each of `shards` for, so that a look at `limit` of them is as good as always whole. The shards fill
/// evenly: of what a look takes, an equal part comes from each, more than twice that and eight practically never.
fn of_each(limit: usize, shards: u8) -> usize {
    limit.min(2 * limit / usize::from(shards) + 8)
}
