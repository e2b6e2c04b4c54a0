//! The receivers that repeat what they were sent, wherever a library might repeat it once more: in an error, or in a line
//! of the log.

use super::super::receiver::Then::{Close, Flood, Stay};
use super::frames::*;
use super::misbehaving::{Case, Layer, case, over_and_over};

/// What is sent in the body and in a header of each request, and what those receivers say that can say anything.
pub const SENT: &str = "sent-secret";

/// All of them.
pub fn all() -> Vec<Case> {
    // Some of it is long once it is escaped.
    let sent = |bytes: usize| format!("{SENT}\0\u{1b}\"\\\r\n").into_bytes().into_iter().cycle().take(bytes);
    let leave = |last_stream: u8| {
        let head = [0, 0, 0, last_stream, 0, 0, 0, 2];
        frame(GOAWAY, NONE, 0, &head.into_iter().chain(sent(LARGEST - 8)).collect::<Vec<u8>>())
    };
    let http2 = |wanted, name, greeting: Vec<Vec<u8>>, first, then| Case {
        greeting: greeting.concat(),
        ..case(Layer::Http2, wanted, name, first, then)
    };
    let pong = frame(PING, ACK, 0, &[0; 8]);
    let http1 = |wanted, name, first: String| case(Layer::Http1, wanted, name, first, Stay);
    let wrong = |name, first: &str| http1("invalid_response", name, format!("HTTP/{first}\r\n\r\n"));
    let long = SENT.repeat(1000);
    let head = format!("location: {long}\r\n{SENT}: {long}\r\nretry-after: {long}\r\ncontent-encoding: {SENT}\r\n");
    let failure = format!("HTTP/1.1 500 {SENT}\r\n{head}content-type: {SENT}; charset={SENT}\r\n\r\n{long}");
    vec![
        case(Layer::Certificate, "tls", "a certificate with a hundred other names", [], Close),
        http2("timed_out", "leaves with what it was sent", vec![settings()], leave(1), Stay),
        http2("connection", "leaves and closes with what it was sent", vec![settings()], leave(1), Close),
        http2("connection", "leaves at once with what it was sent", vec![settings(), leave(0)], vec![], Stay),
        http2("connection", "refuses with what it was sent", vec![settings()], leave(0), Close),
        http2("connection", "refuses without end", vec![settings()], vec![], Flood(over_and_over(leave(0)))),
        http2("timed_out", "answers to pings without end", vec![settings()], vec![], Flood(over_and_over(pong))),
        http1("http_status 500", "says what it was sent", failure),
        wrong("a length that is what it was sent", &format!("1.1 200 OK\r\ncontent-length: {SENT}")),
        wrong("a header's name that is what it was sent", &format!("1.1 200 OK\r\n\"{SENT}\": x")),
        wrong("a version that is what it was sent", &format!("{SENT} 200 OK")),
        wrong("a code that is what it was sent", &format!("1.1 {SENT} OK")),
    ]
}
