//! How long each thing may take: all that follows from one number, and that it reaches what it is for.

use std::time::Duration;

use pombo_domain::job::STALLED_AFTER;

use super::Template;
use pombo_tests::scenario;

/// The longest deadlines that an endpoint may be given, in seconds.
const DEADLINES: std::ops::RangeInclusive<u64> = 1..=30;

#[scenario]
async fn every_clock_follows_from_one_parameter_and_leaves_time_for_the_one_inside_it() {
    let template = Template::with(&[]).await;
    let parameter = |name: &str, bound: &str| template.number(&template.json["Parameters"][name][bound]);
    let bounds = ["MinValue", "MaxValue"].map(|bound| parameter("MaxEndpointTimeoutSeconds", bound));
    assert_eq!(bounds, [*DEADLINES.start(), *DEADLINES.end()]);
    let rows = |map: &str| template.json["Mappings"][map].as_object().unwrap().len();
    assert_eq!((rows("DispatchClock"), rows("JobsClock")), (30, 9));
    for deadline in DEADLINES {
        let row = &template.json["Mappings"]["DispatchClock"][deadline.to_string()];
        assert_eq!(
            *row,
            serde_json::json!({"Timeout": (deadline + 35).to_string(), "Visibility": (deadline + 65).to_string()}),
            "{deadline}"
        );
    }
    for timeout in (30..=270).step_by(30) {
        let row = &template.json["Mappings"]["JobsClock"][timeout.to_string()];
        assert_eq!(*row, serde_json::json!({"Visibility": (timeout + 30).to_string()}), "{timeout}");
    }
    let timeout = |function: &str| template.number(&template.properties(function)["Timeout"]);
    assert_eq!(timeout("DispatchFunction"), parameter("MaxEndpointTimeoutSeconds", "Default") + 35);
    let longest = parameter("JobsTimeoutSeconds", "MaxValue");
    assert!(Duration::from_secs(longest) < STALLED_AFTER, "a leg that runs is not stalled");
    let sources = template.event_sources();
    let pairs: Vec<_> = sources.iter().map(|(queue, (function, _))| (queue.as_str(), function.as_str())).collect();
    assert_eq!(pairs, [("DeliveriesQueue", "DispatchFunction"), ("JobsQueue", "JobsFunction")]);
    for (queue, function) in pairs {
        let visibility = template.number(&template.properties(queue)["VisibilityTimeout"]);
        assert_eq!(visibility, timeout(function) + 30, "{queue}");
    }
    let shorter = Template::with(&[("MaxEndpointTimeoutSeconds", "7"), ("JobsTimeoutSeconds", "120")]).await;
    let number = |resource: &str, name: &str| shorter.number(&shorter.properties(resource)[name]);
    assert_eq!(number("DispatchFunction", "Timeout"), 42);
    assert_eq!(number("DeliveriesQueue", "VisibilityTimeout"), 72);
    assert_eq!(number("JobsQueue", "VisibilityTimeout"), 150);
}

#[scenario]
async fn each_window_of_first_attempts_that_aws_takes_is_at_least_two_runs_of_dispatch_and_half_a_minute() {
    let template = Template::with(&[]).await;
    let rules = template.json["Rules"].as_object().unwrap().values();
    let assertions = rules.flat_map(|rule| rule["Assertions"].as_array().unwrap());
    let windows = assertions
        .map(|assertion| &assertion["Assert"]["Fn::Contains"])
        .find(|contains| contains[1]["Ref"] == "FirstAttemptWindowSeconds")
        .unwrap();
    let windows: Vec<u64> =
        windows[0].as_array().unwrap().iter().map(|window| window.as_str().unwrap().parse().unwrap()).collect();
    let parameter = &template.json["Parameters"]["FirstAttemptWindowSeconds"];
    assert!(windows.contains(&template.number(&parameter["Default"])), "{windows:?}");
    let longest_run = DEADLINES.end() + 35;
    for window in windows {
        assert!((2 * longest_run + 30..=900).contains(&window), "{window}");
    }
}

#[scenario]
async fn a_function_knows_the_times_that_it_checks_when_it_starts() {
    for given in [&[][..], &[("DispatchTimeoutSeconds", "40"), ("JobsTimeoutSeconds", "30")]] {
        let template = Template::with(given).await;
        for (queue, (function, _)) in template.event_sources() {
            let name = queue.trim_end_matches("Queue").to_uppercase();
            let variables = &template.properties(&function)["Environment"]["Variables"];
            let timeout = if name == "JOBS" { "JOBS" } else { "DISPATCH" };
            let known = [format!("{timeout}_TIMEOUT_SECONDS"), format!("{name}_VISIBILITY_SECONDS")]
                .map(|name| template.number(&variables[name]));
            let [timeout, visibility] = [(function.as_str(), "Timeout"), (queue.as_str(), "VisibilityTimeout")]
                .map(|(resource, property)| template.number(&template.properties(resource)[property]));
            assert_eq!(known, [timeout, visibility], "{function}");
        }
    }
}

#[scenario]
async fn the_parameters_of_the_clocks_reach_what_they_are_for() {
    let template = Template::with(&[
        ("MaxEndpointTimeoutSeconds", "3"),
        ("DispatchTimeoutSeconds", "101"),
        ("DeliveriesVisibilitySeconds", "102"),
        ("JobsTimeoutSeconds", "103"),
        ("JobsVisibilitySeconds", "104"),
    ])
    .await;
    for (resource, property, expected) in [
        ("DispatchFunction", "Timeout", 101),
        ("DeliveriesQueue", "VisibilityTimeout", 102),
        ("JobsFunction", "Timeout", 103),
        ("JobsQueue", "VisibilityTimeout", 104),
    ] {
        assert_eq!(template.number(&template.properties(resource)[property]), expected, "{resource}");
    }
    for function in ["DispatchFunction", "EndpointsFunction"] {
        let variables = &template.properties(function)["Environment"]["Variables"];
        assert_eq!(template.number(&variables["MAX_ENDPOINT_TIMEOUT_SECONDS"]), 3, "{function}");
    }
}
