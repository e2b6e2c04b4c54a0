//! The policies of the template, compared with the calls that the functions made: one that is not allowed fails on AWS, and
//! what is allowed and never needed is too wide.
//!
//! The functions' roles are enforced while they are driven, so each signs with an access key of its own, which tells whose a
//! call is. What passes between the services themselves is not seen, but follows from the template: it is written down below.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_lambda::Client;
use pombo_tests::{Call, Stack, Template, scenario};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::access::flows::{EVENTS_PER_SECOND, driven};

const FUNCTIONS: [&str; 5] = ["Ingest", "Dispatch", "Jobs", "Replay", "Endpoints"];

/// What a call needs: an action on a resource, both as the policies write them, and the partition key that it is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Need {
    permission: String,
    key: Option<String>,
}

/// The access key of each function: the emulator makes it of the function's and its role's names.
async fn functions_by_key(stack: &Stack) -> BTreeMap<String, &'static str> {
    let client = Client::new(&stack.local.sdk_config().await);
    let mut keys = BTreeMap::new();
    for function in FUNCTIONS {
        let name = stack.resource(&format!("{function}Function"));
        let config = client.get_function_configuration().function_name(name).send().await.unwrap();
        let digest = Sha256::digest(format!("{}:{}", config.function_arn.unwrap(), config.role.unwrap()));
        let hex: String = digest.iter().take(8).map(|byte| format!("{byte:02X}")).collect();
        keys.insert(format!("ASIA{hex}"), function);
    }
    keys
}

/// The name in the template of what has this name, URL or ARN.
fn logical(stack: &Stack, physical: &str) -> String {
    let name = |id: &str| id.rsplit(['/', ':']).next().unwrap().to_owned();
    let mut found =
        stack.local.resources.iter().filter(|(_, id)| name(id) == name(physical)).map(|(logical, _)| logical);
    let logical = found.next().unwrap_or_else(|| panic!("{physical} is no resource of the stack"));
    logical.clone()
}

/// The partition key of the items of each table.
fn key_of(table: &str, item: &Value) -> Option<String> {
    let name = match table {
        "RoutingTable" => "tenant",
        "EndpointsTable" | "DeliveriesTable" => "endpoint_id",
        "EventsTable" => "event_key",
        "ApiKeysTable" => "partition",
        "JobsTable" => "owner",
        _ => panic!("{table} is no table of the stack"),
    };
    Some(item[name]["S"].as_str()?.to_owned())
}

fn needs(stack: &Stack, call: &Call) -> Vec<Need> {
    let body = &call.body;
    let on_table = |action: &str, request: &Value, item: &Value| {
        let table = logical(stack, request["TableName"].as_str().unwrap());
        let key = key_of(&table, item);
        assert!(key.is_some(), "no key in {request}");
        Need { permission: format!("dynamodb:{action} {table}"), key }
    };
    let on_queue = |action: &str| {
        let queue = logical(stack, body["QueueUrl"].as_str().unwrap());
        vec![Need { permission: format!("sqs:{action} {queue}"), key: None }]
    };
    match call.operation.as_str() {
        "GetItem" | "UpdateItem" | "DeleteItem" => vec![on_table(&call.operation, body, &body["Key"])],
        "PutItem" => vec![on_table("PutItem", body, &body["Item"])],
        "Query" => {
            let table = logical(stack, body["TableName"].as_str().unwrap());
            let index = body["IndexName"].as_str().map(|index| format!("/index/{index}")).unwrap_or_default();
            vec![Need { permission: format!("dynamodb:Query {table}{index}"), key: None }]
        }
        "BatchGetItem" => {
            let tables = body["RequestItems"].as_object().unwrap().iter();
            let of = |(table, wanted): (&String, &Value)| {
                let table = logical(stack, table);
                let keys: Vec<_> = wanted["Keys"].as_array().unwrap().iter().map(|key| key_of(&table, key)).collect();
                keys.into_iter().map(move |key| Need { permission: format!("dynamodb:BatchGetItem {table}"), key })
            };
            tables.flat_map(of).collect()
        }
        // Each item asks for the action of the single call.
        "TransactWriteItems" => {
            let items = body["TransactItems"].as_array().unwrap().iter().flat_map(|item| item.as_object().unwrap());
            let of = |(kind, request): (&String, &Value)| match kind.as_str() {
                "Put" => on_table("PutItem", request, &request["Item"]),
                "ConditionCheck" => on_table("ConditionCheckItem", request, &request["Key"]),
                kind => on_table(&format!("{kind}Item"), request, &request["Key"]),
            };
            items.map(of).collect()
        }
        "SendMessage" | "SendMessageBatch" => on_queue("SendMessage"),
        "ReceiveMessage" | "GetQueueAttributes" => on_queue(&call.operation),
        "DeleteMessage" | "DeleteMessageBatch" => on_queue("DeleteMessage"),
        "ChangeMessageVisibility" | "ChangeMessageVisibilityBatch" => on_queue("ChangeMessageVisibility"),
        "CreateSchedule" => {
            assert_eq!(logical(stack, body["GroupName"].as_str().unwrap()), "ScheduleGroup");
            let role = logical(stack, body["Target"]["RoleArn"].as_str().unwrap());
            let arn = "arn:${AWS::Partition}:scheduler:${AWS::Region}:${AWS::AccountId}:schedule/${ScheduleGroup}/*";
            let pass = format!("iam:PassRole {role} if iam:PassedToService is scheduler.amazonaws.com");
            let permissions = [format!("scheduler:CreateSchedule {arn}"), pass];
            permissions.map(|permission| Need { permission, key: None }).to_vec()
        }
        operation => panic!("the table of needs does not have {operation}"),
    }
}

/// The line of a role that allows what is needed.
fn allowing<'a>(allowed: &'a BTreeSet<String>, need: &Need) -> Option<&'a String> {
    let limited = format!("{} if dynamodb:LeadingKeys is ", need.permission);
    let allows = |line: &&String| match (line.strip_prefix(&limited), &need.key) {
        (Some(pattern), Some(key)) => {
            let (begin, end) = pattern.split_once('*').expect("the patterns have one star");
            key.len() >= begin.len() + end.len() && key.starts_with(begin) && key.ends_with(end)
        }
        (Some(_), None) => false,
        (None, _) => **line == need.permission,
    };
    allowed.iter().find(allows)
}

/// What Lambda does in a function's name: it takes messages from its queue, and writes its log.
fn done_by_lambda(template: &Template, function: &str) -> BTreeSet<String> {
    let mut lines: BTreeSet<_> =
        ["CreateLogStream", "PutLogEvents"].map(|action| format!("logs:{action} {function}LogGroup")).into();
    for (queue, (of, _)) in template.event_sources() {
        if of == format!("{function}Function") {
            let actions = ["ReceiveMessage", "DeleteMessage", "GetQueueAttributes"];
            lines.extend(actions.map(|action| format!("sqs:{action} {queue}")));
        }
    }
    if function == "Dispatch" {
        // Network interfaces, if it is in a VPC. `template::roles` says which actions.
        let network = template.allowed("DispatchRole").into_iter();
        lines.extend(network.filter(|line| line.starts_with("ec2:") || line.starts_with("denied ec2:")));
    }
    lines
}

#[scenario(multi_thread, slow)]
async fn each_role_allows_the_calls_that_its_function_makes_and_no_others() {
    let stack = driven().await;
    let template = Template::with(&[("KeyEventsPerSecond", EVENTS_PER_SECOND)]).await;
    let functions = functions_by_key(stack).await;
    let calls = stack.proxy.calls(|_| true);
    assert!(calls.len() > 500, "{} calls were seen", calls.len());
    let mut needed: BTreeMap<&str, BTreeSet<Need>> = BTreeMap::new();
    let mut targets = BTreeSet::new();
    for call in &calls {
        let function = functions.get(&call.access_key);
        let function = function.unwrap_or_else(|| panic!("nobody has the access key {:?}: {call:?}", call.access_key));
        needed.entry(function).or_default().extend(needs(stack, call));
        if call.operation == "CreateSchedule" {
            targets.insert(logical(stack, call.body["Target"]["Arn"].as_str().unwrap()));
        }
    }
    let mut wrong = Vec::new();
    for function in FUNCTIONS {
        let allowed = template.allowed(&format!("{function}Role"));
        let mut used = done_by_lambda(&template, function);
        for need in &needed[function] {
            match allowing(&allowed, need) {
                Some(line) => drop(used.insert(line.clone())),
                None => wrong.push(format!("{function} needs what it is not allowed: {need:?}")),
            }
        }
        wrong
            .extend(allowed.difference(&used).map(|line| format!("{function} is allowed what it never needs: {line}")));
        wrong.extend(used.difference(&allowed).map(|line| format!("Lambda needs for {function}: {line}")));
    }
    // Scheduler sends what the functions' schedules and the template's own say, with the role that they name.
    targets.insert(template.text(&template.properties("SweepSchedule")["Target"]["Arn"]));
    let sent: BTreeSet<_> = targets.iter().map(|queue| format!("sqs:SendMessage {queue}")).collect();
    assert_eq!(template.allowed("SchedulerRole"), sent);
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
