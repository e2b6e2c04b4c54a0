//! Receivers from which no answer comes.

use futures::future::join_all;
use tokio::net::{TcpSocket, TcpStream};

use super::receiver::{Receiver, Then};
use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\n";

/// Posts to receivers that take the request, say this and then do that, all at the same time. Each exchange has to end
/// with this kind of outcome, and no receiver may be sent the request twice.
async fn all_are(wanted: &str, deadline: Duration, cases: &[(&str, &str, Then)]) {
    let outcome = async |(name, first, then): &(&str, &str, Then)| {
        let receiver = Receiver::saying_then(first, *then).await;
        let exchange = post(&sender(), &receiver.url(), deadline).await;
        assert_eq!(kind(&exchange.outcome), wanted, "{name}: {exchange:?}");
        assert_eq!((receiver.connections(), receiver.requests().len()), (1, 1), "{name}");
    };
    join_all(cases.iter().map(outcome)).await;
}

#[tokio::test]
async fn a_receiver_that_does_not_come_to_an_answer_times_out_at_the_deadline() {
    let started = Instant::now();
    let cases = [
        ("never answers", "", Then::Stay),
        ("drips its head", "", Then::Drip(b"HTTP/1.1 200 OK\r\nx: yyyyyyyyyyyyy")),
        ("drips headers", OK, Then::Drip(b"x:y\r\n")),
        ("drips line breaks", "", Then::Drip(b"\r\n")),
        ("stops in its head", "HTTP/1.1 200 OK\r\nx: y\r\n", Then::Stay),
    ];
    all_are("timed_out", SECOND, &cases).await;
    assert!(started.elapsed() >= SECOND);
}

#[tokio::test]
async fn a_connection_that_breaks_before_the_head_is_over_is_a_connection_failure() {
    let cases = [
        ("closes", "", Then::Close),
        ("closes in the status line", "HTTP/1.1 20", Then::Close),
        ("closes in the headers", "HTTP/1.1 200 OK\r\ncontent-le", Then::Close),
        ("closes after an interim answer", "HTTP/1.1 100 Continue\r\n\r\n", Then::Close),
        ("resets", "", Then::Reset),
        ("resets in the headers", OK, Then::Reset),
    ];
    all_are("connection", 5 * SECOND, &cases).await;
}

#[tokio::test]
async fn what_is_not_http_is_an_invalid_response() {
    let cases = [
        ("SSH", "SSH-2.0-OpenSSH_9.6\r\n", Then::Stay),
        ("SMTP", "220 mail.example.com ESMTP\r\n", Then::Stay),
        ("a TLS alert", "\x15\x03\x01\x00\x02\x02\x46", Then::Close),
        ("HTTP/0.9", "<html>hello</html>\r\n", Then::Close),
        ("HTTP/2 unasked", "HTTP/2 200\r\n\r\n", Then::Stay),
        ("no status code", "HTTP/1.1 OK\r\n\r\n", Then::Stay),
        ("a control character in a header", "HTTP/1.1 200 OK\r\nx: \0\r\n\r\n", Then::Stay),
        ("two lengths", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", Then::Stay),
        ("noise", "", Then::Flood(b"noise")),
    ];
    all_are("invalid_response", 5 * SECOND, &cases).await;
}

#[tokio::test]
async fn at_the_deadline_the_connection_is_closed() {
    let (closed, is_closed) = tokio::sync::oneshot::channel();
    let closed = Arc::new(std::sync::Mutex::new(Some(closed)));
    let receiver = Receiver::start(move |mut peer| {
        let closed = Arc::clone(&closed);
        async move {
            peer.request().await;
            peer.closed().await;
            closed.lock().unwrap().take().unwrap().send(()).unwrap();
        }
    })
    .await;
    assert_eq!(post(&sender(), &receiver.url(), SECOND / 5).await.outcome, Outcome::TimedOut);
    tokio::time::timeout(SECOND, is_closed).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_a_connection_failure() {
    // Bound, so that nobody else listens there meanwhile.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}/", socket.local_addr().unwrap());
    let outcome = post(&sender(), &url, SECOND).await.outcome;
    let port = socket.local_addr().unwrap().port();
    let detail = Detail::new(format_args!("127.0.0.1 (IPv4) refused the connection: nobody listens on port {port}"));
    assert_eq!(outcome, Outcome::Connection { detail: detail.clone() });
    // Under a name, the address is the resolver's.
    let outcome = post(&sender(), &format!("https://receiver.example.com:{port}/"), SECOND).await.outcome;
    assert_eq!(outcome, Outcome::Connection { detail });
}

fn no_connection(port: u16) -> Detail {
    Detail::new(format_args!("no connection to 127.0.0.1 (IPv4), port {port}, within 1 second"))
}

#[tokio::test]
async fn a_receiver_that_never_accepts_ends_with_the_time_to_connect_or_the_deadline() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    // The system accepts in its place, until the queue is full.
    let mut queue = Vec::new();
    while let Ok(connected) = tokio::time::timeout(SECOND / 5, TcpStream::connect(address)).await {
        queue.push(connected.unwrap());
    }
    let sender = sender_with(Limits { connect: SECOND, ..LIMITS });
    let url = format!("http://{address}/");
    let (slow, late) = tokio::join!(post(&sender, &url, 3 * SECOND), post(&sender, &url, SECOND / 2));
    assert_eq!(slow.outcome, Outcome::Connection { detail: no_connection(address.port()) });
    assert!(slow.took < SECOND + LATE, "{slow:?}");
    assert_eq!(late.outcome, Outcome::TimedOut);
}
