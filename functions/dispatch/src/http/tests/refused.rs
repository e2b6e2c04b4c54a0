//! HTTP/2 receivers that say that they did not process a request: it is sent again, as the same attempt.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::join_all;
use h2::Reason;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::http2::{ACKNOWLEDGED, END_OF_BODY, answer, next, receiver, serve, until};
use super::receiver::Receiver;
use super::tls::{Authority, NAME, tls_receiver, url};
use super::*;

/// Ten deliveries at once; gives the outcomes, and whether one is marked as redelivered.
async fn ten_at_once(sender: &HttpSender, url: &str) -> (Vec<Outcome>, bool) {
    let exchanges = join_all((0..10).map(|_| post(sender, url, 5 * SECOND))).await;
    let redelivered = exchanges.iter().any(|exchange| exchange.redelivered);
    (exchanges.into_iter().map(|exchange| exchange.outcome).collect(), redelivered)
}

#[tokio::test]
async fn a_receiver_with_one_stream_processes_ten_deliveries_at_once_each_once() {
    static PROCESSED: AtomicUsize = AtomicUsize::new(0);
    let authority = Authority::new();
    let receiver = tls_receiver(authority.acceptor(b"h2", |_| {}), |_, stream| {
        async move {
            // h2 itself refuses the streams beyond the first.
            let mut builder = h2::server::Builder::new();
            let builder = builder.max_concurrent_streams(1);
            let mut connection = builder.handshake::<_, hyper::body::Bytes>(stream).await.unwrap();
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                tokio::spawn(async move {
                    tokio::time::sleep(SECOND / 50).await;
                    PROCESSED.fetch_add(1, Ordering::Relaxed);
                    respond.send_response(answer(200), true).unwrap();
                });
            }
        }
        .boxed()
    })
    .await;
    let sender = authority.sender(LIMITS);
    for round in 1..=2 {
        let wanted = (vec![succeeded(200); 10], false);
        assert_eq!(ten_at_once(&sender, &url(&receiver, NAME)).await, wanted, "round {round}");
        assert_eq!(PROCESSED.load(Ordering::Relaxed), 10 * round);
    }
}

/// It does not say how many streams it takes, so that it refuses on fresh connections and on kept ones.
#[tokio::test]
async fn a_receiver_that_refuses_whatever_comes_while_it_is_busy_gets_each_delivery_once() {
    static PROCESSED: AtomicUsize = AtomicUsize::new(0);
    static REFUSED: AtomicUsize = AtomicUsize::new(0);
    let (receiver, sender) = receiver(|_, mut connection| {
        async move {
            let busy = Arc::new(std::sync::atomic::AtomicBool::new(false));
            while let Some((_, mut respond)) = next(&mut connection).await {
                if busy.swap(true, Ordering::Relaxed) {
                    REFUSED.fetch_add(1, Ordering::Relaxed);
                    respond.send_reset(Reason::REFUSED_STREAM);
                    continue;
                }
                let busy = Arc::clone(&busy);
                tokio::spawn(async move {
                    tokio::time::sleep(SECOND / 10).await;
                    PROCESSED.fetch_add(1, Ordering::Relaxed);
                    busy.store(false, Ordering::Relaxed);
                    respond.send_response(answer(200), true).unwrap();
                });
            }
        }
        .boxed()
    })
    .await;
    for round in 1..=2 {
        let refused = REFUSED.load(Ordering::Relaxed);
        assert_eq!(ten_at_once(&sender, &url(&receiver, NAME)).await, (vec![succeeded(200); 10], false));
        assert_eq!(PROCESSED.load(Ordering::Relaxed), 10 * round);
        assert!(round == 1 || REFUSED.load(Ordering::Relaxed) > refused, "the kept connection refused");
    }
}

#[tokio::test]
async fn a_stream_that_is_refused_to_the_end_is_a_failed_attempt_in_time() {
    let (receiver, sender) = receiver(|_, mut connection| {
        async move {
            while let Some((_, mut respond)) = next(&mut connection).await {
                respond.send_reset(Reason::REFUSED_STREAM);
            }
        }
        .boxed()
    })
    .await;
    let exchange = post(&sender, &url(&receiver, NAME), SECOND).await;
    let Outcome::Connection { detail } = &exchange.outcome else { panic!("{exchange:?}") };
    assert!(detail.as_str().contains("refused stream") && !exchange.redelivered, "{detail}");
    assert!((3..20).contains(&receiver.connections()), "with pauses: {}", receiver.connections());
}

const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
const STATUS_200_ON_STREAM_1: &[u8] = &[0, 0, 1, 1, 5, 0, 0, 0, 1, 0x88];

/// A `GOAWAY` after which the receiver answers no stream beyond `last`, for this reason.
fn goaway(last: u8, reason: u8) -> Vec<u8> {
    [&[0, 0, 8, 7, 0, 0, 0, 0, 0][..], &[0, 0, 0, last], &[0, 0, 0, reason]].concat()
}

/// A receiver that says this on its first connection, one item for each request, and then closes; later connections it
/// serves well. Written byte by byte, since the library would count a request among those that it still answers.
async fn saying(authority: &Authority, answers: &'static [&'static [u8]]) -> Receiver {
    let acceptor = authority.acceptor(b"h2", |_| {});
    Receiver::start(move |peer| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream: TlsStream<TcpStream> = acceptor.accept(peer.stream).await.unwrap();
            if peer.number > 1 {
                return serve(h2::server::handshake(stream).await.unwrap()).await;
            }
            stream.read_exact(&mut [0; 24]).await.unwrap();
            stream.write_all(SETTINGS).await.unwrap();
            for (place, answer) in answers.iter().enumerate() {
                until(&mut stream, if place == 0 { &[END_OF_BODY, ACKNOWLEDGED] } else { &[END_OF_BODY] }).await;
                stream.write_all(answer).await.unwrap();
                stream.flush().await.unwrap();
            }
            tokio::time::sleep(SECOND / 10).await;
        }
    })
    .await
}

/// The outcome of the last of these requests, whether it is marked as redelivered, and the number of connections.
async fn last(answers: &'static [&'static [u8]]) -> (Outcome, bool, usize) {
    let authority = Authority::new();
    let (receiver, sender) = (saying(&authority, answers).await, authority.sender(LIMITS));
    let mut last = None;
    for _ in answers {
        last = Some(post(&sender, &url(&receiver, NAME), 2 * SECOND).await);
    }
    let exchange = last.unwrap();
    (exchange.outcome, exchange.redelivered, receiver.connections())
}

fn leaked(bytes: Vec<u8>) -> &'static [u8] {
    Vec::leak(bytes)
}

#[tokio::test]
async fn a_request_after_the_last_that_a_leaving_receiver_names_is_sent_again_and_not_marked() {
    for reason in [0, 11] {
        let fresh: &'static [&'static [u8]] = Vec::leak(vec![leaked(goaway(0, reason))]);
        assert_eq!(last(fresh).await, (succeeded(200), false, 2), "on a fresh connection, reason {reason}");
        let kept: &'static [&'static [u8]] = Vec::leak(vec![STATUS_200_ON_STREAM_1, leaked(goaway(1, reason))]);
        assert_eq!(last(kept).await, (succeeded(200), false, 2), "on a kept connection, reason {reason}");
    }
}

#[tokio::test]
async fn a_request_that_a_leaving_receiver_may_have_processed_is_marked_or_not_sent_again() {
    let kept: &'static [&'static [u8]] = Vec::leak(vec![STATUS_200_ON_STREAM_1, leaked(goaway(3, 0))]);
    assert_eq!(last(kept).await, (succeeded(200), true, 2), "on a kept connection");
    let fresh: &'static [&'static [u8]] = Vec::leak(vec![leaked(goaway(1, 0))]);
    let (outcome, redelivered, connections) = last(fresh).await;
    assert_eq!((kind(&outcome), redelivered, connections), ("connection", false, 1), "on a fresh connection");
}
