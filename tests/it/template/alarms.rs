//! The alarms: that each watches a metric which exists, and that whatever can stop has one.
//!
//! That Pombo's own metrics are written under the names that the alarms use, `tests/it/metrics.rs` shows.

use std::collections::{BTreeMap, BTreeSet};

use pombo_aws::metrics::{DIMENSION, Metric, NAMESPACE};
use pombo_domain::retry::LONGEST_QUEUE_DELAY;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::{FUNCTIONS, Template};
use pombo_tests::scenario;

pub(super) const SQS: &str =
    "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html";
pub(super) const LAMBDA: &str = "https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html";
pub(super) const URLS: &str = "https://docs.aws.amazon.com/lambda/latest/dg/urls-monitoring.html";
pub(super) const DYNAMODB: &str =
    "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/metrics-dimensions.html";
pub(super) const SCHEDULER: &str = "https://docs.aws.amazon.com/scheduler/latest/UserGuide/monitoring-cloudwatch.html";

/// A metric as its service documents it: the namespace, the name, the dimensions, the statistic that means something here,
/// and the page.
pub(super) type Documented = (&'static str, &'static str, &'static [&'static str], &'static str, &'static str);

/// The metrics that have alarms.
pub(super) const DOCUMENTED: [Documented; 11] = [
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible", &["QueueName"], "Maximum", SQS),
    ("AWS/SQS", "ApproximateAgeOfOldestMessage", &["QueueName"], "Maximum", SQS),
    ("AWS/Lambda", "Errors", &["FunctionName"], "Sum", LAMBDA),
    ("AWS/Lambda", "Throttles", &["FunctionName"], "Sum", LAMBDA),
    ("AWS/Lambda", "Url5xxCount", &["FunctionName"], "Sum", URLS),
    ("AWS/DynamoDB", "ReadThrottleEvents", &["TableName"], "Sum", DYNAMODB),
    ("AWS/DynamoDB", "WriteThrottleEvents", &["TableName"], "Sum", DYNAMODB),
    ("AWS/DynamoDB", "WriteThrottleEvents", &["GlobalSecondaryIndexName", "TableName"], "Sum", DYNAMODB),
    ("AWS/Scheduler", "InvocationDroppedCount", &["ScheduleGroup"], "Sum", SCHEDULER),
    ("AWS/Scheduler", "TargetErrorCount", &["ScheduleGroup"], "Sum", SCHEDULER),
    ("AWS/Scheduler", "InvocationThrottleCount", &["ScheduleGroup"], "Sum", SCHEDULER),
];

/// Pombo's metrics that have no alarm. Dead letters have an alarm on their queue. A first attempt that is made twice is rare,
/// and SQS causes it. Receivers cause the others, and these are normal.
const ONLY_COUNTED: [Metric; 5] = [
    Metric::FirstAttemptsRepeated,
    Metric::DeadLettersTaken,
    Metric::DeliveriesFailed,
    Metric::CircuitsOpened,
    Metric::EndpointsPaused,
];

/// What an alarm or a dashboard looks at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Watched {
    pub(super) namespace: String,
    pub(super) metric: String,
    /// The name and the value of each; a value as the name of the resource that it is of.
    pub(super) dimensions: BTreeMap<String, String>,
}

impl Watched {
    pub(super) fn new(namespace: &str, metric: &str, dimensions: &[(&str, &str)]) -> Self {
        let dimensions = dimensions.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { namespace: namespace.to_owned(), metric: metric.to_owned(), dimensions }
    }
}

/// The template with its alarms.
pub(super) struct Alarms(Template);

impl std::ops::Deref for Alarms {
    type Target = Template;

    fn deref(&self) -> &Template {
        &self.0
    }
}

impl Alarms {
    async fn with(email: &'static str) -> Self {
        Self(Template::with(&[("AlarmEmail", email)]).await)
    }

    /// With somebody to tell.
    pub(super) async fn told() -> &'static Self {
        static TOLD: OnceCell<Alarms> = OnceCell::const_new();
        TOLD.get_or_init(|| Self::with("ops@example.com")).await
    }

    fn alarms(&self) -> BTreeSet<&str> {
        let alarms = self.names("AWS::CloudWatch::Alarm");
        assert!(!alarms.is_empty());
        alarms
    }

    /// The metric of an alarm.
    fn watched(&self, alarm: &str) -> Watched {
        let properties = self.properties(alarm);
        let dimensions = properties["Dimensions"].as_array().unwrap().iter();
        let dimensions = dimensions.map(|named| (self.text(&named["Name"]), self.text(&named["Value"]))).collect();
        let [namespace, metric] = ["Namespace", "MetricName"].map(|name| self.text(&properties[name]));
        Watched { namespace, metric, dimensions }
    }

    /// Every metric that has an alarm.
    pub(super) fn all_watched(&self) -> BTreeSet<Watched> {
        let alarms = self.alarms();
        let watched: BTreeSet<_> = alarms.iter().map(|alarm| self.watched(alarm)).collect();
        assert_eq!(watched.len(), alarms.len(), "two alarms on one metric");
        watched
    }

    /// The alarm on one of Pombo's own metrics.
    fn alarm_on(&self, metric: Metric) -> &str {
        let own = Watched::new(NAMESPACE, metric.name(), &[(DIMENSION, "AWS::StackName")]);
        let mut alarms = self.alarms().into_iter();
        alarms
            .find(|alarm| self.watched(alarm) == own)
            .unwrap_or_else(|| panic!("there is no alarm on {}", metric.name()))
    }

    /// What must have an alarm because it is in the template.
    fn to_be_watched(&self) -> BTreeSet<Watched> {
        let mut expected = BTreeSet::new();
        let queues = self.names("AWS::SQS::Queue");
        let dead_letters =
            |queue: &str| Some(self.text(self.properties(queue).get("RedrivePolicy")?.get("deadLetterTargetArn")?));
        for queue in &queues {
            let is_for_dead_letters = queues.iter().any(|other| dead_letters(other).as_deref() == Some(queue));
            let metric = if is_for_dead_letters {
                "ApproximateNumberOfMessagesVisible"
            } else {
                "ApproximateAgeOfOldestMessage"
            };
            expected.insert(Watched::new("AWS/SQS", metric, &[("QueueName", queue)]));
        }
        for function in self.names("AWS::Lambda::Function") {
            for metric in ["Errors", "Throttles"] {
                expected.insert(Watched::new("AWS/Lambda", metric, &[("FunctionName", function)]));
            }
        }
        for url in self.names("AWS::Lambda::Url") {
            let function = self.text(&self.properties(url)["TargetFunctionArn"]);
            expected.insert(Watched::new("AWS/Lambda", "Url5xxCount", &[("FunctionName", &function)]));
        }
        for table in self.names("AWS::DynamoDB::Table") {
            for metric in ["ReadThrottleEvents", "WriteThrottleEvents"] {
                expected.insert(Watched::new("AWS/DynamoDB", metric, &[("TableName", table)]));
            }
            for index in self.properties(table)["GlobalSecondaryIndexes"].as_array().into_iter().flatten() {
                let index = [("TableName", table), ("GlobalSecondaryIndexName", index["IndexName"].as_str().unwrap())];
                expected.insert(Watched::new("AWS/DynamoDB", "WriteThrottleEvents", &index));
            }
        }
        for group in self.names("AWS::Scheduler::ScheduleGroup") {
            for metric in ["InvocationDroppedCount", "TargetErrorCount", "InvocationThrottleCount"] {
                expected.insert(Watched::new("AWS/Scheduler", metric, &[("ScheduleGroup", group)]));
            }
        }
        expected
    }
}

#[scenario]
async fn whatever_can_stop_has_its_alarm() {
    let template = Alarms::told().await;
    let of_services: BTreeSet<_> =
        template.all_watched().into_iter().filter(|watched| watched.namespace != NAMESPACE).collect();
    let expected = template.to_be_watched();
    let missing: Vec<_> = expected.difference(&of_services).collect();
    assert!(missing.is_empty(), "without an alarm: {missing:#?}");
    let more: Vec<_> = of_services.difference(&expected).collect();
    assert!(more.is_empty(), "of nothing in the template: {more:#?}");
}

#[scenario]
async fn each_alarm_watches_a_metric_as_its_service_documents_it() {
    let template = Alarms::told().await;
    for alarm in template.alarms() {
        let (watched, statistic) = (template.watched(alarm), &template.properties(alarm)["Statistic"]);
        if watched.namespace == NAMESPACE {
            assert_eq!(statistic, "Sum", "{alarm} counts");
            continue;
        }
        let names: Vec<_> = watched.dimensions.keys().map(String::as_str).collect();
        let is_documented = DOCUMENTED.iter().any(|(namespace, metric, dimensions, meaningful, _)| {
            let same = (watched.namespace.as_str(), watched.metric.as_str()) == (namespace, metric);
            same && names == *dimensions && statistic == meaningful
        });
        assert!(is_documented, "{alarm}: {watched:?} by {statistic}");
    }
}

#[scenario]
async fn pombos_own_metrics_have_an_alarm_each_but_for_those_that_are_only_counted() {
    let template = Alarms::told().await;
    let own: BTreeSet<_> =
        template.all_watched().into_iter().filter(|watched| watched.namespace == NAMESPACE).collect();
    let alarming = Metric::ALL.iter().filter(|metric| !ONLY_COUNTED.contains(metric));
    let expected: BTreeSet<_> =
        alarming.map(|metric| Watched::new(NAMESPACE, metric.name(), &[(DIMENSION, "AWS::StackName")])).collect();
    assert_eq!(own, expected);
    for function in FUNCTIONS {
        let name = &template.properties(&format!("{function}Function"))["Environment"]["Variables"]["STACK_NAME"];
        let counts = ["Dispatch", "Jobs", "Replay"].contains(&function);
        assert_eq!(*name, if counts { json!({"Ref": "AWS::StackName"}) } else { Value::Null }, "{function}");
    }
}

#[scenario]
async fn each_alarm_says_what_it_means_and_what_to_do_first_and_somebody_hears_it() {
    let template = Alarms::told().await;
    for alarm in template.alarms() {
        let properties = template.properties(alarm);
        let description = properties["AlarmDescription"].as_str().unwrap();
        let (meaning, first) = description.split_once(" First: ").unwrap_or_default();
        assert!(meaning.len() > 30 && first.len() > 20, "{alarm}: {description:?}");
        assert!(description.len() <= 1024, "{alarm}: longer than CloudWatch takes");
        assert_eq!(template.texts(&properties["AlarmActions"]), ["AlarmTopic"], "{alarm}");
        // Throttles come and go: two mails each time would be too many, and a new stack's first OK is told too.
        let is_of_throttles = template.watched(alarm).metric.contains("Throttle");
        let ok = if is_of_throttles { Value::Null } else { json!([{"Ref": "AlarmTopic"}]) };
        assert_eq!(properties["OKActions"], ok, "{alarm}");
        // What SQS says of it: "if a message is received three times or more, it is moved to the back of the queue".
        let is_of_age = template.watched(alarm).metric == "ApproximateAgeOfOldestMessage";
        let names_its_gap = ["received fewer than three times", "MessagesFailedAlarm"];
        assert_eq!(is_of_age, names_its_gap.iter().all(|words| description.contains(words)), "{alarm}");
        assert!(properties["ActionsEnabled"].is_null() && properties["AlarmName"].is_null(), "{alarm}");
    }
    let subscription = json!([{"Protocol": "email", "Endpoint": {"Ref": "AlarmEmail"}}]);
    assert_eq!(template.properties("AlarmTopic")["Subscription"], subscription);
}

#[scenario]
async fn without_an_address_there_are_no_alarms_to_pay_for() {
    let (silent, told) = (Alarms::with("").await, Alarms::told().await);
    assert_eq!((silent.holds("HasAlarmEmail"), told.holds("HasAlarmEmail")), (false, true));
    for name in silent.alarms().into_iter().chain(["AlarmTopic"]) {
        assert_eq!(silent.json["Resources"][name]["Condition"], "HasAlarmEmail", "{name}");
    }
}

#[scenario]
async fn an_alarm_is_silent_without_data_and_waits_for_what_heals_by_itself() {
    let template = Alarms::told().await;
    let dead_mans_switch = template.alarm_on(Metric::SweepsCompleted);
    for alarm in template.alarms().into_iter().filter(|alarm| *alarm != dead_mans_switch) {
        let properties = template.properties(alarm);
        assert_eq!(properties["TreatMissingData"], "notBreaching", "{alarm}");
        let [period, periods, points] =
            ["Period", "EvaluationPeriods", "DatapointsToAlarm"].map(|name| properties[name].as_u64());
        let Watched { metric, dimensions, .. } = template.watched(alarm);
        let expected = match metric.as_str() {
            "UnqueuedEvents" => (300, 12, Some(2)),
            // Each of them is lost or late already when it is counted.
            "ApproximateNumberOfMessagesVisible"
            | "ApproximateAgeOfOldestMessage"
            | "InvocationDroppedCount"
            | "OverdueDeliveries"
            | "StalledJobs" => (300, 1, None),
            _ => (60, 15, Some(3)),
        };
        assert_eq!((period.unwrap(), periods.unwrap(), points), expected, "{alarm}");
        let limit = (&properties["ComparisonOperator"], template.number(&properties["Threshold"]));
        if metric == "ApproximateAgeOfOldestMessage" {
            let queue = template.properties(&dimensions["QueueName"]);
            let again = template.number(&queue["VisibilityTimeout"]);
            let healthy = LONGEST_QUEUE_DELAY.as_secs() + 2 * again;
            assert_eq!(limit.0, "GreaterThanThreshold", "{alarm}");
            assert!(
                limit.1 > healthy,
                "{alarm}: a message that waits as it asked, and is received twice, is {healthy} s old"
            );
        } else {
            assert_eq!((limit.0.as_str(), limit.1), (Some("GreaterThanOrEqualToThreshold"), 1), "{alarm}");
        }
    }
}

#[scenario]
async fn when_five_sweeps_are_missing_the_silence_itself_is_the_alarm() {
    let template = Alarms::told().await;
    let alarm = template.alarm_on(Metric::SweepsCompleted);
    let properties = template.properties(alarm);
    let limit = (&properties["ComparisonOperator"], template.number(&properties["Threshold"]));
    assert_eq!((limit.0.as_str(), limit.1), (Some("LessThanThreshold"), 1));
    assert_eq!(properties["TreatMissingData"], "breaching");
    assert_eq!(properties["DatapointsToAlarm"], Value::Null, "all of them");
    // As many periods of five minutes as a sweep has minutes are five sweeps.
    assert_eq!(
        (&properties["EvaluationPeriods"], &properties["Period"]),
        (&json!({"Ref": "SweepMinutes"}), &json!(300))
    );
    let longest = template.number(&template.json["Parameters"]["SweepMinutes"]["MaxValue"]);
    assert!(longest * 300 <= 86_400, "CloudWatch looks back for a day");
}

/// README's section of this title.
fn section(title: &str) -> String {
    let readme = include_str!("../../../README.md");
    let (_, from) = readme.split_once(&format!("\n## {title}\n")).unwrap_or_else(|| panic!("README has no {title:?}"));
    from.split_once("\n## ").map_or(from, |(section, _)| section).to_owned()
}

/// What is between backticks in the first cells of the section's tables.
fn listed(section: &str) -> BTreeSet<&str> {
    let cells = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect()
}

#[scenario]
async fn readme_has_every_alarm_every_metric_and_what_they_cost() {
    let template = Alarms::told().await;
    let section = section("Alarms");
    let own = Metric::ALL.iter().map(|metric| metric.name());
    let expected: BTreeSet<_> = template.alarms().into_iter().chain(own).collect();
    assert_eq!(listed(&section), expected);
    let alarms = template.alarms().len();
    let cost = format!("{alarms} alarms: ${}.{:02} a month", alarms / 10, alarms % 10 * 10);
    assert!(section.contains(&cost), "README's section does not say {cost:?}");
}
