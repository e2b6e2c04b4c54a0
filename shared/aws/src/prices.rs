//! List prices of AWS in us-east-1, on demand and without a free tier, in US dollars.
//!
//! Everything that states a price computes it from these prices: the dry run of a replay, and `docs/cost.md`, whose tables a
//! test compares. AWS's own price pages fill in their numbers by script, so most sources here are pages that quote them.
//! Compare the prices with your own bill or with AWS's calculator before you base a decision on them.

/// A price and its source.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Price {
    /// The service and what it counts.
    pub what: &'static str,
    /// Price of `units` units, in dollars.
    pub dollars: f64,
    /// Number of units that cost `dollars`.
    pub units: f64,
    /// The page that states the price.
    pub source: &'static str,
    /// The date of the source's prices: a year, a month or a day.
    pub date: &'static str,
}

impl Price {
    /// Price of one unit, in dollars.
    #[must_use]
    pub const fn each(&self) -> f64 {
        self.dollars / self.units
    }
}

macro_rules! prices {
    ($($(#[$doc:meta])* $name:ident = $dollars:literal / $units:literal $what:literal, $source:literal, $date:literal;)*) => {
        $(
            $(#[$doc])*
            pub const $name: Price =
                Price { what: $what, dollars: $dollars, units: $units, source: $source, date: $date };
        )*

        /// Every price.
        pub const ALL: &[Price] = &[$($name),*];
    };
}

prices! {
    /// A kilobyte of an item, or of its row in an index, that is written.
    WRITE_UNIT = 0.625 / 1e6 "DynamoDB on demand, write request units",
        "airbyte.com/data-engineering-resources/dynamodb-pricing", "2025-07";
    /// Four kilobytes that are read with strong consistency, or eight with eventual consistency.
    READ_UNIT = 0.125 / 1e6 "DynamoDB on demand, read request units",
        "airbyte.com/data-engineering-resources/dynamodb-pricing", "2025-07";
    /// A gigabyte of tables and indexes for a month.
    STORAGE = 0.25 / 1.0 "DynamoDB storage, GB-months", "aws.amazon.com/dynamodb/pricing", "2026-11-28";
    /// A gigabyte of tables, without indexes, that can be restored to any second, for a month.
    RECOVERY = 0.20 / 1.0 "DynamoDB point-in-time recovery, GB-months", "commonly quoted; not confirmed on a page", "2026-11-28";
    /// An API call with a payload of at most 64 KiB; each further 64 KiB counts as another call.
    QUEUE_REQUEST = 0.40 / 1e6 "SQS standard queue, requests of 64 KiB", "cloudburn.io/blog/amazon-sqs-pricing", "2026-03";
    /// Surcharge for a request whose messages have a group, so that a busy tenant does not delay the others (a fair queue).
    GROUPED_REQUEST = 0.10 / 1e6 "SQS fair queue, surcharge for requests", "cloudburn.io/blog/amazon-sqs-pricing", "2026-03";
    /// An invocation of a function.
    LAMBDA_REQUEST = 0.20 / 1e6 "Lambda, requests", "git.mcrn.ar/mariano/lambda_local_runner, lambda-13-cost.md", "2026-05";
    /// A gigabyte of memory for a second, on arm64.
    LAMBDA_GB_SECOND = 0.000_013_333_4 / 1.0 "Lambda on arm64, GB-seconds", "git.mcrn.ar/mariano/lambda_local_runner, lambda-13-cost.md", "2026-05";
    /// A schedule that fires. Making or deleting a schedule costs nothing.
    SCHEDULE = 1.00 / 1e6 "EventBridge Scheduler, invocations", "cloudburn.io/blog/amazon-eventbridge-pricing", "2026-03";
    /// A gigabyte that is written to a log group.
    LOG_INGESTION = 0.50 / 1.0 "CloudWatch Logs, GB ingested", "cloudburn.io/blog/amazon-cloudwatch-pricing", "2026-02";
    /// A gigabyte in a log group, as it is compressed there, for a month.
    LOG_STORAGE = 0.03 / 1.0 "CloudWatch Logs, GB-months (compressed)", "cloudburn.io/blog/amazon-cloudwatch-pricing", "2026-02";
    /// A metric of Pombo's own for a month. A metric is paid for by the hour, and only in hours in which it is written.
    METRIC = 0.30 / 1.0 "CloudWatch custom metrics, months", "signoz.io/guides/cloudwatch-pricing", "2026-02";
    /// An alarm on one metric for a month.
    ALARM = 0.10 / 1.0 "CloudWatch alarms, months", "cloudburn.io/blog/amazon-cloudwatch-pricing", "2026-02";
    /// A dashboard for a month.
    DASHBOARD = 3.00 / 1.0 "CloudWatch dashboards, months",
        "factualminds.com/blog/amazon-cloudwatch-pricing-metrics-logs-alarms-dashboards", "2026-06";
    /// A gigabyte that leaves AWS for the Internet, in the first 10 TB of a month.
    TRANSFER_OUT = 0.09 / 1.0 "Data transfer to the Internet, GB", "unanswered.io/guide/aws-sqs-pricing-and-cost-optimization", "2026";
    /// A call of KMS.
    KMS_REQUEST = 0.03 / 1e4 "KMS, requests", "commonly quoted; not confirmed on a page", "2026-11-28";
    /// A customer managed key for a month.
    KMS_KEY = 1.00 / 1.0 "KMS, keys for a month", "commonly quoted; not confirmed on a page", "2026-11-28";
    /// A custom event on an event bus.
    BUS_EVENT = 1.00 / 1e6 "EventBridge, custom events of 64 KB", "cloudburn.io/blog/amazon-eventbridge-pricing", "2026-03";
    /// A call of an API destination.
    API_DESTINATION = 0.20 / 1e6 "EventBridge API destinations, invocations", "cloudburn.io/blog/amazon-eventbridge-pricing", "2026-03";
    /// A small instance for an hour.
    INSTANCE_HOUR = 0.0168 / 1.0 "EC2 t4g.small (2 GB), hours", "commonly quoted; not confirmed on a page", "2026-11-28";
    /// A small database for an hour, in one zone.
    DATABASE_HOUR = 0.065 / 1.0 "RDS for PostgreSQL db.t4g.medium (4 GB, one zone), hours",
        "infratally.com/articles/aws-rds-pricing-explained-2026.html", "2026";
    /// A gigabyte of a database's disk for a month.
    DATABASE_STORAGE = 0.115 / 1.0 "RDS storage gp3, GB-months",
        "usage.ai/blogs/aws/reserved-instances/rds/pricing-calculator", "2026-06";
    /// A small cache for an hour.
    CACHE_HOUR = 0.032 / 1.0 "ElastiCache for Redis cache.t4g.small (1.4 GB), hours", "commonly quoted; not confirmed on a page", "2026-11-28";
    /// A load balancer for an hour, without its capacity units.
    BALANCER_HOUR = 0.0225 / 1.0 "Application Load Balancer, hours", "commonly quoted; not confirmed on a page", "2026-11-28";
}

/// Numbers that no price list has, such as how much of Lambda an event takes. These are assumptions, made for functions of
/// [`MEMORY_GB`](assumed::MEMORY_GB) and a receiver that answers within 150 ms. Nobody has measured them in AWS.
pub mod assumed {
    /// Memory of each function, the template's default.
    pub const MEMORY_GB: f64 = 0.25;
    /// How long ingest takes for a post of one event.
    pub const INGEST_SECONDS: f64 = 0.030;
    /// How long dispatch takes for one delivery, with a new TLS connection.
    pub const DISPATCH_SECONDS: f64 = 0.200;
    /// How long dispatch takes for ten deliveries, which it sends at the same time.
    pub const FULL_DISPATCH_SECONDS: f64 = 0.250;
    /// Deliveries in a full batch, the template's `BatchSize`.
    pub const FULL_BATCH: f64 = 10.0;
    /// How long a sweep takes that finds nothing.
    pub const SWEEP_SECONDS: f64 = 0.500;
    /// How long a poll of an empty queue waits.
    pub const POLL_SECONDS: f64 = 20.0;
    /// Number of polls of an empty queue that Lambda makes at the same time, if no maximum concurrency is set.
    pub const POLLERS: f64 = 2.0;
    /// Bytes that CloudWatch Logs adds to each line.
    pub const LOG_LINE_BYTES: f64 = 26.0;
    /// Bytes that DynamoDB adds to each stored item and to each row of an index.
    pub const STORED_ITEM_BYTES: f64 = 100.0;
    /// Number of endpoints that a busy process of dispatch sends to.
    pub const ENDPOINTS_PER_PROCESS: f64 = 10.0;
    /// Hours in a month.
    pub const MONTH_HOURS: f64 = 730.0;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_price_has_a_source_and_a_date_and_is_of_something_else() {
        for price in ALL {
            assert!(price.dollars > 0.0 && price.units >= 1.0, "{price:?}");
            assert!(!price.source.is_empty() && price.date.starts_with("202"), "{price:?}");
            assert_eq!(ALL.iter().filter(|other| other.what == price.what).count(), 1, "{price:?}");
        }
    }

    #[test]
    fn one_of_a_million_costs_a_millionth() {
        assert!((WRITE_UNIT.each() * 1e6 - 0.625).abs() < 1e-12);
        assert!((ALARM.each() - 0.1).abs() < 1e-12);
    }
}
