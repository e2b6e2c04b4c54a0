//! Answers that have a status line.

use futures::future::join_all;
use pombo_domain::outcome::{Answer, NEWEST_ANSWER};
use tokio::io::AsyncReadExt;

use super::receiver::{Receiver, Then};
use super::*;

/// Posts to a receiver that takes the request and says this.
async fn exchange(answer: impl AsRef<[u8]>, deadline: Duration) -> Exchange {
    let receiver = Receiver::saying(answer).await;
    post(&sender(), &receiver.url(), deadline).await
}

/// Posts to a receiver that takes the request, says this and then does that.
async fn exchange_then(first: &str, then: Then, deadline: Duration) -> Exchange {
    let receiver = Receiver::saying_then(first, then).await;
    post(&sender(), &receiver.url(), deadline).await
}

#[tokio::test]
async fn a_2xx_is_a_success_with_any_body_or_none() {
    for (answer, code) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 200),
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 200),
        ("HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 201),
        ("HTTP/1.1 204 No Content\r\n\r\n", 204),
        ("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\n\x1f\x0b\x08", 200),
        ("HTTP/1.0 202 Accepted\r\ncontent-length: 0\r\n\r\n", 202),
        ("HTTP/1.1 299 \r\ncontent-length: 0\r\n\r\n", 299),
    ] {
        let exchange = exchange(answer, SECOND).await;
        assert_eq!(exchange.outcome, succeeded(code), "{answer:?}");
        let kept = exchange.answer.map(|answer| answer.text);
        let body = ["ok", "\x1f\x0b\x08"].into_iter().find(|body| answer.contains(body));
        assert_eq!(kept.as_deref(), body, "{answer:?}");
        assert!(exchange.retry_after.is_none(), "{answer:?}");
    }
}

#[tokio::test]
async fn what_a_body_does_after_a_2xx_changes_nothing_and_is_not_waited_for() {
    let sized = "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n";
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let cases = [
        (sized, Then::Close),
        (sized, Then::Reset),
        (sized, Then::Stay),
        (sized, Then::Drip(b"x")),
        ("HTTP/1.1 200 OK\r\n\r\n", Then::Flood(b"x")),
        (chunked, Then::Flood(b"1;extension=x\r\nx\r\n")),
        (chunked, Then::Flood(b"this is no chunk\r\n\r\n")),
        (&format!("{chunked}0\r\n"), Then::Flood(b"trailer: x\r\n")),
    ];
    let started = Instant::now();
    let exchanges = join_all(cases.iter().map(|(head, then)| exchange_then(head, *then, 10 * SECOND))).await;
    for (case, exchange) in cases.iter().zip(exchanges) {
        assert_eq!(exchange.outcome, succeeded(200), "{case:?}");
    }
    assert!(started.elapsed() < 2 * SECOND, "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_2xx_counts_even_at_the_last_moment() {
    let receiver = Receiver::start(|mut peer| async move {
        peer.request().await;
        tokio::time::sleep(Duration::from_millis(850)).await;
        peer.say("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n").await;
        peer.closed().await;
    })
    .await;
    assert_eq!(post(&sender(), &receiver.url(), SECOND).await.outcome, succeeded(200));
}

#[tokio::test]
async fn interim_answers_are_passed_over() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
    let exchange = exchange(format!("{interim}{interim}HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"), SECOND).await;
    assert_eq!(exchange.outcome, succeeded(200));
}

#[tokio::test]
async fn another_status_is_a_failure_and_a_redirect_is_not_followed() {
    let elsewhere = Receiver::saying("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    for code in [101, 300, 301, 302, 303, 304, 307, 308, 400, 410, 500, 599, 999] {
        let answer = format!("HTTP/1.1 {code} X\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", elsewhere.url());
        assert_eq!(exchange(answer, SECOND).await.outcome, status(code));
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn only_a_508_that_counts_hops_ends_a_loop() {
    for (headers, outcome) in [
        ("pombo-hops: 5\r\n", Outcome::Loop),
        ("", status(508)),
        ("content-type: application/problem+json\r\n", status(508)),
        ("pombo-hops: many\r\n", status(508)),
    ] {
        let exchange = exchange(format!("HTTP/1.1 508 X\r\n{headers}content-length: 5\r\n\r\nround"), SECOND).await;
        assert_eq!((exchange.outcome, exchange.answer), (outcome, Some("round".into())), "{headers:?}");
    }
}

#[tokio::test]
async fn the_start_of_a_failures_answer_is_kept_as_it_came() {
    let answer = |body: &[u8]| {
        let head = "HTTP/1.1 500 X\r\ncontent-encoding: gzip\r\ncontent-type: text/html\r\ncontent-length: ";
        [format!("{head}{}\r\n\r\n", body.len()).as_bytes(), body].concat()
    };
    for (body, text) in [
        (b"no such table".to_vec(), Some("no such table".to_owned())),
        (b"".to_vec(), None),
        (b"caf\xe9 \xff".to_vec(), Some("caf\u{fffd} \u{fffd}".to_owned())),
        // Compressed, and so it stays.
        (b"\x1f\x8b\x08\x00".to_vec(), Some("\x1f\u{fffd}\x08\x00".to_owned())),
        (format!("x{}", "é".repeat(9000)).into_bytes(), Some(format!("x{}", "é".repeat(NEWEST_ANSWER / 2 - 1)))),
        (vec![0xff; 20_000], Some("\u{fffd}".repeat(NEWEST_ANSWER / 3))),
    ] {
        let exchange = exchange(answer(&body), SECOND).await;
        assert_eq!((exchange.outcome, exchange.answer.map(|answer| answer.text)), (status(500), text));
    }
}

#[tokio::test]
async fn a_failures_answer_that_breaks_or_drips_costs_neither_its_status_nor_what_came() {
    let head = "HTTP/1.1 503 X\r\ncontent-length: 1000\r\n\r\nbusy";
    let cases = [Then::Close, Then::Stay, Then::Drip(b".")];
    let exchanges = join_all(cases.map(|then| exchange_then(head, then, SECOND))).await;
    for (exchange, dripped) in exchanges.into_iter().zip([0..=0, 0..=0, 5..=9]) {
        assert_eq!(exchange.outcome, status(503));
        assert!(exchange.took < SECOND / 2, "to the status line");
        let Answer { text: answer, cut, bytes, .. } = exchange.answer.unwrap();
        assert_eq!((cut, bytes), (true, Some(1000)), "what came is not all");
        let rest = answer.strip_prefix("busy").unwrap();
        assert!(dripped.contains(&rest.len()) && rest.bytes().all(|byte| byte == b'.'), "{answer}");
    }
}

#[tokio::test]
async fn no_more_than_16_kib_of_a_failures_answer_are_read() {
    let started = Instant::now();
    let exchange = exchange_then("HTTP/1.1 500 X\r\n\r\n", Then::Flood(b"x"), 10 * SECOND).await;
    assert_eq!(
        (exchange.outcome, exchange.answer.as_ref().map(|answer| &*answer.text)),
        (status(500), Some(&*"x".repeat(NEWEST_ANSWER)))
    );
    assert_eq!(
        exchange.answer.map(|answer| (answer.cut, answer.bytes)),
        Some((true, None)),
        "nobody knows how long it is"
    );
    assert!(started.elapsed() < SECOND, "the rest is not waited for");
}

#[tokio::test]
async fn a_refusal_that_comes_before_the_whole_request_was_sent_is_the_answer() {
    let receiver = Receiver::start(|mut peer| async move {
        peer.stream.read_u8().await.unwrap();
        peer.say("HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: 3\r\n\r\nbig").await;
        tokio::time::sleep(SECOND / 2).await;
    })
    .await;
    let url = EndpointUrl::from_stored(&receiver.url()).unwrap();
    let exchange = sender().post(&url, SetBy::Stack, &[], vec![b'x'; 8 << 20], SECOND).await;
    assert_eq!((exchange.outcome, exchange.answer), (status(413), Some("big".into())));
}

#[tokio::test]
async fn retry_after_is_told_in_seconds_or_as_a_date() {
    for (value, wanted) in [("120", 120), ("Fri, 31 Dec 1999 23:59:59 GMT", 0), ("99999999999999", 99_999_999_999_999)]
    {
        let exchange =
            exchange(format!("HTTP/1.1 429 X\r\nretry-after: {value}\r\ncontent-length: 0\r\n\r\n"), SECOND).await;
        assert_eq!((exchange.outcome, exchange.retry_after), (status(429), Some(Duration::from_secs(wanted))));
    }
    for value in ["soon", "\u{ff}"] {
        let exchange = exchange(format!("HTTP/1.1 429 X\r\nretry-after: {value}\r\n\r\n"), SECOND / 5).await;
        assert_eq!((exchange.outcome, exchange.retry_after), (status(429), None));
    }
}

#[tokio::test]
async fn of_several_retry_afters_the_first_valid_one_counts_and_fractions_round_up() {
    for (headers, wanted) in [
        ("retry-after: 120, 60", 120),
        ("retry-after: 120\r\nretry-after: 60", 120),
        ("retry-after: soon\r\nretry-after: 60", 60),
        ("retry-after: soon, 60", 60),
        ("retry-after: 30.5", 31),
    ] {
        let answer = format!("HTTP/1.1 429 X\r\n{headers}\r\ncontent-length: 0\r\n\r\n");
        let exchange = exchange(answer, SECOND).await;
        assert_eq!(exchange.retry_after, Some(Duration::from_secs(wanted)), "{headers}");
    }
}

#[tokio::test]
async fn a_redirect_tells_where_it_leads_to_and_nothing_else_does() {
    let location = async |code: u16| {
        let answer =
            format!("HTTP/1.1 {code} X\r\nlocation: https://b.example/\x7f\tx\u{85}\r\ncontent-length: 0\r\n\r\n");
        exchange(answer.replace('\x7f', ""), SECOND).await.answer.and_then(|answer| answer.location)
    };
    for code in [301, 302, 307, 308] {
        assert_eq!(location(code).await.as_deref(), Some("https://b.example/\\u0009x\\u0085"), "{code}");
    }
    for code in [200, 201, 400, 503] {
        assert_eq!(location(code).await, None, "{code}");
    }
}

#[tokio::test]
async fn an_answer_is_decoded_as_declared_and_marked_where_it_is_cut() {
    let answer = |charset: &str, body: &[u8]| {
        let head = format!("HTTP/1.1 500 X\r\ncontent-type: text/plain; charset={charset}\r\ncontent-length: ");
        [format!("{head}{}\r\n\r\n", body.len()).as_bytes(), body].concat()
    };
    let of = |text: &str, cut, bytes| Some(Answer { text: text.to_owned(), cut, bytes, ..Answer::default() });
    for (charset, body, wanted) in [
        ("ISO-8859-1", b"caf\xe9".to_vec(), of("café", false, Some(4))),
        ("utf-8", "café".into(), of("café", false, None)),
        ("shift_jis", b"\x82\xb1".to_vec(), of("こ", false, Some(2))),
        ("utf-16le", b"n\0o\0".to_vec(), of("no", false, Some(4))),
        ("utf-8", vec![b'x'; 5000], of(&"x".repeat(NEWEST_ANSWER), true, Some(5000))),
        ("latin1", vec![0xe9; 5000], of(&"é".repeat(NEWEST_ANSWER / 2), true, Some(5000))),
    ] {
        let exchange = exchange(answer(charset, &body), SECOND).await;
        assert_eq!((exchange.outcome, exchange.answer), (status(500), wanted), "{charset}");
    }
}
