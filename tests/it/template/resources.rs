//! What is kept, for how long, and what bounds it.

use serde_json::Value;

use super::{FUNCTIONS, Template};
use pombo_tests::scenario;

#[scenario]
async fn every_table_outlives_the_stack_and_can_be_restored() {
    let template = Template::with(&[]).await;
    let tables = template.names("AWS::DynamoDB::Table");
    assert_eq!(tables.len(), 6);
    for table in tables {
        let resource = &template.json["Resources"][table];
        assert_eq!(
            (&resource["DeletionPolicy"], &resource["UpdateReplacePolicy"]),
            (&"RetainExceptOnCreate".into(), &"Retain".into()),
            "{table}: a first deployment that fails leaves no table behind"
        );
        let properties = template.properties(table);
        let recovery = &properties["PointInTimeRecoverySpecification"];
        assert_eq!(*recovery, serde_json::json!({"PointInTimeRecoveryEnabled": true}), "{table}");
        assert_eq!(properties["BillingMode"], "PAY_PER_REQUEST", "{table}");
        assert!(properties["TableName"].is_null(), "{table}: a retained table must not be in a new stack's way");
        let expected = match table {
            // A tenant's routes stand as long as its endpoints.
            "RoutingTable" => Value::Null,
            _ => serde_json::json!({"AttributeName": "expires_at", "Enabled": true}),
        };
        assert_eq!(properties["TimeToLiveSpecification"], expected, "{table}");
    }
}

#[scenario]
async fn tables_may_be_deleted_until_somebody_protects_them() {
    let (open, protected) = (Template::with(&[]).await, Template::with(&[("DeletionProtection", "true")]).await);
    for table in open.names("AWS::DynamoDB::Table") {
        let of = |template: &Template| {
            template.standing(&template.properties(table)["DeletionProtectionEnabled"]).and_then(Value::as_bool)
        };
        // A protected table would stick in a first deployment that fails.
        assert_eq!((of(&open), of(&protected)), (Some(false), Some(true)), "{table}");
    }
}

/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-dynamodb-table.html>: "you must
/// include dependencies so that the tables are created sequentially".
#[scenario]
async fn tables_with_indexes_are_made_one_after_the_other() {
    let template = Template::with(&[]).await;
    let tables = template.names("AWS::DynamoDB::Table").into_iter();
    let indexed: Vec<_> =
        tables.filter(|table| template.properties(table)["GlobalSecondaryIndexes"].is_array()).collect();
    assert_eq!(indexed.len(), 5);
    let before = |table: &str| template.json["Resources"][table]["DependsOn"].as_str().map(str::to_owned);
    let first: Vec<_> = indexed.iter().filter(|table| before(table).is_none()).collect();
    assert_eq!(first.len(), 1, "all others wait for another one: {first:?}");
    let mut waited_for: Vec<_> = indexed.iter().filter_map(|table| before(table)).collect();
    waited_for.sort();
    waited_for.dedup();
    assert_eq!(waited_for.len(), indexed.len() - 1, "no two wait for the same one: {waited_for:?}");
    assert!(waited_for.iter().all(|table| indexed.contains(&table.as_str())), "{waited_for:?}");
}

#[scenario]
async fn a_sweep_each_minute_is_written_as_scheduler_reads_it() {
    for (minutes, expected) in [("1", "rate(1 minute)"), ("5", "rate(${SweepMinutes} minutes)")] {
        let template = Template::with(&[("SweepMinutes", minutes)]).await;
        let expression = template.standing(&template.properties("SweepSchedule")["ScheduleExpression"]).unwrap();
        assert_eq!(expression["Fn::Sub"].as_str().or(expression.as_str()), Some(expected));
    }
}

/// Each limit: its parameter, function and variable, and the smallest, the largest and the usual value.
const LIMITS: [(&str, &str, &str, [u64; 3]); 11] = [
    ("MaxEndpointsPerTenant", "EndpointsFunction", "MAX_ENDPOINTS_PER_TENANT", [1, 10_000, 1000]),
    ("MaxEndpointsPerHost", "EndpointsFunction", "MAX_ENDPOINTS_PER_HOST", [1, 10_000, 500]),
    ("MaxEndpointsRegisteredPerDay", "EndpointsFunction", "MAX_ENDPOINTS_REGISTERED_PER_DAY", [1, 1_000_000, 5000]),
    ("MaxKeysPerTenant", "EndpointsFunction", "MAX_KEYS_PER_TENANT", [1, 1000, 200]),
    ("MaxRunningReplays", "ReplayFunction", "MAX_RUNNING_REPLAYS", [1, 100, 20]),
    ("KeyEventsPerSecond", "IngestFunction", "KEY_EVENTS_PER_SECOND", [0, 10_000, 0]),
    ("KeyEventsBurst", "IngestFunction", "KEY_EVENTS_BURST", [0, 100_000, 0]),
    ("FirstAttemptWindowSeconds", "IngestFunction", "FIRST_ATTEMPT_WINDOW_SECONDS", [1, 900, 180]),
    ("FirstAttemptWindowSeconds", "DispatchFunction", "FIRST_ATTEMPT_WINDOW_SECONDS", [1, 900, 180]),
    ("FirstAttemptWindowSeconds", "JobsFunction", "FIRST_ATTEMPT_WINDOW_SECONDS", [1, 900, 180]),
    ("FirstAttemptWindowSeconds", "ReplayFunction", "FIRST_ATTEMPT_WINDOW_SECONDS", [1, 900, 180]),
];

#[scenario]
async fn dispatch_is_told_whether_to_claim_first_attempts_and_does_not_unless_it_is_asked_to() {
    for (given, told) in [(&[][..], "false"), (&[("ClaimFirstAttempts", "true")][..], "true")] {
        let template = Template::with(given).await;
        let variables = &template.properties("DispatchFunction")["Environment"]["Variables"];
        assert_eq!(template.text(&variables["CLAIM_FIRST_ATTEMPTS"]), told);
    }
    let readme = include_str!("../../../README.md");
    assert!(readme.lines().any(|line| line.starts_with("| `ClaimFirstAttempts` | false | ")));
}

#[scenario]
async fn the_limits_reach_the_functions_that_keep_them_and_have_bounds() {
    let given = LIMITS.map(|(parameter, ..)| (parameter, "7"));
    let template = Template::with(&given).await;
    for (parameter, function, variable, bounds) in LIMITS {
        let variables = &template.properties(function)["Environment"]["Variables"];
        assert_eq!(template.number(&variables[variable]), 7, "{parameter}");
        let definition = &template.json["Parameters"][parameter];
        let has = ["MinValue", "MaxValue", "Default"].map(|bound| template.number(&definition[bound]));
        assert_eq!(has, bounds, "{parameter}");
    }
}

#[scenario]
async fn readme_has_every_limit_with_its_usual_value() {
    let rows: Vec<_> = include_str!("../../../README.md").lines().filter(|line| line.starts_with("| `")).collect();
    for (parameter, _, _, [_, _, usual]) in LIMITS {
        let found: Vec<_> = rows.iter().filter(|row| row.starts_with(&format!("| `{parameter}` |"))).collect();
        assert_eq!(found.len(), 1, "{parameter}");
        assert!(found[0].starts_with(&format!("| `{parameter}` | {usual} | ")), "{}", found[0]);
    }
    let template = Template::with(&[]).await;
    let parameters = template.json["Parameters"].as_object().unwrap().keys();
    let limits = parameters.filter(|name| LIMITS.iter().all(|(parameter, ..)| *parameter != name.as_str()));
    let unknown: Vec<_> = limits.filter(|name| name.starts_with("Max") && !name.ends_with("Seconds")).collect();
    assert!(unknown.is_empty(), "a limit that README's table does not have: {unknown:?}");
}

#[scenario]
async fn who_judges_urls_knows_what_is_open_and_what_is_the_stack_itself() {
    let template = Template::with(&[
        ("AllowedCidrs", "10.1.0.0/16"),
        ("AllowLoopback", "true"),
        ("IngestHosts", "events.example.com"),
    ])
    .await;
    for function in ["DispatchFunction", "EndpointsFunction"] {
        let variables = &template.properties(function)["Environment"]["Variables"];
        let named = ["ALLOWED_CIDRS", "ALLOW_LOOPBACK", "INGEST_HOSTS"].map(|name| template.text(&variables[name]));
        assert_eq!(named, ["10.1.0.0/16", "true", "events.example.com"], "{function}");
        let url = serde_json::json!({"Fn::GetAtt": ["IngestFunctionUrl", "FunctionUrl"]});
        assert_eq!(variables["INGEST_URL"], url, "{function}");
    }
    let url = |name: &str| serde_json::json!({"Fn::GetAtt": [name, "FunctionUrl"]});
    let own = serde_json::json!({"Fn::Join": [",", [url("ReplayFunctionUrl"), url("EndpointsFunctionUrl")]]});
    assert_eq!(template.properties("DispatchFunction")["Environment"]["Variables"]["OWN_URLS"], own);
    let parameter = |name: &str| &template.json["Parameters"][name]["Default"];
    let closed = ["AllowedCidrs", "AllowLoopback", "IngestHosts", "VpcSubnetIds", "VpcSecurityGroupIds"].map(parameter);
    assert_eq!(closed, ["", "false", "", "", ""], "nothing is open unless asked for");
}

#[scenario]
async fn the_console_knows_the_endpoints_url_and_may_call_it_with_a_key_and_nothing_else() {
    let template = Template::with(&[("AllowLoopback", "true")]).await;
    let variables = &template.properties("ReplayFunction")["Environment"]["Variables"];
    let url = serde_json::json!({"Fn::GetAtt": ["EndpointsFunctionUrl", "FunctionUrl"]});
    assert_eq!((&variables["ENDPOINTS_URL"], template.text(&variables["ALLOW_LOOPBACK"])), (&url, "true".to_owned()));
    let cors = |url: &str| template.properties(url)["Cors"].clone();
    assert_eq!((cors("IngestFunctionUrl"), cors("ReplayFunctionUrl")), (Value::Null, Value::Null));
    // Without `AllowCredentials`: a browser sends no cookie with a call from another origin's page.
    let expected = serde_json::json!({
        "AllowOrigins": ["*"],
        "AllowMethods": ["GET", "POST", "PATCH", "DELETE"],
        "AllowHeaders": ["authorization", "content-type"],
        "ExposeHeaders": ["retry-after"],
        "MaxAge": 3600,
    });
    assert_eq!(cors("EndpointsFunctionUrl"), expected);
}

#[scenario]
async fn what_a_queue_gives_up_is_kept_for_longer_than_the_queue_keeps_it() {
    let template = Template::with(&[]).await;
    let dead_letters = [("DeliveriesQueue", "DeliveriesDeadLetterQueue"), ("JobsQueue", "JobsDeadLetterQueue")];
    assert_eq!(template.names("AWS::SQS::Queue").len(), 4);
    for (queue, dead_letters) in dead_letters {
        let redrive = &template.properties(queue)["RedrivePolicy"];
        assert_eq!(template.text(&redrive["deadLetterTargetArn"]), dead_letters);
        assert_eq!(redrive["maxReceiveCount"], 30, "a throttled function's receives count too");
        let days = |queue: &str| template.number(&template.properties(queue)["MessageRetentionPeriod"]) / 86_400;
        assert_eq!((days(queue), days(dead_letters)), (7, 14));
    }
}

#[scenario]
async fn what_is_done_of_a_batch_is_done_and_a_function_may_feed_its_own_queue() {
    let template = Template::with(&[]).await;
    for (queue, batch) in [("DeliveriesQueue", 10), ("JobsQueue", 1)] {
        let (function, mapping) = &template.event_sources()[queue];
        assert_eq!(mapping["FunctionResponseTypes"], serde_json::json!(["ReportBatchItemFailures"]), "{queue}");
        assert_eq!(mapping["BatchSize"], batch, "{queue}");
        assert_eq!(template.properties(function)["RecursiveLoop"], "Allow", "{function}");
    }
}

/// What each function is to have reserved.
const RESERVED: [&str; FUNCTIONS.len()] = ["5", "6", "7", "8", "9"];

#[scenario]
async fn a_batch_of_deliveries_is_waited_for_only_if_asked_and_within_its_visibility() {
    let template = Template::with(&[("DispatchBatchingSeconds", "3")]).await;
    let (_, mapping) = &template.event_sources()["DeliveriesQueue"];
    assert_eq!(template.number(&mapping["MaximumBatchingWindowInSeconds"]), 3);
    assert_eq!(template.event_sources()["JobsQueue"].1["MaximumBatchingWindowInSeconds"], Value::Null);
    let definition = &template.json["Parameters"]["DispatchBatchingSeconds"];
    let [default, longest] = ["Default", "MaxValue"].map(|bound| template.number(&definition[bound]));
    assert_eq!(default, 0);
    for (deadline, row) in template.json["Mappings"]["DispatchClock"].as_object().unwrap() {
        let [timeout, visibility] = ["Timeout", "Visibility"].map(|column| template.number(&row[column]));
        assert!(longest + timeout < visibility, "{deadline}: a message comes again while its function runs");
    }
}

#[scenario]
async fn no_concurrency_is_reserved_or_bounded_unless_asked_for() {
    let by_default = Template::with(&[]).await;
    let asked = Template::with(&[
        ("DispatchMaximumConcurrency", "7"),
        ("IngestReservedConcurrency", RESERVED[0]),
        ("DispatchReservedConcurrency", RESERVED[1]),
        ("JobsReservedConcurrency", RESERVED[2]),
        ("ReplayReservedConcurrency", RESERVED[3]),
        ("EndpointsReservedConcurrency", RESERVED[4]),
    ])
    .await;
    for (function, expected) in FUNCTIONS.iter().zip(RESERVED) {
        let reserved = |template: &Template| {
            let properties = template.properties(&format!("{function}Function"));
            template.standing(&properties["ReservedConcurrentExecutions"]).map(|value| template.text(value))
        };
        assert_eq!(reserved(&by_default), None, "{function}: a new account has too little to reserve any");
        assert_eq!(reserved(&asked).as_deref(), Some(expected), "{function}");
    }
    for (queue, expected) in [("DeliveriesQueue", "7"), ("JobsQueue", RESERVED[2])] {
        let bound = |template: &Template| {
            let (_, mapping) = &template.event_sources()[queue];
            let scaling = template.standing(&mapping["ScalingConfig"]).cloned();
            scaling.map(|scaling| template.text(&scaling["MaximumConcurrency"]))
        };
        assert_eq!((bound(&by_default), bound(&asked).as_deref()), (None, Some(expected)), "{queue}");
    }
}

#[scenario]
async fn each_function_writes_json_to_a_log_group_that_does_not_keep_everything() {
    let template = Template::with(&[("LogRetentionDays", "7")]).await;
    assert_eq!(template.names("AWS::Logs::LogGroup").len(), FUNCTIONS.len());
    for function in FUNCTIONS {
        let logging = &template.properties(&format!("{function}Function"))["LoggingConfig"];
        let group = template.text(&logging["LogGroup"]);
        assert_eq!((group.as_str(), &logging["LogFormat"]), (format!("{function}LogGroup").as_str(), &"JSON".into()));
        assert_eq!(template.number(&template.properties(&group)["RetentionInDays"]), 7, "{group}");
    }
}
