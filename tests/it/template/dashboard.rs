//! The dashboard: that it can be drawn, that each of its metrics exists, and that every alarm's metric is on it.

use std::collections::{BTreeMap, BTreeSet};

use pombo_aws::metrics::{DIMENSION, Metric, NAMESPACE};
use serde_json::Value;

use super::Template;
use super::alarms::{Alarms, DOCUMENTED, DYNAMODB, Documented, LAMBDA, SCHEDULER, SQS, URLS, Watched};
use pombo_tests::scenario;

/// Metrics that have no alarm, as their services document them.
const ONLY_SHOWN: [Documented; 12] = [
    ("AWS/SQS", "NumberOfMessagesSent", &["QueueName"], "Sum", SQS),
    ("AWS/SQS", "NumberOfMessagesDeleted", &["QueueName"], "Sum", SQS),
    ("AWS/SQS", "ApproximateNumberOfMessagesDelayed", &["QueueName"], "Maximum", SQS),
    ("AWS/SQS", "ApproximateNumberOfMessagesNotVisible", &["QueueName"], "Maximum", SQS),
    ("AWS/Lambda", "Invocations", &["FunctionName"], "Sum", LAMBDA),
    ("AWS/Lambda", "Duration", &["FunctionName"], "p99", LAMBDA),
    ("AWS/Lambda", "ConcurrentExecutions", &["FunctionName"], "Maximum", LAMBDA),
    ("AWS/Lambda", "UrlRequestCount", &["FunctionName"], "Sum", URLS),
    ("AWS/Lambda", "Url4xxCount", &["FunctionName"], "Sum", URLS),
    ("AWS/Scheduler", "InvocationAttemptCount", &["ScheduleGroup"], "Sum", SCHEDULER),
    ("AWS/DynamoDB", "ConsumedWriteCapacityUnits", &["TableName"], "Sum", DYNAMODB),
    ("AWS/DynamoDB", "ConsumedReadCapacityUnits", &["TableName"], "Sum", DYNAMODB),
];

/// What CloudFormation makes of the body: the resources' names stand for themselves.
fn body(template: &Template) -> Value {
    let text = template.properties("Dashboard")["DashboardBody"]["Fn::Sub"].as_str().unwrap();
    let mut parts = text.split("${");
    let mut filled = parts.next().unwrap().to_owned();
    for part in parts {
        let (name, rest) = part.split_once('}').unwrap();
        filled.push_str(name.strip_suffix(".QueueName").unwrap_or(name));
        filled.push_str(rest);
    }
    serde_json::from_str(&filled).unwrap_or_else(|error| panic!("the body is no JSON: {error}\n{filled}"))
}

/// A widget: its title, its statistic and its metrics.
type Widget<'a> = (&'a str, &'a str, Vec<Watched>);

fn widgets(body: &Value) -> Vec<Widget<'_>> {
    body["widgets"].as_array().unwrap().iter().map(widget).collect()
}

fn widget(widget: &Value) -> Widget<'_> {
    let properties = &widget["properties"];
    let metrics = properties["metrics"].as_array().unwrap().iter().map(|metric| {
        let words: Vec<_> = metric.as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
        let dimensions: Vec<_> = words[2..].chunks(2).map(|pair| (pair[0], pair[1])).collect();
        Watched::new(words[0], words[1], &dimensions)
    });
    (properties["title"].as_str().unwrap(), properties["stat"].as_str().unwrap(), metrics.collect())
}

#[scenario]
async fn there_is_a_dashboard_only_where_it_is_asked_for() {
    let (without, with) = (Template::with(&[]).await, Template::with(&[("CreateDashboard", "true")]).await);
    assert_eq!((without.holds("HasDashboard"), with.holds("HasDashboard")), (false, true));
    for (section, name) in [("Resources", "Dashboard"), ("Outputs", "DashboardName")] {
        assert_eq!(with.json[section][name]["Condition"], "HasDashboard", "{name}");
    }
}

#[scenario]
async fn the_dashboard_can_be_drawn() {
    let template = Template::with(&[("CreateDashboard", "true")]).await;
    let body = body(&template);
    let mut taken = BTreeSet::new();
    for widget in body["widgets"].as_array().unwrap() {
        let properties = &widget["properties"];
        assert_eq!((&widget["type"], &properties["region"]), (&"metric".into(), &"AWS::Region".into()), "{widget}");
        let [x, y, width, height] = ["x", "y", "width", "height"].map(|name| widget[name].as_u64().unwrap());
        assert!(x + width <= 24, "CloudWatch's grid has 24 columns: {widget}");
        for place in (x..x + width).flat_map(|x| (y..y + height).map(move |y| (x, y))) {
            assert!(taken.insert(place), "two widgets at one place: {widget}");
        }
    }
    let widgets = widgets(&body);
    let titles: BTreeSet<_> = widgets.iter().map(|(title, ..)| *title).collect();
    assert_eq!(titles.len(), widgets.len());
    assert!(widgets.len() > 15, "{titles:?}");
}

#[scenario]
async fn each_metric_on_the_dashboard_exists_and_is_of_something_in_the_template() {
    let template = Template::with(&[("CreateDashboard", "true")]).await;
    let kinds = BTreeMap::from([
        ("QueueName", "AWS::SQS::Queue"),
        ("FunctionName", "AWS::Lambda::Function"),
        ("TableName", "AWS::DynamoDB::Table"),
        ("ScheduleGroup", "AWS::Scheduler::ScheduleGroup"),
    ]);
    for (title, statistic, metrics) in widgets(&body(&template)) {
        for shown in metrics {
            let names: Vec<_> = shown.dimensions.keys().map(String::as_str).collect();
            let is_documented =
                DOCUMENTED.iter().chain(&ONLY_SHOWN).any(|(namespace, metric, dimensions, meaningful, _)| {
                    let same = (shown.namespace.as_str(), shown.metric.as_str()) == (namespace, metric);
                    same && names == *dimensions && statistic == *meaningful
                });
            let own = Metric::ALL.iter().any(|metric| metric.name() == shown.metric);
            let is_own = shown.namespace == NAMESPACE && own && names == [DIMENSION] && statistic == "Sum";
            assert!(is_documented || is_own, "{title}: {shown:?} by {statistic}");
            for (name, value) in &shown.dimensions {
                let is_there = match name.as_str() {
                    DIMENSION => value == "AWS::StackName",
                    "GlobalSecondaryIndexName" => {
                        let indexes = &template.properties(&shown.dimensions["TableName"])["GlobalSecondaryIndexes"];
                        indexes.as_array().unwrap().iter().any(|index| index["IndexName"] == **value)
                    }
                    name => template.names(kinds[name]).contains(value.as_str()),
                };
                assert!(is_there, "{title}: {name} {value}");
            }
        }
    }
}

#[scenario]
async fn every_alarms_metric_and_all_of_pombos_own_are_on_the_dashboard() {
    let body = body(&Template::with(&[("CreateDashboard", "true")]).await);
    let shown: BTreeSet<_> = widgets(&body).into_iter().flat_map(|(_, _, metrics)| metrics).collect();
    let mut expected = Alarms::told().await.all_watched();
    expected.extend(
        Metric::ALL.iter().map(|metric| Watched::new(NAMESPACE, metric.name(), &[(DIMENSION, "AWS::StackName")])),
    );
    let missing: Vec<_> = expected.difference(&shown).collect();
    assert!(missing.is_empty(), "not on the dashboard: {missing:#?}");
    for function in Alarms::told().await.names("AWS::Lambda::Function") {
        for metric in ["Duration", "Invocations", "ConcurrentExecutions"] {
            let wanted = Watched::new("AWS/Lambda", metric, &[("FunctionName", function)]);
            assert!(shown.contains(&wanted), "not on the dashboard: {wanted:?}");
        }
    }
}
