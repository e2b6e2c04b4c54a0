//! The tests of endpoints that were ordered lately: an item of its own next to each endpoint that was tested.

use aws_sdk_dynamodb::Client;
use pombo_domain::ids::EndpointId;
use pombo_domain::test_limit::{Tests, TooManyTests};
use pombo_domain::time::Timestamp;

use crate::admission::{Admitted, Counter};
use crate::error::AwsError;

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

    /// Counts one more test of the endpoint, unless there were too many. `writer` is unique to the call.
    pub async fn admit(
        &self,
        endpoint: &EndpointId,
        writer: &str,
        now: Timestamp,
    ) -> Result<Admitted<TooManyTests>, AwsError> {
        let what = "the tests of the endpoint";
        let counter = Counter { client: &self.client, table: &self.table, key: Tests::key(endpoint), what };
        counter.admit(writer, |seen: &Tests| seen.admit(now)).await
    }
}
