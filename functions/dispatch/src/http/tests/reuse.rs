//! Connections that are used again, and what happens when they cannot be.

use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::http2::serve;
use super::receiver::{Peer, Receiver, read_request};
use super::tls::{Authority, NAME, answer, tls_receiver, url};
use super::*;

pub const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A receiver that answers a request on its first connection, and then does this; later ones it serves well.
pub async fn first_then<F>(script: impl Fn(Peer) -> F + Send + Copy + Sync + 'static) -> Receiver
where
    F: Future<Output = ()> + Send + 'static,
{
    Receiver::start(move |mut peer| async move {
        if peer.number == 1 {
            peer.request().await;
            peer.say(OK).await;
            return script(peer).await;
        }
        while peer.request().await.is_some() {
            peer.say(OK).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_healthy_receiver_gets_its_requests_on_one_connection_successes_and_failures() {
    for answer in [
        OK,
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 503 X\r\ncontent-length: 4\r\n\r\nbusy",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ] {
        let (receiver, sender) = (Receiver::saying(answer).await, sender());
        for _ in 0..3 {
            post(&sender, &receiver.url(), SECOND).await;
        }
        assert_eq!((receiver.connections(), receiver.requests().len()), (1, 3), "{answer:?}");
    }
}

#[tokio::test]
async fn a_connection_that_was_opened_for_the_stacks_url_serves_no_tenants() {
    let (receiver, sender) = (Receiver::saying(OK).await, sender());
    let url = EndpointUrl::from_stored(&receiver.url()).unwrap();
    for (set_by, connections) in
        [(SetBy::Stack, 1), (SetBy::Stack, 1), (SetBy::Tenant, 2), (SetBy::Tenant, 2), (SetBy::Stack, 2)]
    {
        assert_eq!(sender.post(&url, set_by, &[], BODY.to_vec(), SECOND).await.outcome, succeeded(200));
        assert_eq!(receiver.connections(), connections, "{set_by:?}");
    }
}

#[tokio::test]
async fn a_connection_that_was_idle_for_more_than_four_seconds_is_not_used_again() {
    let (receiver, sender) = (Receiver::saying(OK).await, sender());
    for (pause, connections) in [(0, 1), (2000, 1), (4200, 2)] {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        assert_eq!(post(&sender, &receiver.url(), SECOND).await.outcome, succeeded(200));
        assert_eq!(receiver.connections(), connections);
    }
}

#[tokio::test]
async fn a_connection_that_is_too_old_is_not_used_again() {
    let sender = sender_with(Limits { idle: SECOND, age: 3 * SECOND / 2, ..LIMITS });
    let receiver = Receiver::saying(OK).await;
    for connections in [1, 1, 1, 2] {
        assert_eq!(post(&sender, &receiver.url(), SECOND).await.outcome, succeeded(200));
        assert_eq!(receiver.connections(), connections);
        tokio::time::sleep(Duration::from_millis(550)).await;
    }
}

#[tokio::test]
async fn an_idle_connection_that_the_receiver_closed_costs_nothing() {
    let closing = first_then(|peer| async move {
        tokio::time::sleep(SECOND).await;
        drop(peer);
    })
    .await;
    let resetting = first_then(|peer| async move {
        tokio::time::sleep(SECOND).await;
        peer.reset();
    })
    .await;
    let talking = first_then(|mut peer| async move {
        tokio::time::sleep(SECOND).await;
        peer.say("HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n\r\n").await;
    })
    .await;
    let sender = sender();
    let receivers = [closing, resetting, talking];
    for receiver in &receivers {
        assert_eq!(post(&sender, &receiver.url(), SECOND).await.outcome, succeeded(200));
    }
    tokio::time::sleep(2 * SECOND).await;
    for receiver in &receivers {
        let exchange = post(&sender, &receiver.url(), SECOND).await;
        assert_eq!((exchange.outcome, exchange.redelivered), (succeeded(200), false), "it was never sent before");
        assert_eq!((receiver.connections(), receiver.requests().len()), (2, 2), "the request came once");
    }
}

/// The receiver closes at the very moment at which the request is on its way.
#[tokio::test]
async fn a_used_connection_that_breaks_before_the_answer_is_replaced_once() {
    let closing = first_then(|mut peer| async move {
        peer.stream.read_u8().await.unwrap();
    });
    let resetting = first_then(|mut peer| async move {
        peer.stream.read_u8().await.unwrap();
        peer.reset();
    });
    let (closing, resetting, sender) = (closing.await, resetting.await, sender());
    for receiver in [closing, resetting] {
        for _ in 0..2 {
            assert_eq!(post(&sender, &receiver.url(), SECOND).await.outcome, succeeded(200));
        }
        assert_eq!((receiver.connections(), receiver.requests().len()), (2, 2), "the request came once as a whole");
    }
}

/// Receivers close what is idle after 5 seconds or what is old after 60, here a tenth of a second for each second, and
/// requests come when they do.
#[tokio::test]
async fn a_receiver_that_closes_at_the_very_time_is_charged_with_nothing() {
    let idle = Receiver::start(|mut peer| async move {
        while let Ok(Some(_)) = tokio::time::timeout(SECOND / 2, peer.request()).await {
            peer.say(OK).await;
        }
    });
    let old = Receiver::start(|mut peer| async move {
        let serve = async {
            while peer.request().await.is_some() {
                peer.say(OK).await;
            }
        };
        let _ = tokio::time::timeout(6 * SECOND, serve).await;
    });
    let limits = Limits { idle: 4 * SECOND / 10, age: 6 * SECOND, ..LIMITS };
    let (idle, old, sender) = (idle.await, old.await, sender_with(limits));
    let pauses = async |receiver: &Receiver, pauses: &mut dyn Iterator<Item = u64>| {
        for pause in pauses {
            assert_eq!(post(&sender, &receiver.url(), SECOND).await.outcome, succeeded(200), "after {pause} ms");
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    };
    let mut around_idle = (0..15).map(|step| 380 + step * 10);
    let mut until_old = std::iter::repeat_n(100, 65);
    tokio::join!(pauses(&idle, &mut around_idle), pauses(&old, &mut until_old));
    assert_eq!((idle.requests().len(), old.requests().len()), (15, 65), "each came once as a whole");
}

#[tokio::test]
async fn a_process_that_was_frozen_does_not_charge_the_receiver_for_it() {
    let (authority, name) = (Authority::new(), |receiver: &Receiver| url(receiver, NAME));
    let tls = authority.acceptor(b"http/1.1", |_| {});
    let http2 = authority.acceptor(b"h2", |_| {});
    let plain = apart(|| {
        async {
            first_then(|peer| async move {
                tokio::time::sleep(SECOND / 5).await;
                drop(peer);
            })
            .await
        }
        .boxed()
    });
    let tls = apart(move || tls_receiver(tls, closes_when_frozen).boxed());
    let http2 = apart(move || tls_receiver(http2, closes_http2_when_frozen).boxed());
    let sender = authority.sender(LIMITS);
    let receivers = [(&plain.0, plain.0.url()), (&tls.0, name(&tls.0)), (&http2.0, name(&http2.0))];
    for (_, url) in &receivers {
        assert_eq!(post(&sender, url, SECOND).await.outcome, succeeded(200));
    }
    std::thread::sleep(SECOND / 2);
    for (receiver, url) in &receivers {
        assert_eq!(post(&sender, url, SECOND).await.outcome, succeeded(200), "{url}");
        assert_eq!(receiver.connections(), 2, "{url}");
    }
}

/// Runs a receiver in a thread of its own, since it goes on while this one stands still; until the other value is dropped.
fn apart(
    start: impl FnOnce() -> BoxFuture<'static, Receiver> + Send + 'static,
) -> (Receiver, tokio::sync::oneshot::Sender<()>) {
    let (started, start_of) = std::sync::mpsc::channel();
    let (stop, stopped) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            started.send(start().await).unwrap();
            stopped.await.ok();
        });
    });
    (start_of.recv().unwrap(), stop)
}

fn closes_when_frozen(number: usize, mut stream: TlsStream<TcpStream>) -> BoxFuture<'static, ()> {
    if number > 1 {
        return answer(number, stream);
    }
    async move {
        read_request(&mut stream).await;
        stream.write_all(OK.as_bytes()).await.unwrap();
        tokio::time::sleep(SECOND / 5).await;
        stream.shutdown().await.unwrap();
    }
    .boxed()
}

fn closes_http2_when_frozen(number: usize, stream: TlsStream<TcpStream>) -> BoxFuture<'static, ()> {
    async move {
        let serve = serve(h2::server::handshake(stream).await.unwrap());
        if number == 1 {
            let _ = tokio::time::timeout(SECOND / 5, serve).await;
        } else {
            serve.await;
        }
    }
    .boxed()
}

#[tokio::test]
async fn tls_that_ends_without_a_word_is_a_closed_connection() {
    let authority = Authority::new();
    let receiver = tls_receiver(authority.acceptor(b"http/1.1", |_| {}), |number, mut stream| {
        if number > 1 {
            return answer(number, stream);
        }
        async move {
            read_request(&mut stream).await;
            stream.write_all(OK.as_bytes()).await.unwrap();
            // Reads the next request as a whole, so that TCP ends in order, and TLS not at all.
            read_request(&mut stream).await;
            drop(stream.into_inner());
        }
        .boxed()
    })
    .await;
    let sender = authority.sender(LIMITS);
    for _ in 0..2 {
        assert_eq!(post(&sender, &url(&receiver, NAME), SECOND).await.outcome, succeeded(200));
    }
    assert_eq!(receiver.connections(), 2);
}

#[tokio::test]
async fn the_second_try_has_what_is_left_of_the_deadline() {
    let receiver = Receiver::start(|mut peer| async move {
        peer.request().await;
        if peer.number == 1 {
            peer.say(OK).await;
            peer.request().await;
            tokio::time::sleep(6 * SECOND / 10).await;
        } else {
            peer.closed().await;
        }
    })
    .await;
    let sender = sender();
    assert_eq!(post(&sender, &receiver.url(), SECOND).await.outcome, succeeded(200));
    let exchange = post(&sender, &receiver.url(), SECOND).await;
    assert_eq!(exchange.outcome, Outcome::TimedOut);
    assert!(exchange.took < SECOND + LATE / 5, "{exchange:?}");
    assert_eq!(receiver.connections(), 2);
}

#[tokio::test]
async fn the_second_try_is_the_last() {
    let receiver = Receiver::start(|mut peer| async move {
        peer.request().await;
        if peer.number == 1 {
            peer.say(OK).await;
            peer.request().await;
        }
    })
    .await;
    let sender = sender();
    assert_eq!(post(&sender, &receiver.url(), SECOND).await.outcome, succeeded(200));
    let exchange = post(&sender, &receiver.url(), SECOND).await;
    assert_eq!((kind(&exchange.outcome), exchange.redelivered), ("connection", true));
    assert_eq!((receiver.connections(), receiver.requests().len()), (2, 3));
}

#[tokio::test]
async fn a_request_that_the_receiver_may_have_processed_is_sent_again_and_marked() {
    let receiver = Receiver::start(|mut peer| async move {
        while peer.request().await.is_some() {
            if peer.requests().len() == 2 {
                // It works on the request, and crashes.
                return tokio::time::sleep(SECOND / 2).await;
            }
            peer.say(OK).await;
        }
    })
    .await;
    let sender = sender();
    let mut marks = Vec::new();
    for _ in 0..3 {
        let exchange = post(&sender, &receiver.url(), 2 * SECOND).await;
        assert_eq!(exchange.outcome, succeeded(200));
        marks.push(exchange.redelivered);
    }
    assert_eq!(marks, [false, true, false]);
    assert_eq!((receiver.connections(), receiver.requests().len()), (3, 4), "each but the second came once");
}

#[tokio::test]
async fn a_new_connection_that_breaks_is_not_tried_again_even_where_others_were_healthy() {
    let broken = Arc::new(AtomicBool::new(false));
    let breaks = Arc::clone(&broken);
    let receiver = Receiver::start(move |mut peer| {
        let breaks = Arc::clone(&breaks);
        async move {
            while peer.request().await.is_some() && !breaks.load(Ordering::Relaxed) {
                peer.say("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await;
            }
        }
    })
    .await;
    let sender = sender();
    assert_eq!(post(&sender, &receiver.url(), SECOND).await.outcome, succeeded(200));
    broken.store(true, Ordering::Relaxed);
    assert_eq!(kind(&post(&sender, &receiver.url(), SECOND).await.outcome), "connection");
    assert_eq!((receiver.connections(), receiver.requests().len()), (2, 2));
}
