//! An SQS queue.

use std::sync::OnceLock;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::operation::send_message_batch::SendMessageBatchOutput;
use aws_sdk_sqs::operation::send_message_batch::builders::SendMessageBatchInputBuilder;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, Message, MessageSystemAttributeName, QueueAttributeName,
    SendMessageBatchRequestEntry,
};
use pombo_domain::ids::EndpointId;
use pombo_domain::time::Timestamp;

use crate::effect::{call, effect};
use crate::error::AwsError;

/// The most messages in one batch.
pub const LARGEST_BATCH: usize = 10;

const SEND_BATCH: &str = "sqs:SendMessageBatch";

const SENT: MessageSystemAttributeName = MessageSystemAttributeName::SentTimestamp;
const RECEIVED: MessageSystemAttributeName = MessageSystemAttributeName::ApproximateReceiveCount;

/// A queue.
#[derive(Debug, Clone)]
pub struct Queue {
    client: Client,
    /// The same client without the SDK's retries, made when it is first needed.
    once: OnceLock<Client>,
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

/// The result of sending a batch in one call that the SDK did not repeat.
#[derive(Debug)]
pub enum SentOnce {
    /// SQS answered: the batch is queued, except for these entries.
    Answered(Vec<Refused>),
    /// Nothing of the batch is queued: SQS refused the call, or the call was never sent.
    Refused(AwsError),
    /// The batch may be queued: the answer did not come, or says that SQS failed.
    Lost(AwsError),
}

/// A message received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// Its id.
    pub id: String,
    /// Its text.
    pub body: String,
    /// What deletes it.
    pub receipt: String,
    /// When it was sent.
    pub sent_at: Option<Timestamp>,
    /// How often it was received, this time included.
    pub received: u32,
}

impl Queue {
    /// At this URL.
    #[must_use]
    pub const fn new(client: Client, url: String) -> Self {
        Self { client, once: OnceLock::new(), url }
    }

    /// Sends one message.
    pub async fn send(&self, message: Outgoing) -> Result<(), AwsError> {
        const CALL: &str = "sqs:SendMessage";
        let request = self
            .client
            .send_message()
            .queue_url(&self.url)
            .message_body(message.body)
            .set_message_group_id(message.group.map(|group| group.to_string()))
            .set_delay_seconds(delay(message.delay_seconds));
        call(CALL, request.send()).await.map(|_| ())
    }

    /// Sends at most [`LARGEST_BATCH`] messages in one call; gives the entries that were refused.
    pub async fn send_batch(&self, messages: impl IntoIterator<Item = &Outgoing>) -> Result<Vec<Refused>, AwsError> {
        let batch = self.batch(messages)?;
        call(SEND_BATCH, batch.send_with(&self.client)).await.map(refused_entries)
    }

    /// Sends at most [`LARGEST_BATCH`] messages in one call that the SDK does not repeat. If the call fails, the result says
    /// whether the messages may be queued.
    pub async fn send_batch_once(&self, messages: impl IntoIterator<Item = &Outgoing>) -> SentOnce {
        let once = self.once.get_or_init(|| {
            let config = self.client.config().to_builder().retry_config(RetryConfig::disabled());
            Client::from_conf(config.build())
        });
        let batch = match self.batch(messages) {
            Ok(batch) => batch,
            Err(error) => return SentOnce::Refused(error),
        };
        match effect(SEND_BATCH, batch.send_with(once)).await {
            Ok(answer) => SentOnce::Answered(refused_entries(answer)),
            Err(error) => {
                let error = AwsError::new(SEND_BATCH, error);
                if error.may_have_happened() { SentOnce::Lost(error) } else { SentOnce::Refused(error) }
            }
        }
    }

    fn batch<'a>(
        &self,
        messages: impl IntoIterator<Item = &'a Outgoing>,
    ) -> Result<SendMessageBatchInputBuilder, AwsError> {
        let mut request = SendMessageBatchInputBuilder::default().queue_url(&self.url);
        for (index, message) in messages.into_iter().enumerate() {
            let entry = SendMessageBatchRequestEntry::builder()
                .id(index.to_string())
                .message_body(&message.body)
                .set_message_group_id(message.group.as_ref().map(ToString::to_string))
                .set_delay_seconds(delay(message.delay_seconds))
                .build()
                .map_err(|error| AwsError::unreadable(SEND_BATCH, error))?;
            request = request.entries(entry);
        }
        Ok(request)
    }

    /// Takes at most ten messages, hidden from others for `hidden_seconds`. Waits a second for one: a receive that does
    /// not wait asks only some of the queue's servers, and may find nothing where there is something.
    pub async fn receive(&self, hidden_seconds: u32) -> Result<Vec<Incoming>, AwsError> {
        const CALL: &str = "sqs:ReceiveMessage";
        let request = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(10)
            .wait_time_seconds(1)
            .visibility_timeout(i32::try_from(hidden_seconds).unwrap_or(i32::MAX))
            .message_system_attribute_names(SENT)
            .message_system_attribute_names(RECEIVED);
        let answer = call(CALL, request.send()).await?;
        Ok(answer.messages.unwrap_or_default().into_iter().filter_map(incoming).collect())
    }

    /// Lets others see messages again that were received, at most ten. One that cannot be seen again now is, when its time
    /// has passed.
    pub async fn put_back(&self, messages: &[Incoming]) -> Result<(), AwsError> {
        const CALL: &str = "sqs:ChangeMessageVisibility";
        let mut request = self.client.change_message_visibility_batch().queue_url(&self.url);
        for (index, message) in messages.iter().enumerate() {
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder()
                .id(index.to_string())
                .receipt_handle(&message.receipt)
                .visibility_timeout(0)
                .build()
                .map_err(|error| AwsError::unreadable(CALL, error))?;
            request = request.entries(entry);
        }
        call(CALL, request.send()).await.map(|_| ())
    }

    /// Deletes a message that was received.
    pub async fn delete(&self, message: &Incoming) -> Result<(), AwsError> {
        const CALL: &str = "sqs:DeleteMessage";
        let request = self.client.delete_message().queue_url(&self.url).receipt_handle(&message.receipt);
        call(CALL, request.send()).await.map(|_| ())
    }

    /// About how many messages wait to be received.
    pub async fn length(&self) -> Result<u64, AwsError> {
        self.count(&[QueueAttributeName::ApproximateNumberOfMessages]).await
    }

    /// About how many messages there are, those included that are hidden because somebody received them.
    pub async fn whole_length(&self) -> Result<u64, AwsError> {
        use QueueAttributeName::{ApproximateNumberOfMessages, ApproximateNumberOfMessagesNotVisible};
        self.count(&[ApproximateNumberOfMessages, ApproximateNumberOfMessagesNotVisible]).await
    }

    async fn count(&self, names: &[QueueAttributeName]) -> Result<u64, AwsError> {
        const CALL: &str = "sqs:GetQueueAttributes";
        let request = self.client.get_queue_attributes().queue_url(&self.url).set_attribute_names(Some(names.to_vec()));
        let answer = call(CALL, request.send()).await?;
        let counts = answer.attributes.unwrap_or_default();
        Ok(names.iter().filter_map(|name| counts.get(name)?.parse::<u64>().ok()).sum())
    }
}

fn refused_entries(answer: SendMessageBatchOutput) -> Vec<Refused> {
    let refused = answer.failed.into_iter().filter_map(|entry| {
        let index = entry.id.parse().ok()?;
        Some(Refused { index, senders_fault: entry.sender_fault, code: entry.code })
    });
    refused.collect()
}

fn incoming(message: Message) -> Option<Incoming> {
    let attributes = message.attributes.unwrap_or_default();
    let number = |name| attributes.get(&name)?.parse::<i64>().ok();
    Some(Incoming {
        id: message.message_id.unwrap_or_default(),
        body: message.body.unwrap_or_default(),
        receipt: message.receipt_handle?,
        sent_at: number(SENT).map(Timestamp::from_millis),
        received: number(RECEIVED).and_then(|times| u32::try_from(times).ok()).unwrap_or_default(),
    })
}

fn delay(seconds: u32) -> Option<i32> {
    i32::try_from(seconds).ok().filter(|seconds| *seconds > 0)
}
