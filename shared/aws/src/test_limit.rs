//! The tests of endpoints that were ordered lately: an item of its own next to each endpoint that was tested.

use aws_sdk_dynamodb::Client;
use pombo_domain::ids::EndpointId;
use pombo_domain::test_limit::{Tests, TooManyTests};
use pombo_domain::time::Timestamp;

use crate::effect::effect;
use crate::error::AwsError;
use crate::item::{Item, text};
use crate::revised::{Replaced, replace};

/// How often a write is decided again because another was faster. Each time one of the few tests of a minute was admitted.
const MAX_TRIES: usize = 20;

/// The tests, in the table of endpoints.
#[derive(Debug, Clone)]
pub struct TestLimits {
    client: Client,
    table: String,
}

impl TestLimits {
    /// In the table of this name.
    #[must_use]
    pub const fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    /// Takes the place of one test of the endpoint, if there was not too many of them. `writer` is unique to the call.
    pub async fn admit(
        &self,
        endpoint: &EndpointId,
        writer: &str,
        now: Timestamp,
    ) -> Result<Result<(), TooManyTests>, AwsError> {
        const CALL: &str = "dynamodb:PutItem Endpoints";
        let mut seen = self.get(endpoint).await?;
        for _ in 0..MAX_TRIES {
            let next = match seen.admit(now) {
                Ok(next) => Tests { rev: seen.rev + 1, writer: writer.to_owned(), ..next },
                Err(refusal) => return Ok(Err(refusal)),
            };
            let mut item: Item = serde_dynamo::to_item(&next).map_err(|error| AwsError::unreadable(CALL, error))?;
            item.insert("endpoint_id".into(), text(Tests::key(endpoint)));
            match replace(&self.client, CALL, &self.table, "endpoint_id", item, seen.rev).await? {
                Replaced::Stored => return Ok(Ok(())),
                Replaced::Conflict(standing) => seen = from_item(CALL, standing)?,
            }
        }
        Err(AwsError::unreadable(CALL, "the tests of the endpoint changed many times in a row"))
    }

    async fn get(&self, endpoint: &EndpointId) -> Result<Tests, AwsError> {
        const CALL: &str = "dynamodb:GetItem Endpoints";
        let key = text(Tests::key(endpoint));
        let request = self.client.get_item().table_name(&self.table).key("endpoint_id", key).consistent_read(true);
        let answer = effect(CALL, request.send()).await.map_err(|error| AwsError::new(CALL, error))?;
        from_item(CALL, answer.item)
    }
}

/// The stored tests; none if the endpoint was not tested in the last minute.
fn from_item(call: &str, item: Option<Item>) -> Result<Tests, AwsError> {
    let read = |item| serde_dynamo::from_item(item).map_err(|error| AwsError::unreadable(call, error));
    item.map_or_else(|| Ok(Tests::default()), read)
}
