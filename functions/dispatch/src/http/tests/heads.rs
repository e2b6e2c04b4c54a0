//! Answers with a large head: their status line decides, up to a bound that is named beyond it.

use hyper::header::{HeaderName, HeaderValue};

use super::http2::{answer, next, receiver};
use super::receiver::{Receiver, Then};
use super::*;

const X: HeaderName = HeaderName::from_static("x");

/// So many lines with values of so many bytes.
type Lines = (usize, usize);

/// An HTTP/1.1 answer with these lines, and three of its own.
fn http1(status: u16, (lines, size): Lines) -> String {
    let lines = format!("x: {}\r\n", "y".repeat(size)).repeat(lines);
    format!("HTTP/1.1 {status} X\r\nretry-after: 77\r\ncontent-length: 0\r\n{lines}\r\n")
}

const WITHIN: [Lines; 4] = [(100, 1), (997, 1), (1, 20 * 1024), (1, 200 * 1024)];

#[tokio::test]
async fn the_status_line_of_a_complete_head_decides_on_a_fresh_connection_and_on_a_kept_one() {
    for lines in WITHIN.into_iter().chain([(997, 250)]) {
        for (code, wanted) in [(200, succeeded(200)), (410, status(410)), (429, status(429))] {
            let (receiver, sender) = (Receiver::saying(http1(code, lines)).await, sender());
            for _ in 0..3 {
                let exchange = post(&sender, &receiver.url(), 5 * SECOND).await;
                assert_eq!(exchange.outcome, wanted, "{lines:?}");
                let asked = (code != 200).then(|| Duration::from_secs(77));
                assert_eq!(exchange.retry_after, asked, "{lines:?}");
            }
            assert_eq!((receiver.connections(), receiver.requests().len()), (1, 3), "each came once: {lines:?}");
        }
    }
}

#[tokio::test]
async fn the_status_line_of_a_complete_head_decides_over_http2_too() {
    // A connection for each request, and then requests on one connection.
    let (receiver, sender) = receiver(|number, mut connection| {
        async move {
            for lines in WITHIN.into_iter().chain([(997, 250)]).skip(number - 1) {
                let Some((_, mut respond)) = next(&mut connection).await else { return };
                let value = HeaderValue::try_from("y".repeat(lines.1)).unwrap();
                let mut response = answer(429);
                response.headers_mut().insert("retry-after", HeaderValue::from_static("77"));
                response.headers_mut().extend(vec![(X, value); lines.0]);
                respond.send_response(response, true).unwrap();
            }
            while next(&mut connection).await.is_some() {}
        }
        .boxed()
    })
    .await;
    for lines in WITHIN.into_iter().chain([(997, 250)]) {
        let exchange = post(&sender, &super::tls::url(&receiver, super::tls::NAME), 5 * SECOND).await;
        assert_eq!(exchange.outcome, status(429), "{lines:?}");
        assert_eq!(exchange.retry_after, Some(Duration::from_secs(77)), "{lines:?}");
    }
    assert_eq!(receiver.connections(), 1);
}

/// What an operator reads of the outcome.
fn detail(outcome: Outcome) -> String {
    match outcome {
        Outcome::InvalidResponse { detail } => detail.to_string(),
        outcome => panic!("{outcome:?}"),
    }
}

const EITHER: &str = "the head of the answer is over 256 KiB or 1,000 lines";
const MANY: &str = "the head of the answer has 1001 lines, which is over 1,000";
const LARGE: &str = "the head of the answer has 301 KiB, which is over 256 KiB";

#[tokio::test]
async fn a_larger_or_endless_head_is_an_invalid_response_that_names_the_bound() {
    let cases = [
        (http1(200, (999, 1)), Then::Stay, MANY),
        (http1(200, (1, 300 * 1024)), Then::Stay, LARGE),
        (http1(200, (5000, 1)), Then::Stay, EITHER),
        (http1(200, (1, 500 * 1024)), Then::Stay, EITHER),
        ("HTTP/1.1 200 OK\r\n".to_owned(), Then::Flood(b"x: y\r\n"), EITHER),
        ("HTTP/1.1 200 OK\r\nx: ".to_owned(), Then::Flood(b"y"), EITHER),
        ("HTTP/1.1 200 ".to_owned(), Then::Flood(b"y"), EITHER),
    ];
    for (first, then, wanted) in cases {
        let receiver = Receiver::saying_then(&first, then).await;
        let exchange = post(&sender(), &receiver.url(), 5 * SECOND).await;
        assert_eq!(detail(exchange.outcome), wanted, "{first:.60}");
        assert_eq!((receiver.connections(), receiver.requests().len()), (1, 1), "it is not sent again");
    }
}

#[tokio::test]
async fn a_larger_head_over_http2_is_an_invalid_response_that_names_the_bound() {
    const HEADS: [(Lines, &str); 4] = [
        ((1001, 1), MANY),
        ((1, 300 * 1024), LARGE),
        ((1, 600 * 1024), "the answer breaks the rules of HTTP/2, or its head is over 256 KiB or 1,000 lines"),
        ((2, 2 << 20), EITHER),
    ];
    let (receiver, sender) = receiver(|number, mut connection| {
        async move {
            let ((lines, size), _) = HEADS[number - 1];
            let mut response = answer(200);
            let value = HeaderValue::try_from("y".repeat(size)).unwrap();
            response.headers_mut().extend(vec![(X, value); lines]);
            let (_, mut respond) = next(&mut connection).await.unwrap();
            respond.send_response(response, true).unwrap();
            connection.graceful_shutdown();
            next(&mut connection).await;
        }
        .boxed()
    })
    .await;
    for (lines, wanted) in HEADS {
        let exchange = post(&sender, &super::tls::url(&receiver, super::tls::NAME), 5 * SECOND).await;
        assert_eq!(detail(exchange.outcome), wanted, "{lines:?}");
        tokio::time::sleep(SECOND / 10).await;
    }
}
