//! Which parameters are refused, before anything is made.

use super::Template;
use pombo_tests::{Stack, scenario, unique};

/// Names and values.
type Parameters = &'static [(&'static str, &'static str)];

/// Asks the emulator, as an account, for a stack with the template's parameters and rules and no resource but a queue.
async fn create_stack(account: &str, parameters: Parameters) -> (u16, String) {
    let template = Template::with(&[]).await.json;
    let part = serde_json::json!({
        "Parameters": template["Parameters"],
        "Rules": template["Rules"],
        "Resources": {"Queue": {"Type": "AWS::SQS::Queue"}},
    });
    let mut form = vec![
        "Action=CreateStack".to_owned(),
        "Version=2010-05-15".to_owned(),
        format!("StackName={}", unique("rules")),
        format!("TemplateBody={}", percent_encoded(&part.to_string())),
    ];
    for (place, (name, value)) in parameters.iter().enumerate() {
        let member = format!("Parameters.member.{}", place + 1);
        form.push(format!("{member}.ParameterKey={name}"));
        form.push(format!("{member}.ParameterValue={}", percent_encoded(value)));
    }
    let credential = format!("AWS4-HMAC-SHA256 Credential={account}/20260101/us-east-1/cloudformation/aws4_request");
    let url = Stack::calm().await.local.emulator().unwrap().url();
    let request = reqwest::Client::builder().no_proxy().build().unwrap().post(url).body(form.join("&"));
    let request =
        request.header("content-type", "application/x-www-form-urlencoded").header("authorization", credential);
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

fn percent_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// An account of AWS, and that of emulators.
const AWS: &str = "123456789012";
const EMULATOR: &str = "000000000000";

/// Parameters that are refused before anything is made: the account, the parameters, and what is said of them.
const REFUSED: [(&str, Parameters, &str); 16] = [
    (AWS, &[("AllowLoopback", "true")], "In AWS leave it out"),
    (EMULATOR, &[("DispatchMaximumConcurrency", "1")], "DispatchMaximumConcurrency must be 2 to 1000"),
    (AWS, &[("DispatchReservedConcurrency", "5")], "needs a DispatchMaximumConcurrency"),
    (AWS, &[("JobsReservedConcurrency", "1")], "must be at least 2"),
    (EMULATOR, &[("VpcSubnetIds", "subnet-1")], "VpcSubnetIds needs VpcSecurityGroupIds"),
    (EMULATOR, &[("VpcSecurityGroupIds", "sg-1")], "VpcSecurityGroupIds needs VpcSubnetIds"),
    (EMULATOR, &[("KeyEventsBurst", "5")], "no effect without KeyEventsPerSecond"),
    (AWS, &[("DispatchTimeoutSeconds", "65")], "set it to 0, and set MaxEndpointTimeoutSeconds"),
    (AWS, &[("DeliveriesVisibilitySeconds", "95")], "set it to 0, and set MaxEndpointTimeoutSeconds"),
    (AWS, &[("JobsVisibilitySeconds", "90")], "set it to 0, and set JobsTimeoutSeconds"),
    (AWS, &[("JobsTimeoutSeconds", "61")], "in steps of 30"),
    (AWS, &[("SettleSeconds", "75")], "longer than a run of dispatch"),
    (AWS, &[("MaxEndpointTimeoutSeconds", "31")], "MaxEndpointTimeoutSeconds"),
    (AWS, &[("FirstAttemptWindowSeconds", "159")], "must be 160, 180, 240, 300, 450, 600 or 900"),
    (EMULATOR, &[("FirstAttemptWindowSeconds", "901")], "FirstAttemptWindowSeconds"),
    (AWS, &[("ClaimFirstAttempts", "yes")], "ClaimFirstAttempts"),
];

#[scenario]
async fn parameters_that_do_not_go_together_are_refused_before_anything_is_made() {
    for (account, parameters, why) in REFUSED {
        let (status, answer) = create_stack(account, parameters).await;
        assert_eq!(status, 400, "{parameters:?}: {answer}");
        assert!(answer.contains(why), "{parameters:?}: {answer}");
    }
}

/// Parameters that are taken.
const TAKEN: [(&str, Parameters); 11] = [
    (AWS, &[]),
    (AWS, &[("AllowLoopback", "false")]),
    (EMULATOR, &[("AllowLoopback", "true")]),
    (AWS, &[("DispatchMaximumConcurrency", "2")]),
    (
        AWS,
        &[("DispatchMaximumConcurrency", "5"), ("DispatchReservedConcurrency", "5"), ("JobsReservedConcurrency", "2")],
    ),
    (AWS, &[("VpcSubnetIds", "subnet-1"), ("VpcSecurityGroupIds", "sg-1")]),
    (AWS, &[("KeyEventsPerSecond", "1"), ("KeyEventsBurst", "5")]),
    (AWS, &[("MaxEndpointTimeoutSeconds", "30"), ("JobsTimeoutSeconds", "270"), ("SettleSeconds", "600")]),
    (AWS, &[("FirstAttemptWindowSeconds", "160"), ("ClaimFirstAttempts", "true")]),
    (AWS, &[("FirstAttemptWindowSeconds", "900")]),
    (
        EMULATOR,
        &[
            ("FirstAttemptWindowSeconds", "25"),
            ("DispatchTimeoutSeconds", "15"),
            ("DeliveriesVisibilitySeconds", "16"),
            ("JobsTimeoutSeconds", "15"),
            ("JobsVisibilitySeconds", "16"),
            ("SettleSeconds", "2"),
        ],
    ),
];

#[scenario]
async fn parameters_that_go_together_are_taken() {
    for (account, parameters) in TAKEN {
        let (status, answer) = create_stack(account, parameters).await;
        assert_eq!(status, 200, "{account}, {parameters:?}: {answer}");
    }
}
