//! An SQS queue.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{QueueAttributeName, SendMessageBatchRequestEntry};
use pombo_domain::ids::EndpointId;

use crate::error::AwsError;

/// The most messages in one batch.
pub const LARGEST_BATCH: usize = 10;

/// A queue.
#[derive(Debug, Clone)]
pub struct Queue {
    client: Client,
    url: String,
}

/// A message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Its text.
    pub body: String,
    /// The fair queue's group: the endpoint, where the message is about one.
    pub group: Option<EndpointId>,
    /// Seconds before it can be received, 0 to 900.
    pub delay_seconds: u32,
}

/// Why an entry of a batch was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The entry's place in the batch.
    pub index: usize,
    /// Whether the entry itself is at fault: sent again as it is, it will be refused again.
    pub senders_fault: bool,
    /// The service's error code.
    pub code: String,
}

/// A message received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// Its text.
    pub body: String,
    /// What deletes it.
    pub receipt: String,
}

impl Queue {
    /// At this URL.
    #[must_use]
    pub const fn new(client: Client, url: String) -> Self {
        Self { client, url }
    }

    /// Sends one message.
    pub async fn send(&self, message: Outgoing) -> Result<(), AwsError> {
        let request = self
            .client
            .send_message()
            .queue_url(&self.url)
            .message_body(message.body)
            .set_message_group_id(message.group.map(|group| group.to_string()))
            .set_delay_seconds(delay(message.delay_seconds));
        request.send().await.map(|_| ()).map_err(|error| AwsError::new("sqs:SendMessage", error))
    }

    /// Sends at most [`LARGEST_BATCH`] messages in one call; gives the entries that were refused.
    pub async fn send_batch(&self, messages: &[Outgoing]) -> Result<Vec<Refused>, AwsError> {
        const CALL: &str = "sqs:SendMessageBatch";
        let mut request = self.client.send_message_batch().queue_url(&self.url);
        for (index, message) in messages.iter().enumerate() {
            let entry = SendMessageBatchRequestEntry::builder()
                .id(index.to_string())
                .message_body(&message.body)
                .set_message_group_id(message.group.as_ref().map(ToString::to_string))
                .set_delay_seconds(delay(message.delay_seconds))
                .build()
                .map_err(|error| AwsError::unreadable(CALL, error))?;
            request = request.entries(entry);
        }
        let answer = request.send().await.map_err(|error| AwsError::new(CALL, error))?;
        let refused = answer.failed.into_iter().filter_map(|entry| {
            let index = entry.id.parse().ok()?;
            Some(Refused { index, senders_fault: entry.sender_fault, code: entry.code })
        });
        Ok(refused.collect())
    }

    /// Takes at most ten messages, hidden from others for `hidden_seconds`. Waits a second for one: a receive that does
    /// not wait asks only some of the queue's servers, and may find nothing where there is something.
    pub async fn receive(&self, hidden_seconds: u32) -> Result<Vec<Incoming>, AwsError> {
        let request = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(10)
            .wait_time_seconds(1)
            .visibility_timeout(i32::try_from(hidden_seconds).unwrap_or(i32::MAX));
        let answer = request.send().await.map_err(|error| AwsError::new("sqs:ReceiveMessage", error))?;
        let incoming = answer.messages.unwrap_or_default().into_iter().filter_map(|message| {
            Some(Incoming { body: message.body.unwrap_or_default(), receipt: message.receipt_handle? })
        });
        Ok(incoming.collect())
    }

    /// Deletes a message that was received.
    pub async fn delete(&self, message: &Incoming) -> Result<(), AwsError> {
        let request = self.client.delete_message().queue_url(&self.url).receipt_handle(&message.receipt);
        request.send().await.map(|_| ()).map_err(|error| AwsError::new("sqs:DeleteMessage", error))
    }

    /// About how many messages wait to be received.
    pub async fn length(&self) -> Result<u64, AwsError> {
        let name = QueueAttributeName::ApproximateNumberOfMessages;
        let request = self.client.get_queue_attributes().queue_url(&self.url).attribute_names(name.clone());
        let answer = request.send().await.map_err(|error| AwsError::new("sqs:GetQueueAttributes", error))?;
        let length = answer.attributes.and_then(|attributes| attributes.get(&name)?.parse().ok());
        Ok(length.unwrap_or_default())
    }
}

fn delay(seconds: u32) -> Option<i32> {
    i32::try_from(seconds).ok().filter(|seconds| *seconds > 0)
}
