//! Limits that are kept in an item of their own. A request is admitted if the stored item has room for it.

use aws_sdk_dynamodb::Client;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::effect::call;
use crate::error::AwsError;
use crate::item::{Item, Reader, decode, encode, number, text};
use crate::versioned::{Replacement, Written, next_rev};

/// Maximum number of times that a request is decided, each time because another request was faster. The faster request was
/// admitted, and no limit admits this many requests in the time that a call may take.
const MAX_TRIES: usize = 20;

const GET: &str = "dynamodb:GetItem Endpoints";
const PUT: &str = "dynamodb:PutItem Endpoints";

/// The answer to a request that a limit may refuse, for the reason `R`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admitted<R> {
    /// The request is admitted, and counted.
    Yes,
    /// The request is refused.
    No(R),
}

/// An item in the table of endpoints that counts requests.
#[derive(Debug)]
pub(crate) struct Counter<'a> {
    pub(crate) client: &'a Client,
    pub(crate) table: &'a str,
    pub(crate) key: String,
    /// Names the requests in the error for a call that others overtook each time.
    pub(crate) what: &'static str,
}

impl Counter<'_> {
    /// Decides on the stored item, or on the default value if there is none. `writer` is unique to the call.
    pub(crate) async fn admit<T, R>(
        &self,
        writer: &str,
        decide: impl Fn(&T) -> Result<T, R>,
    ) -> Result<Admitted<R>, AwsError>
    where
        T: Serialize + DeserializeOwned + Default,
    {
        let request = self.client.get_item().table_name(self.table).key("endpoint_id", text(&self.key));
        let mut standing = call(GET, request.consistent_read(true).send()).await?.item;
        for _ in 0..MAX_TRIES {
            let seen = standing.as_ref().map(rev).transpose()?;
            let next = match decide(&standing.map_or_else(|| Ok(T::default()), |item| decode(GET, item))?) {
                Ok(next) => next,
                Err(refusal) => return Ok(Admitted::No(refusal)),
            };
            let mut item = encode(PUT, &next)?;
            item.extend([
                ("endpoint_id".to_owned(), text(&self.key)),
                ("rev".to_owned(), number(next_rev(seen))),
                ("writer".to_owned(), text(writer)),
            ]);
            match Replacement::new(item, "endpoint_id", seen).put(self.client, PUT, self.table).await? {
                Written::Stored => return Ok(Admitted::Yes),
                // If there is no item now, it has expired in between.
                Written::Conflict(now) => standing = now,
            }
        }
        Err(AwsError::contention(PUT, self.what))
    }
}

fn rev(item: &Item) -> Result<u64, AwsError> {
    let rev = item.get("rev").cloned().map(|rev| ("rev".to_owned(), rev));
    Reader(rev.into_iter().collect()).take("rev").map_err(|error| AwsError::unreadable(GET, error))
}
