//! Who may call the functions, as the template's expansion says it: the emulator enforces none of it. (What the functions
//! may do: `tests/it/template`.)

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;

use serde_json::Value;

/// The permissions on functions that stand under these parameters, one line each.
async fn permissions(parameters: &[(&str, &str)]) -> BTreeSet<String> {
    let template = local::translate(parameters).await.unwrap();
    resources(&template, parameters, "AWS::Lambda::Permission")
        .into_iter()
        .map(|permission| {
            let of =
                |name: &str| permission.get(name).map(|value| value.as_str().map_or(value.to_string(), str::to_owned));
            let function = permission["FunctionName"]["Ref"].as_str().unwrap();
            let known = ["FunctionName", "Action", "Principal", "FunctionUrlAuthType", "InvokedViaFunctionUrl"];
            for name in permission.as_object().unwrap().keys() {
                assert!(known.contains(&name.as_str()), "{function} has a permission with {name}");
            }
            let bound = match (of("FunctionUrlAuthType"), of("InvokedViaFunctionUrl")) {
                (Some(auth), None) => format!("the auth type is {auth}"),
                (None, Some(via)) => format!("via the URL is {via}"),
                bounds => panic!("{function} has a permission bound by {bounds:?}"),
            };
            format!("{} may {} {function} if {bound}", of("Principal").unwrap(), of("Action").unwrap())
        })
        .collect()
}

/// The properties of all resources of a type whose condition holds.
fn resources<'a>(template: &'a Value, parameters: &[(&str, &str)], kind: &str) -> Vec<&'a Value> {
    let all = template["Resources"].as_object().unwrap().values();
    let of_kind = all.filter(|resource| resource["Type"] == kind);
    let standing = of_kind.filter(|resource| match resource["Condition"].as_str() {
        Some(name) => holds(template, parameters, &template["Conditions"][name]),
        None => true,
    });
    standing.map(|resource| &resource["Properties"]).collect()
}

/// Evaluates a condition: `Fn::Equals`, `Fn::Not`.
fn holds(template: &Value, parameters: &[(&str, &str)], condition: &Value) -> bool {
    if let Some(negated) = condition.get("Fn::Not") {
        return !holds(template, parameters, &negated[0]);
    }
    let equal = condition["Fn::Equals"].as_array().unwrap();
    let value = |side: &Value| match side["Ref"].as_str() {
        Some(name) => {
            let given = parameters.iter().find(|(parameter, _)| *parameter == name);
            given.map_or_else(|| template["Parameters"][name]["Default"].clone(), |(_, value)| Value::from(*value))
        }
        None => side.clone(),
    };
    value(&equal[0]) == value(&equal[1])
}

/// The parameters that close a URL to the public, in the order of the functions in the tests.
const AUTHS: [&str; 3] = ["IngestAuth", "ReplayAuth", "EndpointsAuth"];

/// The two permissions that AWS wants for a URL that anybody may call.
fn public(function: &str) -> [String; 2] {
    [
        format!("* may lambda:InvokeFunctionUrl {function} if the auth type is NONE"),
        format!("* may lambda:InvokeFunction {function} if via the URL is true"),
    ]
}

#[tokio::test]
async fn with_keys_the_public_may_call_the_three_urls_and_nothing_else() {
    let expected = ["IngestFunction", "ReplayFunction", "EndpointsFunction"].iter().flat_map(|name| public(name));
    assert_eq!(permissions(&[]).await, expected.clone().collect());
    assert_eq!(permissions(&[("IngestAuth", "NONE")]).await, expected.collect());
}

#[tokio::test]
async fn with_iam_the_public_may_not_call_that_url() {
    let functions = ["IngestFunction", "ReplayFunction", "EndpointsFunction"];
    for (parameter, closed) in AUTHS.into_iter().zip(functions) {
        let expected = functions.iter().filter(|function| **function != closed).flat_map(|name| public(name));
        assert_eq!(permissions(&[(parameter, "AWS_IAM")]).await, expected.collect(), "{parameter}");
    }
    assert_eq!(permissions(&AUTHS.map(|parameter| (parameter, "AWS_IAM"))).await, BTreeSet::new());
}

#[tokio::test]
async fn each_url_has_the_auth_type_that_its_permissions_are_for() {
    for auth in ["NONE", "AWS_IAM"] {
        let template = local::translate(&AUTHS.map(|parameter| (parameter, auth))).await.unwrap();
        let urls: BTreeSet<String> = resources(&template, &[], "AWS::Lambda::Url")
            .into_iter()
            .map(|url| format!("{} {}", url["TargetFunctionArn"]["Ref"].as_str().unwrap(), url["AuthType"]))
            .collect();
        let expected =
            ["Ingest", "Replay", "Endpoints"].map(|name| format!(r#"{name}Function {{"Ref":"{name}Auth"}}"#));
        assert_eq!(urls, BTreeSet::from(expected));
    }
}

#[tokio::test]
async fn each_function_knows_how_its_callers_prove_who_they_are() {
    let template = local::translate(&[]).await.unwrap();
    for name in ["Ingest", "Replay", "Endpoints"] {
        let variables = &template["Resources"][format!("{name}Function")]["Properties"]["Environment"]["Variables"];
        let known = &variables[format!("{}_AUTH", name.to_uppercase())];
        assert_eq!(known["Ref"], format!("{name}Auth"), "{name}");
    }
}
