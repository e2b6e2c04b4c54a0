//! The requests that receivers make for what they missed: an item of its own beside each endpoint that made one lately.

use aws_sdk_dynamodb::Client;
use pombo_domain::ids::{EndpointId, EventId};
use pombo_domain::missed::{NotAdmitted, Requests};
use pombo_domain::time::Timestamp;

use crate::effect::effect;
use crate::error::AwsError;
use crate::item::{Item, text};
use crate::revised::{Replaced, replace};

/// Requests at one time get into each other's way. As many as there may be in ten minutes are let in one after the other.
const MOST_TRIES: usize = 20;

/// The requests, in the table of endpoints.
#[derive(Debug, Clone)]
pub struct MissedRequests {
    client: Client,
    table: String,
}

/// What became of a write, with what stands there if it was another's.
enum Written {
    Stored,
    Conflict(Requests),
}

impl MissedRequests {
    /// In the table of this name.
    #[must_use]
    pub const fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    /// Takes the request of this id, once, if the endpoint has not made too many. `writer` is unique to the call.
    pub async fn admit(
        &self,
        endpoint: &EndpointId,
        id: &EventId,
        writer: &str,
        now: Timestamp,
    ) -> Result<Result<(), NotAdmitted>, AwsError> {
        const CALL: &str = "dynamodb:PutItem Endpoints";
        let mut seen = self.get(endpoint).await?;
        for _ in 0..MOST_TRIES {
            let next = match seen.admit(id, now) {
                Ok(next) => next,
                Err(refusal) => return Ok(Err(refusal)),
            };
            match self.put(CALL, endpoint, &seen, next, writer).await? {
                Written::Stored => return Ok(Ok(())),
                Written::Conflict(standing) => seen = standing,
            }
        }
        Err(AwsError::unreadable(CALL, "the requests of the endpoint changed many times in a row"))
    }

    async fn get(&self, endpoint: &EndpointId) -> Result<Requests, AwsError> {
        const CALL: &str = "dynamodb:GetItem Endpoints";
        let key = text(Requests::key(endpoint));
        let request = self.client.get_item().table_name(&self.table).key("endpoint_id", key).consistent_read(true);
        let answer = effect(CALL, request.send()).await.map_err(|error| AwsError::new(CALL, error))?;
        answer.item.map_or_else(|| Ok(Requests::default()), |item| from_item(CALL, item))
    }

    async fn put(
        &self,
        call: &str,
        endpoint: &EndpointId,
        seen: &Requests,
        next: Requests,
        writer: &str,
    ) -> Result<Written, AwsError> {
        let next = Requests { rev: seen.rev + 1, writer: writer.to_owned(), ..next };
        let mut item: Item = serde_dynamo::to_item(&next).map_err(|error| AwsError::unreadable(call, error))?;
        item.insert("endpoint_id".into(), text(Requests::key(endpoint)));
        match replace(&self.client, call, &self.table, "endpoint_id", item, seen.rev).await? {
            Replaced::Stored => Ok(Written::Stored),
            // If there is no item, it has expired in between.
            Replaced::Conflict(standing) => {
                let standing = standing.map_or_else(|| Ok(Requests::default()), |item| from_item(call, item))?;
                Ok(Written::Conflict(standing))
            }
        }
    }
}

fn from_item(call: &str, item: Item) -> Result<Requests, AwsError> {
    serde_dynamo::from_item(item).map_err(|error| AwsError::unreadable(call, error))
}
