//! Receivers that speak HTTP/2.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::{BoxFuture, poll_fn};
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream};
use hyper::body::Bytes;
use hyper::{Request, Response};
use pombo_domain::outcome::NEWEST_ANSWER;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::receiver::Receiver;
use super::tls::{Authority, NAME, tls_receiver, url};
use super::*;

pub type Http2 = Connection<TlsStream<TcpStream>, Bytes>;

/// A receiver that does this on each connection, and a sender that trusts it.
pub async fn receiver(script: fn(usize, Http2) -> BoxFuture<'static, ()>) -> (Receiver, HttpSender) {
    let authority = Authority::new();
    let acceptor = authority.acceptor(b"h2", |_| {});
    let receiver = Receiver::start(move |peer| {
        let acceptor = acceptor.clone();
        async move {
            let stream = acceptor.accept(peer.stream).await.unwrap();
            script(peer.number, h2::server::handshake(stream).await.unwrap()).await;
        }
    });
    (receiver.await, authority.sender(LIMITS))
}

pub async fn next(connection: &mut Http2) -> Option<(Request<RecvStream>, SendResponse<Bytes>)> {
    connection.accept().await?.ok()
}

pub fn answer(status: u16) -> Response<()> {
    Response::builder().status(status).body(()).unwrap()
}

/// Answers each request with 200 and nothing more.
pub async fn serve(mut connection: Http2) {
    while let Some((_, mut respond)) = next(&mut connection).await {
        respond.send_response(answer(200), true).unwrap();
    }
}

/// Answers one request with 200; gives how to answer the next.
async fn serve_one(connection: &mut Http2) -> SendResponse<Bytes> {
    let (_, mut respond) = next(connection).await.unwrap();
    respond.send_response(answer(200), true).unwrap();
    next(connection).await.unwrap().1
}

async fn outcomes(receiver: &Receiver, sender: &HttpSender, times: usize) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for _ in 0..times {
        outcomes.push(post(sender, &url(receiver, NAME), SECOND).await.outcome);
    }
    outcomes
}

#[tokio::test]
async fn requests_arrive_whole_and_share_a_connection() {
    let (receiver, sender) = receiver(|_, mut connection| {
        async move {
            while let Some((request, mut respond)) = next(&mut connection).await {
                let (head, mut body) = request.into_parts();
                let mut names: Vec<&str> = head.headers.keys().map(|name| name.as_str()).collect();
                names.sort_unstable();
                let right = names == ["accept", "content-length", "content-type", "user-agent"]
                    && head.uri.path() == "/hook"
                    && poll_fn(|cx| body.poll_data(cx)).await.unwrap().unwrap() == BODY;
                respond.send_response(answer(if right { 200 } else { 400 }), true).unwrap();
            }
        }
        .boxed()
    })
    .await;
    assert_eq!(outcomes(&receiver, &sender, 3).await, vec![succeeded(200); 3]);
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn interim_answers_are_passed_over() {
    let (receiver, sender) = receiver(|_, mut connection| {
        async move {
            let (_, mut respond) = next(&mut connection).await.unwrap();
            respond.send_informational(answer(103)).unwrap();
            respond.send_response(answer(202), true).unwrap();
            next(&mut connection).await;
        }
        .boxed()
    })
    .await;
    assert_eq!(outcomes(&receiver, &sender, 1).await, [succeeded(202)]);
}

/// The receiver announces its leave at the very moment at which a request is on its way. Written byte by byte, since the
/// library would count that request among those that it still answers.
#[tokio::test]
async fn a_request_that_a_leaving_receiver_did_not_look_at_goes_to_a_new_connection() {
    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    const STATUS_200_ON_STREAM_1: &[u8] = &[0, 0, 1, 1, 5, 0, 0, 0, 1, 0x88];
    const GOAWAY_AFTER_STREAM_1: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
    let authority = Authority::new();
    let receiver = tls_receiver(authority.acceptor(b"h2", |_| {}), |number, mut stream| {
        async move {
            if number > 1 {
                return serve(h2::server::handshake(stream).await.unwrap()).await;
            }
            stream.read_exact(&mut [0; 24]).await.unwrap();
            stream.write_all(SETTINGS).await.unwrap();
            for answer in [STATUS_200_ON_STREAM_1, GOAWAY_AFTER_STREAM_1] {
                until(&mut stream, &[END_OF_BODY]).await;
                stream.write_all(answer).await.unwrap();
            }
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.ok();
        }
        .boxed()
    })
    .await;
    let sender = authority.sender(LIMITS);
    assert_eq!(outcomes(&receiver, &sender, 2).await, vec![succeeded(200); 2]);
    assert_eq!(receiver.connections(), 2);
}

/// The kind of the frame that ends a request's body, and the flag that says so.
pub const END_OF_BODY: (u8, u8) = (0, 1);
/// The same of the frame that acknowledges settings.
pub const ACKNOWLEDGED: (u8, u8) = (4, 1);

/// Reads frames until each of these has come, in whatever order.
pub async fn until(stream: &mut TlsStream<TcpStream>, frames: &[(u8, u8)]) {
    let mut awaited = frames.to_vec();
    while !awaited.is_empty() {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        stream.read_exact(&mut vec![0; length as usize]).await.unwrap();
        awaited.retain(|&(kind, flag)| head[3] != kind || head[4] & flag == 0);
    }
}

#[tokio::test]
async fn a_used_connection_that_breaks_is_replaced_once() {
    let (receiver, sender) = receiver(|number, mut connection| {
        async move {
            match number {
                1 => drop(serve_one(&mut connection).await),
                _ => serve(connection).await,
            }
        }
        .boxed()
    })
    .await;
    assert_eq!(outcomes(&receiver, &sender, 2).await, vec![succeeded(200); 2]);
    assert_eq!(receiver.connections(), 2);
}

#[tokio::test]
async fn a_stream_that_the_receiver_resets_is_its_answer() {
    let (receiver, sender) = receiver(|_, mut connection| {
        async move {
            serve_one(&mut connection).await.send_reset(Reason::INTERNAL_ERROR);
            next(&mut connection).await;
        }
        .boxed()
    })
    .await;
    let outcomes = outcomes(&receiver, &sender, 2).await;
    assert_eq!(outcomes.iter().map(kind).collect::<Vec<_>>(), ["succeeded", "connection"], "{outcomes:?}");
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn a_connection_on_which_a_request_timed_out_is_left_alone() {
    let (receiver, sender) = receiver(|number, mut connection| {
        async move {
            if number > 1 {
                return serve(connection).await;
            }
            let mut unanswered = Vec::new();
            while let Some(request) = next(&mut connection).await {
                unanswered.push(request);
            }
        }
        .boxed()
    })
    .await;
    assert_eq!(outcomes(&receiver, &sender, 2).await, [Outcome::TimedOut, succeeded(200)]);
    assert_eq!(receiver.connections(), 2);
}

#[tokio::test]
async fn no_more_of_an_answer_is_taken_than_is_read() {
    static SENT: AtomicUsize = AtomicUsize::new(0);
    let (receiver, sender) = receiver(|_, mut connection| {
        async move {
            let (_, mut respond) = next(&mut connection).await.unwrap();
            let mut body = respond.send_response(answer(500), false).unwrap();
            tokio::spawn(async move {
                loop {
                    body.reserve_capacity(4096);
                    let Some(Ok(room)) = poll_fn(|cx| body.poll_capacity(cx)).await else { return };
                    SENT.fetch_add(room, Ordering::Relaxed);
                    if body.send_data(vec![b'x'; room].into(), false).is_err() {
                        return;
                    }
                }
            });
            next(&mut connection).await;
        }
        .boxed()
    })
    .await;
    let exchange = post(&sender, &url(&receiver, NAME), 3 * SECOND).await;
    assert_eq!(
        (exchange.outcome, exchange.answer.map(|answer| answer.text)),
        (status(500), Some("x".repeat(NEWEST_ANSWER)))
    );
    assert!(exchange.took < SECOND);
    let sent = SENT.load(Ordering::Relaxed);
    assert!((16 * 1024..=32 * 1024).contains(&sent), "{sent} bytes");
}

#[tokio::test]
async fn what_is_not_http2_though_agreed_upon_is_an_invalid_response() {
    let authority = Authority::new();
    let receiver = tls_receiver(authority.acceptor(b"h2", |_| {}), |_, mut stream| {
        async move {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            let mut rest = Vec::new();
            drop(stream.read_to_end(&mut rest).await);
        }
        .boxed()
    })
    .await;
    let outcome = post(&authority.sender(LIMITS), &url(&receiver, NAME), SECOND).await.outcome;
    assert_eq!(kind(&outcome), "invalid_response", "{outcome:?}");
}

#[tokio::test]
async fn a_receiver_that_never_lets_the_body_through_times_out() {
    let (receiver, sender) = receiver(|_, mut connection| {
        async move {
            let mut unanswered = Vec::new();
            while let Some(request) = next(&mut connection).await {
                unanswered.push(request);
            }
        }
        .boxed()
    })
    .await;
    let url = EndpointUrl::from_stored(&url(&receiver, NAME)).unwrap();
    let exchange = sender.post(&url, SetBy::Stack, &[], vec![b'x'; 350 * 1024], SECOND).await;
    assert_eq!(exchange.outcome, Outcome::TimedOut);
    assert!(exchange.took < SECOND + LATE, "{exchange:?}");
}

#[tokio::test]
async fn an_answer_that_comes_before_the_body_was_let_through_counts() {
    let (receiver, sender) = receiver(|_, mut connection| {
        async move {
            let (_body, mut respond) = next(&mut connection).await.unwrap();
            respond.send_response(answer(413), true).unwrap();
            next(&mut connection).await;
        }
        .boxed()
    })
    .await;
    let url = EndpointUrl::from_stored(&url(&receiver, NAME)).unwrap();
    let exchange = sender.post(&url, SetBy::Stack, &[], vec![b'x'; 350 * 1024], SECOND).await;
    assert_eq!(exchange.outcome, status(413));
}
