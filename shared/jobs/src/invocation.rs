//! One invocation and its time.

use std::time::Duration;

use lambda_runtime::Context;
use pombo_aws::clock;
use pombo_domain::time::Timestamp;

/// What is not done so long before the invocation is ended is given up: there must be time left to say so. Of a short
/// invocation, a quarter.
const ANSWER_BEFORE_END: Duration = Duration::from_secs(3);

/// One invocation of the function.
#[derive(Debug, Clone)]
pub struct Invocation {
    request_id: String,
    answer_by: Timestamp,
}

impl Invocation {
    /// From what Lambda says of it.
    pub fn new(context: &Context) -> Self {
        let ends_at = Timestamp::from_millis(i64::try_from(context.deadline).unwrap_or(i64::MAX));
        Self { request_id: context.request_id.clone(), answer_by: answer_by(clock::now(), ends_at) }
    }

    /// Who writes for a request: unique, so that a condition which fails on our own write is known for a success.
    pub fn writer(&self) -> &str {
        &self.request_id
    }

    /// Who writes for a message of a batch.
    pub fn writer_for(&self, message_id: &str) -> String {
        format!("{}/{message_id}", self.request_id)
    }

    /// How long until the answer has to go out.
    pub fn until_answer(&self) -> Duration {
        clock::now().until(self.answer_by)
    }
}

fn answer_by(begins_at: Timestamp, ends_at: Timestamp) -> Timestamp {
    ends_at.minus(ANSWER_BEFORE_END.min(begins_at.until(ends_at) / 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_left_for_the_answer_and_most_of_it_for_the_work() {
        let at = Timestamp::from_seconds;
        assert_eq!(answer_by(at(100), at(160)), at(157));
        assert_eq!(answer_by(at(100), at(104)), at(103));
    }
}
