//! Lists of deliveries, newest first, in pages that neither skip nor repeat.
//!
//! A list of a tenant or of the stack is spread over shards and statuses. A page asks each of these partitions for the
//! keys behind the cursor, merges them, and lets the records confirm them: an index row is a candidate, for an index is
//! late and a delivery's status changes. The position of a delivery never changes, so the cursor is the position of the
//! last candidate, shown or not, together with the filter that it belongs to.
//!
//! A page reads a bounded number of keys whatever the table holds, and is seldom short; only a page without a cursor is
//! the last.

mod filter;
mod merge;
#[cfg(test)]
mod walk;

pub(crate) use self::filter::{Request, Scope};
pub(crate) use self::merge::{Part, merge};
