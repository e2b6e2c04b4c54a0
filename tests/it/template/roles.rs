//! Who may do what. The table repeats the template on purpose: a role that may do more, or less, is a change made twice.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{FUNCTIONS, Template};
use pombo_tests::scenario;

const KEY: &str = "arn:aws:kms:us-east-1:111122223333:key/abc";

/// The lines of a table: `actions: resources`, both separated by spaces.
fn lines(table: &[&str]) -> BTreeSet<String> {
    let line = |line: &&str| {
        let (actions, resources) = line.split_once(": ").unwrap();
        let actions = actions.split(' ').map(ToOwned::to_owned).collect::<Vec<_>>();
        let resources = resources.split(' ').map(ToOwned::to_owned).collect::<Vec<_>>();
        actions
            .into_iter()
            .flat_map(move |action| resources.clone().into_iter().map(move |to| format!("{action} {to}")))
    };
    table.iter().flat_map(line).collect::<Vec<_>>().into_iter().collect()
}

const SCHEDULES: &str = "scheduler:CreateSchedule arn:${AWS::Partition}:scheduler:${AWS::Region}:${AWS::AccountId}:schedule/${ScheduleGroup}/*";
const PASS_ROLE: &str = "iam:PassRole SchedulerRole if iam:PassedToService is scheduler.amazonaws.com";

const NOT_ITS_OWN_CODE: &str = "denied ec2:* * if lambda:SourceFunctionArn is arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:*";

const HEALTH: &str = "dynamodb:PutItem EndpointsTable if dynamodb:LeadingKeys is ep_*#health";
const MISSED: &str = "dynamodb:PutItem EndpointsTable if dynamodb:LeadingKeys is ep_*#missed";
const SLOTS: &str = "dynamodb:UpdateItem EndpointsTable if dynamodb:LeadingKeys is ep_*#rate";

/// What each role may do, and what else that has a condition or an ARN of its own.
const ROLES: [(&str, &[&str], &[&str]); 6] = [
    (
        "IngestRole",
        &[
            "dynamodb:GetItem: RoutingTable ApiKeysTable",
            "dynamodb:PutItem: EventsTable",
            "sqs:SendMessage: DeliveriesQueue",
            "logs:CreateLogStream logs:PutLogEvents: IngestLogGroup",
        ],
        &[],
    ),
    (
        "DispatchRole",
        &[
            "dynamodb:GetItem: RoutingTable EndpointsTable EventsTable DeliveriesTable",
            "dynamodb:BatchGetItem: EndpointsTable",
            "dynamodb:PutItem: EventsTable DeliveriesTable JobsTable",
            "sqs:SendMessage: DeliveriesQueue DeliveriesDeadLetterQueue JobsQueue",
            "sqs:ReceiveMessage sqs:DeleteMessage sqs:GetQueueAttributes: DeliveriesQueue",
            "logs:CreateLogStream logs:PutLogEvents: DispatchLogGroup",
            "ec2:CreateNetworkInterface ec2:DeleteNetworkInterface ec2:DescribeNetworkInterfaces: *",
            "ec2:AssignPrivateIpAddresses ec2:UnassignPrivateIpAddresses ec2:DescribeSubnets: *",
        ],
        &[SCHEDULES, PASS_ROLE, HEALTH, SLOTS, NOT_ITS_OWN_CODE],
    ),
    (
        "JobsRole",
        &[
            "dynamodb:GetItem: RoutingTable EndpointsTable EventsTable DeliveriesTable JobsTable",
            "dynamodb:BatchGetItem: EndpointsTable EventsTable DeliveriesTable",
            "dynamodb:Query: DeliveriesTable DeliveriesTable/index/by_endpoint DeliveriesTable/index/by_tenant",
            "dynamodb:Query: DeliveriesTable/index/by_stack DeliveriesTable/index/by_due JobsTable/index/by_due",
            "dynamodb:Query: EventsTable/index/by_due EventsTable/index/by_time",
            "dynamodb:PutItem: RoutingTable EndpointsTable EventsTable DeliveriesTable JobsTable",
            "dynamodb:UpdateItem: EventsTable",
            "sqs:SendMessage: DeliveriesQueue JobsQueue",
            "sqs:ReceiveMessage sqs:DeleteMessage: JobsQueue DeliveriesDeadLetterQueue JobsDeadLetterQueue",
            "sqs:GetQueueAttributes: JobsQueue DeliveriesQueue",
            "logs:CreateLogStream logs:PutLogEvents: JobsLogGroup",
        ],
        &[SCHEDULES, PASS_ROLE],
    ),
    (
        "ReplayRole",
        &[
            "dynamodb:GetItem: RoutingTable EndpointsTable EventsTable DeliveriesTable ApiKeysTable JobsTable",
            "dynamodb:BatchGetItem: EndpointsTable EventsTable DeliveriesTable JobsTable",
            "dynamodb:Query: DeliveriesTable DeliveriesTable/index/by_endpoint DeliveriesTable/index/by_tenant",
            "dynamodb:Query: DeliveriesTable/index/by_stack EventsTable/index/by_time JobsTable JobsTable/index/by_time",
            "dynamodb:PutItem: DeliveriesTable JobsTable",
            "sqs:SendMessage: DeliveriesQueue JobsQueue",
            "sqs:ReceiveMessage sqs:ChangeMessageVisibility: DeliveriesDeadLetterQueue JobsDeadLetterQueue",
            "sqs:GetQueueAttributes: DeliveriesDeadLetterQueue JobsDeadLetterQueue",
            "logs:CreateLogStream logs:PutLogEvents: ReplayLogGroup",
        ],
        &[HEALTH, MISSED],
    ),
    (
        "EndpointsRole",
        &[
            "dynamodb:GetItem: RoutingTable EndpointsTable ApiKeysTable",
            "dynamodb:BatchGetItem: EndpointsTable",
            "dynamodb:PutItem: RoutingTable EndpointsTable ApiKeysTable EventsTable JobsTable",
            "dynamodb:ConditionCheckItem dynamodb:DeleteItem: ApiKeysTable",
            "dynamodb:Query: ApiKeysTable ApiKeysTable/index/by_owner EndpointsTable/index/by_status EventsTable/index/by_time",
            "sqs:SendMessage: DeliveriesQueue JobsQueue",
            "logs:CreateLogStream logs:PutLogEvents: EndpointsLogGroup",
        ],
        &[],
    ),
    ("SchedulerRole", &["sqs:SendMessage: DeliveriesQueue JobsQueue"], &[]),
];

#[scenario]
async fn each_role_may_do_what_the_table_says_and_nothing_else() {
    let template = Template::with(&[]).await;
    assert_eq!(template.names("AWS::IAM::Role"), ROLES.iter().map(|(role, ..)| *role).collect());
    for (role, table, others) in ROLES {
        let mut expected = lines(table);
        expected.extend(others.iter().map(|line| (*line).to_owned()));
        assert_eq!(template.allowed(role), expected, "{role}");
    }
}

#[scenario]
async fn with_a_key_each_role_may_use_it_through_the_services_that_hold_the_data() {
    let (template, without) = (Template::with(&[("KmsKeyArn", KEY)]).await, Template::with(&[]).await);
    for (role, ..) in ROLES {
        let mut services = "dynamodb.${AWS::Region}.amazonaws.com or sqs.${AWS::Region}.amazonaws.com";
        let mut actions = vec!["Decrypt", "DescribeKey", "Encrypt", "GenerateDataKey*", "ReEncrypt*"];
        if role == "SchedulerRole" {
            (services, actions) = ("sqs.${AWS::Region}.amazonaws.com", vec!["Decrypt", "GenerateDataKey"]);
        }
        let mut expected = without.allowed(role);
        expected.extend(actions.iter().map(|action| format!("kms:{action} {KEY} if kms:ViaService is {services}")));
        assert_eq!(template.allowed(role), expected, "{role}");
    }
    for (kind, name) in [("AWS::DynamoDB::Table", "SSESpecification"), ("AWS::SQS::Queue", "KmsMasterKeyId")] {
        for resource in template.names(kind) {
            let of = |template: &Template| {
                let value = template.standing(&template.properties(resource)[name]).cloned()?;
                Some(template.text(value.get("KMSMasterKeyId").unwrap_or(&value)))
            };
            assert_eq!(of(&template).as_deref(), Some(KEY), "{resource}");
            assert_eq!(of(&without), None, "{resource}");
        }
    }
}

#[scenario]
async fn logs_and_alarms_have_a_key_of_their_own_if_one_is_given() {
    let of = async |parameter| {
        let template = Template::with(&[(parameter, KEY), ("AlarmEmail", "ops@example.com")]).await;
        let mut keys = BTreeSet::new();
        for (kind, name) in [("AWS::Logs::LogGroup", "KmsKeyId"), ("AWS::SNS::Topic", "KmsMasterKeyId")] {
            for resource in template.names(kind) {
                let key = template.standing(&template.properties(resource)[name]).map(|key| template.text(key));
                keys.insert((resource.to_owned(), key));
            }
        }
        keys
    };
    let (given, without) = (of("LogsKmsKeyArn").await, of("KmsKeyArn").await);
    assert_eq!(given.len(), FUNCTIONS.len() + 1);
    assert!(given.iter().all(|(_, key)| key.as_deref() == Some(KEY)), "{given:?}");
    assert!(without.iter().all(|(_, key)| key.is_none()), "the services may not use that key: {without:?}");
}

#[scenario]
async fn ingest_may_write_the_buckets_of_callers_where_there_is_a_limit_and_no_event() {
    let (template, without) = (Template::with(&[("KeyEventsPerSecond", "5")]).await, Template::with(&[]).await);
    for (role, ..) in ROLES {
        let mut expected = without.allowed(role);
        if role == "IngestRole" {
            expected.insert("dynamodb:UpdateItem EventsTable if dynamodb:LeadingKeys is ~rate#*".to_owned());
        }
        assert_eq!(template.allowed(role), expected, "{role}");
    }
}

const SUBNETS: [(&str, &str); 2] = [("VpcSubnetIds", "subnet-1,subnet-2"), ("VpcSecurityGroupIds", "sg-1")];

#[scenario]
async fn in_a_vpc_dispatch_alone_has_network_interfaces_which_its_own_code_may_not_touch() {
    let (template, without) = (Template::with(&SUBNETS).await, Template::with(&[]).await);
    for function in FUNCTIONS {
        let config = |template: &Template| {
            let config = &template.properties(&format!("{function}Function"))["VpcConfig"];
            let config = template.standing(config)?;
            let ids = |name: &str| template.standing(&config[name]).map(|ids| ids["Fn::Split"].clone());
            Some([ids("SubnetIds"), ids("SecurityGroupIds")])
        };
        let ids = |name: &str| Some(serde_json::json!([",", {"Ref": name}]));
        let expected = [ids("VpcSubnetIds"), ids("VpcSecurityGroupIds")];
        assert_eq!(config(&template), (function == "Dispatch").then_some(expected), "{function}");
        assert_eq!(config(&without), None, "{function}");
    }
    for (role, ..) in ROLES {
        assert_eq!(template.allowed(role), without.allowed(role), "{role}");
    }
}

/// Lambda deletes the interfaces up to 20 minutes after the function has left the VPC.
#[scenario]
async fn the_right_to_network_interfaces_is_there_before_the_function_and_goes_after_it() {
    let template = Template::with(&[]).await;
    let policy = &template.json["Resources"]["DispatchNetworkPolicy"];
    assert_eq!((&policy["Type"], &policy["Condition"]), (&"AWS::IAM::Policy".into(), &Value::Null));
    assert_eq!(template.texts(&policy["Properties"]["Roles"]), ["DispatchRole"]);
    let depends_on = &template.json["Resources"]["DispatchFunction"]["DependsOn"];
    assert!(template.texts(depends_on).contains(&"DispatchNetworkPolicy".to_owned()), "{depends_on}");
    assert!(!template.properties("DispatchRole")["Policies"].to_string().contains("ec2:"), "it would go first");
}

#[scenario]
async fn each_function_has_its_role_which_only_lambda_takes_on() {
    let template = Template::with(&[]).await;
    assert_eq!(template.names("AWS::Lambda::Function").len(), FUNCTIONS.len());
    for function in FUNCTIONS {
        let role = format!("{function}Role");
        assert_eq!(template.text(&template.properties(&format!("{function}Function"))["Role"]), role);
        let trust = &template.properties(&role)["AssumeRolePolicyDocument"]["Statement"];
        let expected = serde_json::json!([
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ]);
        assert_eq!(*trust, expected, "{role}");
    }
}

#[scenario]
async fn scheduler_takes_on_its_role_for_the_stack_s_own_group_only() {
    let template = Template::with(&[]).await;
    let trust = &template.properties("SchedulerRole")["AssumeRolePolicyDocument"]["Statement"];
    assert_eq!(trust.as_array().unwrap().len(), 1, "no way around the condition");
    assert_eq!((&trust[0]["Effect"], &trust[0]["Action"]), (&"Allow".into(), &"sts:AssumeRole".into()));
    assert_eq!(trust[0]["Principal"], serde_json::json!({"Service": "scheduler.amazonaws.com"}));
    let expected = " if aws:SourceAccount is AWS::AccountId if aws:SourceArn is ScheduleGroup";
    assert_eq!(template.condition(&trust[0]["Condition"]), expected);
    let sweep = template.properties("SweepSchedule");
    assert_eq!(template.text(&sweep["GroupName"]), "ScheduleGroup");
    assert_eq!(template.text(&sweep["Target"]["RoleArn"]), "SchedulerRole");
}

/// The places where a value names everybody.
fn everybodys(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                everybodys(field, &format!("{path}/{name}"), found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| everybodys(value, path, found)),
        Value::String(text) if text == "*" => drop(found.insert(path.to_owned())),
        _ => {}
    }
}

#[scenario]
async fn nothing_is_open_to_everybody_but_by_the_permissions_of_the_urls() {
    for auth in ["NONE", "AWS_IAM"] {
        let given = ["IngestAuth", "ReplayAuth", "EndpointsAuth"].map(|parameter| (parameter, auth));
        let template = Template::with(&given).await;
        let mut found = BTreeSet::new();
        everybodys(&template.json["Resources"], "", &mut found);
        let permissions = template.names("AWS::Lambda::Permission");
        let mut expected: BTreeSet<_> =
            permissions.iter().map(|name| format!("/{name}/Properties/Principal")).collect();
        // Network interfaces: the table above says which actions, and that they are not for the function's code.
        expected.insert("/DispatchNetworkPolicy/Properties/PolicyDocument/Statement/Resource".to_owned());
        // Pages of any origin may call with a key: the test in `resources` says how.
        expected.insert("/EndpointsFunctionUrl/Properties/Cors/AllowOrigins".to_owned());
        assert_eq!(found, expected);
        // A new kind of resource may bring a policy of its own: look at it, then add it.
        let resources = template.json["Resources"].as_object().unwrap().values();
        let kinds: BTreeSet<_> = resources.map(|resource| resource["Type"].as_str().unwrap()).collect();
        let expected = [
            "AWS::CloudWatch::Alarm",
            "AWS::CloudWatch::Dashboard",
            "AWS::DynamoDB::Table",
            "AWS::IAM::Policy",
            "AWS::IAM::Role",
            "AWS::Lambda::EventSourceMapping",
            "AWS::Lambda::Function",
            "AWS::Lambda::Permission",
            "AWS::Lambda::Url",
            "AWS::Logs::LogGroup",
            "AWS::SNS::Topic",
            "AWS::SQS::Queue",
            "AWS::Scheduler::Schedule",
            "AWS::Scheduler::ScheduleGroup",
        ];
        assert_eq!(kinds, BTreeSet::from(expected));
    }
}
