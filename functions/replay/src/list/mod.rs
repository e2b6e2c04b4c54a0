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

use pombo_domain::time::Timestamp;
use pombo_web::Problem;

pub(crate) use self::events::{EventFilter, EventRequest};
pub(crate) use self::filter::{Filter, Request, Scope};
pub(crate) use self::page::Page;

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
