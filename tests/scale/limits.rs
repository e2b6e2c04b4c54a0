//! The limits of AWS that the simulation knows: the default quotas of us-east-1, each with the page that states it.

/// A documented limit.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// The service, and the thing that is limited.
    pub what: &'static str,
    /// The limit.
    pub value: f64,
    /// The title of the page of AWS that says so.
    pub source: &'static str,
}

macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident = $value:literal, $what:literal, $source:literal;)*) => {
        $($(#[$doc])* pub const $name: f64 = $value;)*

        /// Every limit.
        pub const ALL: &[Limit] = &[$(Limit { what: $what, value: $value, source: $source }),*];
    };
}

limits! {
    /// Further receives get nothing while this number of messages is neither deleted nor visible again.
    QUEUE_IN_FLIGHT = 120_000.0, "SQS: messages in flight, per standard queue", "Amazon SQS standard queue quotas";
    /// A group with a larger share of the messages in flight is noisy, if it also has [`NOISY_IN_FLIGHT`] messages there.
    NOISY_SHARE = 0.10, "SQS: share of the messages in flight, or of the processing time, above which a group is noisy", "How Amazon SQS fair queues work";
    /// A group with fewer messages in flight is not noisy by their share.
    NOISY_IN_FLIGHT = 30.0, "SQS: messages in flight from which a group can be noisy by their share", "How Amazon SQS fair queues work";
    /// Batches that the mapping of a queue has under way at first.
    POLLERS_AT_FIRST = 5.0, "Lambda: batches of a queue under way at first", "Configuring scaling behavior for SQS event source mappings";
    /// How many batches come to these each minute, while messages wait.
    POLLERS_A_MINUTE = 300.0, "Lambda: further batches of a queue, each minute", "Configuring scaling behavior for SQS event source mappings";
    /// The most batches of one mapping.
    POLLERS_AT_MOST = 1_250.0, "Lambda: batches of a queue at most", "Configuring scaling behavior for SQS event source mappings";
    /// Invocations at one time, in an account.
    CONCURRENCY = 1_000.0, "Lambda: concurrent invocations of an account (new accounts have less)", "Lambda quotas";
    /// Requests a second, for each unit of the account's concurrency.
    REQUESTS_PER_CONCURRENCY = 10.0, "Lambda: requests a second, for each concurrent invocation that is allowed", "Understanding Lambda function scaling";
    /// Write units a second of one partition key, of a table or an index.
    KEY_WRITES = 1_000.0, "DynamoDB: write units a second, per partition", "Best practices for designing and using partition keys effectively in DynamoDB";
    /// Read units a second of one partition key.
    KEY_READS = 3_000.0, "DynamoDB: read units a second, per partition", "Best practices for designing and using partition keys effectively in DynamoDB";
    /// Write units a second of a table on demand.
    TABLE_WRITES = 40_000.0, "DynamoDB: write units a second, per table on demand", "Quotas in Amazon DynamoDB";
    /// Calls a second that make a schedule.
    SCHEDULE_CREATES = 5_000.0, "EventBridge Scheduler: schedules made a second", "Quotas for Amazon EventBridge Scheduler";
    /// Schedules that fire, a second.
    SCHEDULE_INVOCATIONS = 1_000.0, "EventBridge Scheduler: schedules fired a second", "Quotas for Amazon EventBridge Scheduler";
    /// A schedule fires within the minute that follows its time.
    SCHEDULE_PRECISION_SECONDS = 60.0, "EventBridge Scheduler: seconds by which a schedule may be late", "Schedule types in EventBridge Scheduler";
    /// Tries of a call in the SDK's standard mode.
    SDK_TRIES = 3.0, "AWS SDK: tries of a call", "Retry behavior (AWS SDKs and Tools Reference Guide)";
}
