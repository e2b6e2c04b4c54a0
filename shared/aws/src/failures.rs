//! The write of a delivery that failed for good, counted for whoever subscribes to such news.

use std::time::Duration;

use pombo_domain::delivery::Record;
use pombo_domain::ids::base32;
use pombo_domain::operational::Failures;

use crate::clock;
use crate::deliveries::Put;
use crate::error::AwsError;
use crate::metrics::Metric;
use crate::protocol::Protocol;

/// How often a failure is counted anew because others were counted at the same time.
const MOST_CONFLICTS: u32 = 12;
/// The longest pause before the second time; doubled each time after, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(640);

impl Protocol {
    /// As [`DeliveriesTable::put`](crate::deliveries::DeliveriesTable::put), for a record that says `failed`.
    ///
    /// When somebody subscribes to `pombo.delivery.failed`, the same transaction counts the failure in the event of its
    /// endpoint and minute: no failure is left out and none is counted twice, whatever dies.
    pub async fn put_failed(&self, seen: Option<u64>, record: Record, writer: &str) -> Result<Put, AwsError> {
        let put = self.put_told(seen, record, writer).await?;
        if matches!(put, Put::Stored(_)) {
            self.metrics.count(Metric::DeliveriesFailed, 1);
        }
        Ok(put)
    }

    async fn put_told(&self, seen: Option<u64>, record: Record, writer: &str) -> Result<Put, AwsError> {
        let Some(fan_out) = self.operations.audience(&record.tenant, &Failures::event_type()).await? else {
            return self.deliveries.put(seen, record, writer).await;
        };
        let mut pause = FIRST_PAUSE;
        for _ in 0..MOST_CONFLICTS {
            let counted = self.operations.count(&record, fan_out.clone()).await?;
            let event = self.operations.write_counted(&counted)?;
            let token: [u8; 16] = clock::random()?;
            match self.deliveries.put_with(seen, record.clone(), writer, event, &base32(&token)).await? {
                Some(Put::Stored(record)) => {
                    self.operations.announce_counted(&counted).await;
                    return Ok(Put::Stored(record));
                }
                Some(conflict) => return Ok(conflict),
                None => {}
            }
            // Random, so that those who met once do not meet again.
            tokio::time::sleep(pause.mul_f64(f64::from(clock::random_bits()) / f64::from(u32::MAX))).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        Err(AwsError::contention("dynamodb:TransactWriteItems Deliveries", "the count of failures"))
    }
}
