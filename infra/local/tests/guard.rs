//! What reaches the emulator: programs on this machine do, web pages reach Function URLs only. (The same in a browser:
//! `tests/it/pages.rs`.)

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    path::PathBuf,
    time::Duration,
};

use aws_sdk_lambda::{
    primitives::Blob,
    types::{FunctionCode, InvocationType, Runtime},
};
use local::{Emulator, EmulatorOptions, Progress};

/// A Function URL's id, of the two shapes that the emulator knows. No function has it, so the emulator answers 404.
const IDS: [&str; 2] = ["abcdefghijklmnopqrstuvwxyz012345", "01234567-89ab-cdef-0123-456789abcdef"];

async fn emulator(name: &str) -> Emulator {
    let options = EmulatorOptions { name: name.to_owned(), ..EmulatorOptions::default() };
    Emulator::start(options, Progress::Quiet).await.unwrap()
}

/// The status of the answer to a request with these header lines, and the whole answer in lower case.
fn ask(emulator: &Emulator, request: &str, headers: &[String]) -> (u16, String) {
    ask_at(emulator.port(), request, headers)
}

fn ask_at(port: u16, request: &str, headers: &[String]) -> (u16, String) {
    let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut lines = vec![format!("{request} HTTP/1.1"), "connection: close".to_owned()];
    lines.extend(headers.iter().map(|line| line.replace("PORT", &port.to_string())));
    let upgrades = lines.iter().any(|line| line.starts_with("upgrade"));
    if upgrades {
        lines.remove(1);
    }
    connection.write_all(format!("{}\r\n\r\n", lines.join("\r\n")).as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = connection.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).to_lowercase();
    let status = answer.split(' ').nth(1).unwrap_or_else(|| panic!("no answer to {lines:?}")).parse().unwrap();
    (status, answer)
}

fn headers(host: &str, origin: Option<&str>, site: Option<&str>) -> Vec<String> {
    let named = |name: &str, value: Option<&str>| value.map(|value| format!("{name}: {value}"));
    let target = Some("x-amz-target: AmazonSQS.ListQueues".to_owned());
    [Some(format!("host: {host}")), named("origin", origin), named("sec-fetch-site", site), target]
        .into_iter()
        .flatten()
        .collect()
}

const HERE: [&str; 6] =
    ["127.0.0.1:PORT", "localhost:PORT", "[::1]:PORT", "LocalHost:PORT", "127.0.0.1", "localhost:1"];
const ELSEWHERE: [&str; 14] = [
    "evil.example:PORT",
    "evil.localhost:PORT",
    "localhost.:PORT",
    "localhost.evil.example:PORT",
    "127.0.0.1.evil.example",
    "127.0.0.2:PORT",
    "0.0.0.0:PORT",
    "[::]:PORT",
    "[::1].evil.example",
    "user@127.0.0.1:PORT",
    "127.0.0.1:PORT, evil.example",
    "127.0.0.1:",
    "pombo.s3.localhost:PORT",
    "",
];
const ORIGINS: [Option<&str>; 5] =
    [None, Some("null"), Some("https://evil.example"), Some("http://127.0.0.1:PORT"), Some("")];
const SITES: [Option<&str>; 6] =
    [None, Some("none"), Some("same-origin"), Some("same-site"), Some("cross-site"), Some("None")];

/// Requests that are for AWS APIs, or for the emulator's own routes.
const NO_FUNCTION: [&str; 8] = [
    "POST /",
    "GET /?Action=ListQueues",
    "GET /_ministack/health",
    "GET /_localstack/health",
    "GET /_aws/lambda-url/",
    "GET /_aws/lambda-url//path",
    "GET //_aws/lambda-url/abc/",
    "GET /x/_aws/lambda-url/abc/",
];

#[tokio::test]
async fn only_programs_on_this_machine_reach_what_is_no_function_url() {
    let emulator = emulator("guard-apis").await;
    for request in NO_FUNCTION {
        for host in HERE.into_iter().chain(ELSEWHERE) {
            for origin in ORIGINS {
                for site in SITES {
                    let (status, answer) = ask(&emulator, request, &headers(host, origin, site));
                    let case = format!("{request} with {host:?}, {origin:?}, {site:?}: {answer}");
                    let is_plain = request.starts_with("GET ") && !request.contains('?');
                    let is_from_no_page = site.is_none() || site == Some("none") && is_plain;
                    let is_allowed = HERE.contains(&host) && origin.is_none() && is_from_no_page;
                    assert_eq!(answer.contains("refused: "), !is_allowed, "{case}");
                    assert_eq!(status == 403, !is_allowed, "{case}");
                    assert!(!answer.contains("access-control-"), "{case}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_function_url_is_open_to_pages_under_its_own_names_only() {
    let emulator = emulator("guard-functions").await;
    for id in IDS {
        let (own, upper) =
            (format!("{id}.lambda-url.us-east-1.localhost"), format!("{id}.Lambda-URL.eu-west-1.LOCALHOST"));
        let with_port = format!("{own}:PORT");
        let by_path = [format!("GET /_aws/lambda-url/{id}/v1"), format!("GET /%5Faws/lambda-url/{id}")];
        // The emulator has routes of its own at the last of these, whatever the host.
        let by_host = ["GET /v1", "GET /_aws/lambda-url/other/", "POST /_ministack/reset", "GET /health"];
        let wrong = [
            format!("{own}."),
            format!("{own}.evil.example"),
            format!("evil.{own}"),
            own.replace(".localhost", ".on.aws"),
            own.replace("us-east-1", "us_east_1"),
            own.replace(id, "short"),
        ];
        let by_path = by_path.iter().flat_map(|request| HERE.map(|host| (request.as_str(), host)));
        let by_host =
            by_host.into_iter().flat_map(|request| [&own, &upper, &with_port].map(|host| (request, host.as_str())));
        for (request, host) in by_path.clone().chain(by_host) {
            for origin in ORIGINS {
                for site in SITES {
                    let (status, answer) = ask(&emulator, request, &headers(host, origin, site));
                    assert_eq!(status, 404, "{request} with {host}, {origin:?}, {site:?}: {answer}");
                    assert!(answer.contains("resourcenotfoundexception"), "{request} with {host}: {answer}");
                }
            }
        }
        for (request, _) in by_path {
            for host in ELSEWHERE.into_iter().chain(wrong.iter().map(String::as_str)) {
                let (status, answer) = ask(&emulator, request, &headers(host, None, None));
                assert_eq!(
                    (status, answer.contains("refused: the host")),
                    (403, true),
                    "{request} with {host}: {answer}"
                );
            }
        }
    }
}

#[tokio::test]
async fn requests_that_two_readers_might_read_differently_are_refused() {
    let emulator = emulator("guard-doubts").await;
    let host = |value: &str| format!("host: {value}");
    let function = format!("{}.lambda-url.us-east-1.localhost", IDS[0]);
    let socket = [
        "connection: upgrade",
        "upgrade: websocket",
        "sec-websocket-version: 13",
        "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==",
    ];
    let socket = socket.map(str::to_owned).to_vec();
    for (request, headers) in [
        ("GET /_ministack/health", vec![]),
        ("GET /_ministack/health", vec![host("127.0.0.1"), host("evil.example")]),
        ("GET /_ministack/health", vec![host("127.0.0.1"), host("127.0.0.1")]),
        ("GET /_ministack/health", vec![host(&function), host("127.0.0.1")]),
        ("GET /_ministack/health", vec![host("evil.example"), "x-forwarded-host: 127.0.0.1".to_owned()]),
        ("GET http://127.0.0.1/_ministack/health", vec![host("127.0.0.1")]),
        ("GET http://127.0.0.1/_ministack/health", vec![host("evil.example")]),
        ("OPTIONS *", vec![host("127.0.0.1")]),
        (
            "GET /_ministack/health",
            vec![host("127.0.0.1"), "sec-fetch-site: none".to_owned(), "sec-fetch-site: cross-site".to_owned()],
        ),
        ("GET /_ministack/health", vec![host("127.0.0.1"), "ORIGIN: null".to_owned()]),
        ("GET /_aws/execute-api/abcdef01/stage", [vec![host("127.0.0.1")], socket.clone()].concat()),
        ("GET /", [vec![host(&function)], socket].concat()),
    ] {
        let (status, answer) = ask(&emulator, request, &headers);
        // The HTTP library itself refuses what is malformed.
        assert!(matches!(status, 400 | 403), "{request} with {headers:?}: {answer}");
        assert!(status == 400 || answer.contains("refused: "), "{request} with {headers:?}: {answer}");
    }
}

#[tokio::test]
async fn pages_do_not_reach_the_runtime_api_of_a_function() {
    let emulator = emulator("guard-runtime").await;
    let address = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("guard-runtime-address");
    let _ = std::fs::remove_file(&address);
    start_function(&emulator, &format!("echo \"$AWS_LAMBDA_RUNTIME_API\" > '{}'\nsleep 60\n", address.display())).await;
    let mut port = None;
    for _ in 0..600 {
        let text = std::fs::read_to_string(&address).unwrap_or_default();
        port = text.trim().rsplit_once(':').map(|(_, port)| port.parse().unwrap());
        if port.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let port = port.expect("the function did not start");
    for host in HERE.into_iter().chain(ELSEWHERE) {
        for (origin, site) in [(None, None), (Some("http://127.0.0.1:1"), None), (None, Some("cross-site"))] {
            let (status, answer) = ask_at(port, "GET /other", &headers(host, origin, site));
            let expected = if HERE.contains(&host) && origin.is_none() && site.is_none() { 404 } else { 403 };
            assert_eq!(status, expected, "{host:?}, {origin:?}, {site:?}: {answer}");
        }
    }
    // A request as a page would send it does not take the event from the function.
    let next = "GET /2018-06-01/runtime/invocation/next";
    assert_eq!(ask_at(port, next, &headers("127.0.0.1:PORT", None, Some("cross-site"))).0, 403);
    let (status, event) = ask_at(port, next, &headers("127.0.0.1:PORT", None, None));
    assert!(status == 200 && event.contains(r#"{"for": "the function"}"#), "{event}");
}

/// Makes a function of a shell script, and invokes it without waiting for an answer.
async fn start_function(emulator: &Emulator, script: &str) {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    archive.start_file("bootstrap", zip::write::SimpleFileOptions::default().unix_permissions(0o755)).unwrap();
    archive.write_all(format!("#!/bin/sh\n{script}").as_bytes()).unwrap();
    let code = FunctionCode::builder().zip_file(Blob::new(archive.finish().unwrap().into_inner())).build();
    let lambda = aws_sdk_lambda::Client::new(&local::sdk_config(&emulator.url()).await);
    let function = lambda.create_function().function_name("guarded").handler("bootstrap").code(code);
    let role = "arn:aws:iam::000000000000:role/guarded";
    function.role(role).runtime(Runtime::Providedal2023).timeout(60).send().await.unwrap();
    let payload = Blob::new(r#"{"for": "the function"}"#);
    let invoke = lambda.invoke().function_name("guarded").invocation_type(InvocationType::Event);
    invoke.payload(payload).send().await.unwrap();
}
