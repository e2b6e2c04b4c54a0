//! The requests that receivers make for what they missed. Each endpoint that made a request lately has an item of its own for
//! them.

use aws_sdk_dynamodb::Client;
use pombo_domain::ids::{EndpointId, EventId};
use pombo_domain::missed::{NotAdmitted, Requests};
use pombo_domain::time::Timestamp;

use crate::admission::{Admitted, Counter};
use crate::error::AwsError;

/// The requests, in the table of endpoints.
#[derive(Debug, Clone)]
pub struct MissedRequests {
    client: Client,
    table: String,
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
    ) -> Result<Admitted<NotAdmitted>, AwsError> {
        let what = "the requests of the endpoint";
        let counter = Counter { client: &self.client, table: &self.table, key: Requests::key(endpoint), what };
        counter.admit(writer, |seen: &Requests| seen.admit(id, now)).await
    }
}
