//! The receivers that misbehave, with the outcome of each.

use super::super::receiver::Then::{self, *};
use super::{frames::*, talkative};

/// At which layer a receiver misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// Once TCP is connected: there is no handshake.
    Tcp,
    /// In the handshake of TLS: its certificate is for a hundred other names.
    Certificate,
    /// In HTTP/1.1 over TLS, once the request has come.
    Http1,
    /// In HTTP/2 over TLS, once the request has come.
    Http2,
}

/// A receiver that says something, and then misbehaves.
pub struct Case {
    pub name: String,
    pub layer: Layer,
    /// What is said before the request comes, in HTTP/2.
    pub greeting: Vec<u8>,
    pub first: Vec<u8>,
    pub then: Then,
    /// The outcome's kind, with the status code where there is one.
    pub wanted: &'static str,
    /// What may be buffered for it.
    pub most: usize,
}

const MOST: usize = 128 * 1024;

/// `reqwest` leaves hyper's buffer for HTTP/1 at 408 KiB, and it is looked at only when it is full or a head's end is in
/// it. As it grows, it doubles, and is copied.
const MOST_OF_HYPER: usize = 3 * 408 * 1024;

/// h2 takes 256 frames of a body of one byte each, and keeps 248 bytes with each.
const MOST_OF_H2: usize = 256 * 1024;

/// h2 takes 40 frames of a head, of 16 KiB each, and copies them as they come. Of short lines, it takes 15,000, and keeps
/// some 100 bytes with each.
const MOST_OF_H2_HEAD: usize = 4 << 20;

/// h2 keeps interim answers until hyper looks for the answer, which is when the connection has had its turn: 128 reads of
/// 4 KiB, in which each byte can tell a line. A line takes 72 bytes, in a list that doubles as it grows. Neither h2 nor hyper
/// has a bound for them.
const MOST_OF_INTERIM_ANSWERS: usize = 128 * 4096 * 2 * 72;

pub fn case(layer: Layer, wanted: &'static str, name: impl Into<String>, first: impl AsRef<[u8]>, then: Then) -> Case {
    Case { name: name.into(), layer, greeting: settings(), first: first.as_ref().to_vec(), then, wanted, most: MOST }
}

/// What a receiver says again and again has to live as long as the receivers do.
pub fn over_and_over(bytes: Vec<u8>) -> &'static [u8] {
    Vec::leak(bytes)
}

impl Case {
    /// With more buffered for it than [`MOST`].
    fn up_to(self, most: usize) -> Self {
        Self { most, ..self }
    }
}

/// All of them.
pub fn all() -> Vec<Case> {
    [tcp(), http1_heads(), http1_bodies(), http2_connections(), http2_heads(), http2_bodies(), talkative::all()]
        .into_iter()
        .flatten()
        .collect()
}

fn tcp() -> Vec<Case> {
    let tcp = |wanted, name, first: &[u8], then| case(Layer::Tcp, wanted, name, first, then);
    // Records of TLS's handshake, of which the first says that its message is of 16 MiB less one.
    let hello_without_end = [&[22, 3, 3, 0x40, 0, 2, 0xff, 0xff, 0xff][..], &[0; 0x4000 - 4]].concat();
    let record_without_end = over_and_over([&[22, 3, 3, 0x40, 0][..], &[0; 0x4000]].concat());
    vec![
        tcp("timed_out", "silent in the handshake", b"", Stay),
        tcp("timed_out", "silent after a piece of the handshake", &hello_without_end[..100], Stay),
        tcp("timed_out", "drips the handshake", &hello_without_end[..9], Drip(b"\0")),
        tcp("tls", "closes in the handshake", b"", Close),
        tcp("tls", "resets in the handshake", b"", Reset),
        tcp("tls", "a handshake message without end", &hello_without_end, Flood(record_without_end)),
        tcp("tls", "empty handshake records without end", b"", Flood(&[22, 3, 3, 0, 0])),
        tcp("tls", "warnings without end", b"", Flood(&[21, 3, 3, 0, 2, 1, 112])),
        tcp("tls", "noise without end", b"", Flood(b"noise")),
        tcp("tls", "plain HTTP", b"HTTP/1.1 400 Bad Request\r\n\r\n", Stay),
    ]
}

fn http1_heads() -> Vec<Case> {
    const OK: &str = "HTTP/1.1 200 OK\r\n";
    let http1 = |wanted, name, first: &str, then| case(Layer::Http1, wanted, name, first, then);
    let long_line = over_and_over(format!("x: {}\r\n", "y".repeat(8000)).into_bytes());
    let interim = over_and_over(format!("HTTP/1.1 103 X\r\n{}\r\n", "x: y\r\n".repeat(90)).into_bytes());
    vec![
        http1("timed_out", "never answers", "", Stay),
        http1("timed_out", "drips its head", "", Drip(b"HTTP/1.1 200 OK\r\nx: yyyyyyyyyyyyy")),
        http1("timed_out", "drips headers", OK, Drip(b"x:y\r\n")),
        http1("timed_out", "stops in its head", OK, Stay),
        http1("timed_out", "interim answers without end", "", Flood(b"HTTP/1.1 100 Continue\r\n\r\n"))
            .up_to(MOST_OF_HYPER),
        http1("timed_out", "large interim answers without end", "", Flood(interim)).up_to(MOST_OF_HYPER),
        http1("invalid_response", "headers without end", OK, Flood(b"x: y\r\n")).up_to(MOST_OF_HYPER),
        http1("invalid_response", "long headers without end", OK, Flood(long_line)).up_to(MOST_OF_HYPER),
        http1("invalid_response", "a header without end", "HTTP/1.1 200 OK\r\nx: ", Flood(b"y")).up_to(MOST_OF_HYPER),
        http1("invalid_response", "a header's name without end", OK, Flood(b"y")).up_to(MOST_OF_HYPER),
        http1("invalid_response", "a status line without end", "HTTP/1.1 200 ", Flood(b"y")).up_to(MOST_OF_HYPER),
        http1("invalid_response", "line breaks without end", "", Flood(b"\r\n")).up_to(MOST_OF_HYPER),
        http1("invalid_response", "noise without end", "", Flood(b"noise")),
        http1("invalid_response", "zeros without end", "", Flood(b"\0")),
        http1("invalid_response", "another protocol", "220 mail.example.com ESMTP\r\n", Stay),
        http1("connection", "closes", "", Close),
        http1("connection", "closes in its head", "HTTP/1.1 200 OK\r\nconte", Close),
        http1("connection", "resets", "", Reset),
        http1("connection", "resets in its head", OK, Reset),
    ]
}

/// What comes after a status line, for a success and for a failure.
fn http1_bodies() -> Vec<Case> {
    let sized = "content-length: 1000000000000\r\n\r\n";
    let chunked = "transfer-encoding: chunked\r\n\r\n";
    let zip = "content-encoding: gzip\r\n\r\n\x1f\x0b\x08\0\0\0\0\0\0\x03";
    let bodies = [
        ("stops in its body", sized, Stay),
        ("drips its body", sized, Drip(b"x")),
        ("closes in its body", sized, Close),
        ("resets in its body", sized, Reset),
        ("a sized body without end", sized, Flood(b"x")),
        ("a body without end", "\r\n", Flood(b"x")),
        ("a compressed body without end", zip, Flood(b"\xec\xc1\x01\x01\0\0\0\x80\x90\xfe\xaf\xee\x08\x0a")),
        ("chunks without end", chunked, Flood(b"1\r\nx\r\n")),
        ("a chunk without end", "transfer-encoding: chunked\r\n\r\nffffffffff\r\n", Flood(b"x")),
        ("a chunk's extension without end", "transfer-encoding: chunked\r\n\r\n1;", Flood(b"x")),
        ("a chunk's size without end", chunked, Flood(b"0")),
        ("trailers without end", "transfer-encoding: chunked\r\n\r\n0\r\n", Flood(b"x: y\r\n")),
        ("a trailer without end", "transfer-encoding: chunked\r\n\r\n0\r\nx: ", Flood(b"y")),
        ("what are no chunks", chunked, Flood(b"noise\r\n")),
    ];
    let both = bodies.into_iter().flat_map(|(name, head, then)| {
        [("200", "succeeded 200"), ("500", "http_status 500")].map(|(code, wanted)| {
            let most = if name == "a chunk's size without end" { MOST_OF_HYPER } else { MOST };
            let (name, first) = (format!("{code} and then {name}"), format!("HTTP/1.1 {code} X\r\n{head}"));
            case(Layer::Http1, wanted, name, first, then).up_to(most)
        })
    });
    both.collect()
}

fn http2_connections() -> Vec<Case> {
    let http2 = |wanted, name, greeting, then| Case { greeting, ..case(Layer::Http2, wanted, name, [], then) };
    let flood = |kind, flags, stream, payload: &[u8]| Flood(over_and_over(frame(kind, flags, stream, payload)));
    let drip = over_and_over(settings().repeat(100));
    vec![
        http2("timed_out", "silent", vec![], Stay),
        http2("timed_out", "drips settings", vec![], Drip(drip)),
        http2("timed_out", "settings and nothing more", settings(), Stay),
        http2("timed_out", "no window, ever", setting(4, 0), Stay),
        http2("timed_out", "no stream, ever", setting(3, 0), Stay),
        http2("timed_out", "settings without end", settings(), flood(SETTINGS, NONE, 0, &[])),
        http2("timed_out", "pings without end", settings(), flood(PING, NONE, 0, &[0; 8])),
        http2("timed_out", "priorities without end", settings(), flood(PRIORITY, NONE, 1, &[0, 0, 0, 3, 0])),
        http2("timed_out", "frames of an unknown kind without end", settings(), flood(0xbe, NONE, 1, &[0; LARGEST])),
        http2(
            "invalid_response",
            "more window without end",
            settings(),
            flood(WINDOW_UPDATE, NONE, 0, &[0x7f, 0, 0, 0]),
        ),
        http2(
            "timed_out",
            "a little more window without end",
            settings(),
            flood(WINDOW_UPDATE, NONE, 1, &[0, 0, 0, 1]),
        ),
        http2("connection", "leaves without end", settings(), flood(GOAWAY, NONE, 0, &[0; 8])),
        http2("connection", "resets its stream without end", settings(), flood(RST_STREAM, NONE, 1, &[0, 0, 0, 2])),
        http2(
            "invalid_response",
            "resets a stream that is none",
            settings(),
            flood(RST_STREAM, NONE, 3, &[0, 0, 0, 2]),
        ),
        http2(
            "invalid_response",
            "promises without end",
            settings(),
            flood(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2, 0x82]),
        ),
        http2("invalid_response", "a frame of 16 MiB", [settings(), vec![0xff; 9]].concat(), Flood(b"x")),
        http2("invalid_response", "HTTP/1.1 in its place", b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), Stay),
        http2("connection", "closes over HTTP/2", settings(), Close),
        http2("connection", "resets over HTTP/2", settings(), Reset),
    ]
}

fn http2_heads() -> Vec<Case> {
    let http2 = |wanted, name, blocks: &[Vec<u8>], then| case(Layer::Http2, wanted, name, blocks.concat(), then);
    let flood = |kind, flags, payload: &[u8]| Flood(over_and_over(frame(kind, flags, 1, payload)));
    let begun = frame(HEADERS, NONE, 1, &status(200));
    // 400 lines, each told in one byte.
    let interim = [status(103), header_to_repeat(b"y"), vec![REPEATED; 400]].concat();
    // A table of one line of 4,000 bytes, told again in each byte that follows.
    let bomb = [status(200), header_to_repeat(&[b'y'; 4000]), vec![REPEATED; LARGEST - 5000]].concat();
    vec![
        http2("timed_out", "stops in its head over HTTP/2", std::slice::from_ref(&begun), Stay),
        http2("timed_out", "interim answers without end over HTTP/2", &[], flood(HEADERS, END_HEADERS, &status(103)))
            .up_to(MOST_OF_INTERIM_ANSWERS),
        http2("timed_out", "large interim answers without end over HTTP/2", &[], flood(HEADERS, END_HEADERS, &interim))
            .up_to(MOST_OF_INTERIM_ANSWERS),
        http2(
            "invalid_response",
            "headers without end over HTTP/2",
            std::slice::from_ref(&begun),
            flood(CONTINUATION, NONE, &header(b"y").repeat(1000)),
        )
        .up_to(MOST_OF_H2_HEAD),
        http2(
            "invalid_response",
            "long headers without end over HTTP/2",
            std::slice::from_ref(&begun),
            flood(CONTINUATION, NONE, &header(&[b'y'; 8000])),
        )
        .up_to(MOST_OF_H2_HEAD),
        http2(
            "invalid_response",
            "a header without end over HTTP/2",
            &[frame(HEADERS, NONE, 1, &[&status(200)[..], &header(&[b'y'; 1 << 20])[..100]].concat())],
            flood(CONTINUATION, NONE, &[b'y'; LARGEST]),
        )
        .up_to(MOST_OF_H2_HEAD),
        http2("invalid_response", "empty continuations without end", &[begun], flood(CONTINUATION, NONE, &[])),
        http2("invalid_response", "a line told thousands of times", &[frame(HEADERS, END_HEADERS, 1, &bomb)], Stay),
        http2("invalid_response", "what is no HPACK", &[frame(HEADERS, END_HEADERS, 1, &[0xff; 100])], Stay),
    ]
}

/// What comes after a status line over HTTP/2, for a success and for a failure.
fn http2_bodies() -> Vec<Case> {
    let flood = |kind, flags, payload: &[u8]| Flood(over_and_over(frame(kind, flags, 1, payload)));
    let padded = [&[200][..], &[0; 200]].concat();
    let bodies = [
        ("stops in its body", Stay),
        ("drips its body", Drip(over_and_over(frame(DATA, NONE, 1, b"x").repeat(100)))),
        ("closes in its body", Close),
        ("resets in its body", Reset),
        ("data without end", flood(DATA, NONE, &[b'x'; LARGEST])),
        ("bytes without end", flood(DATA, NONE, b"x")),
        ("empty data without end", flood(DATA, NONE, &[])),
        ("padding without end", flood(DATA, PADDED, &padded)),
        ("trailers without end", flood(HEADERS, NONE, &header(b"y"))),
        ("resets of its stream without end", flood(RST_STREAM, NONE, &[0, 0, 0, 8])),
        ("pings without end", Flood(over_and_over(frame(PING, NONE, 0, &[0; 8])))),
        ("trailers, and trailers without end", flood(HEADERS, END_HEADERS | END_STREAM, &header(b"y"))),
    ];
    let both = bodies.into_iter().flat_map(|(name, then)| {
        [(200, "succeeded 200"), (500, "http_status 500")].map(|(code, wanted)| {
            let first = frame(HEADERS, END_HEADERS, 1, &status(code));
            let most = if name == "bytes without end" { MOST_OF_H2 } else { MOST };
            case(Layer::Http2, wanted, format!("{code} and then {name} over HTTP/2"), first, then).up_to(most)
        })
    });
    both.collect()
}
