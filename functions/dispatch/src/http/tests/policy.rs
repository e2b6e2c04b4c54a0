//! Where nothing is sent.

use std::io;
use std::sync::Mutex;

use futures::future::{BoxFuture, join_all};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::receiver::Receiver;
use super::tls::{Authority, NAME, answer, tls_receiver, url};
use super::*;

/// A resolver that gives these answers, one after the other, and counts them.
fn in_turn(answers: &[&[&str]]) -> (Lookup, Arc<Mutex<usize>>) {
    let answers: Vec<Vec<IpAddr>> =
        answers.iter().map(|answer| answer.iter().map(|ip| ip.parse().unwrap()).collect()).collect();
    let asked = Arc::new(Mutex::new(0));
    let count = Arc::clone(&asked);
    let lookup = move |_| {
        let mut asked = count.lock().unwrap();
        *asked += 1;
        std::future::ready(Ok(answers[*asked - 1].clone())).boxed()
    };
    (Arc::new(lookup), asked)
}

#[tokio::test]
async fn a_name_with_a_refused_address_is_refused_by_the_rule_and_not_connected_to() {
    let receiver = Receiver::saying("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let url = url(&receiver, NAME);
    for (addresses, rule) in [
        (&["127.0.0.1"][..], "Loopback"),
        (&["10.0.0.1"], "Private use"),
        (&["169.254.169.254"], "169.254.169.254"),
        (&["::ffff:127.0.0.1"], "::ffff:127.0.0.1"),
        (&["93.184.215.14", "127.0.0.1"], "Loopback"),
        (&["127.0.0.1", "93.184.215.14"], "Loopback"),
    ] {
        let sender = production(in_turn(&[addresses]).0);
        let outcome = post(&sender, &url, SECOND).await.outcome;
        let Outcome::Refused { detail, .. } = &outcome else { panic!("{addresses:?}: {outcome:?}") };
        assert!(detail.as_str().contains(rule) && detail.as_str().contains(NAME), "{addresses:?}: {detail}");
    }
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn a_url_that_breaks_the_policy_is_refused_without_asking_the_resolver() {
    let receiver = Receiver::saying("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let port = receiver.address.port();
    let (lookup, asked) = in_turn(&[]);
    let sender = production(lookup);
    let refused = [
        format!("https://127.0.0.1:{port}/"),
        format!("https://[::ffff:127.0.0.1]:{port}/"),
        format!("https://2130706433:{port}/"),
        format!("https://localhost:{port}/"),
        format!("http://{NAME}:{port}/"),
        receiver.url(),
        format!("https://{NAME}:22/"),
        "https://169.254.169.254/latest/meta-data/".to_owned(),
    ];
    let outcomes = join_all(refused.iter().map(|url| post(&sender, url, SECOND))).await;
    for (url, exchange) in refused.iter().zip(outcomes) {
        assert_eq!(kind(&exchange.outcome), "refused", "{url}: {exchange:?}");
    }
    assert_eq!((receiver.connections(), *asked.lock().unwrap()), (0, 0));
}

type Script = fn(usize, TlsStream<TcpStream>) -> BoxFuture<'static, ()>;

fn answer_http2(_: usize, stream: TlsStream<TcpStream>) -> BoxFuture<'static, ()> {
    async move { super::http2::serve(h2::server::handshake(stream).await.unwrap()).await }.boxed()
}

#[tokio::test]
async fn a_name_that_changes_its_answer_is_judged_at_each_connection_and_asked_once_for_it() {
    let scripts: [(&[u8], Script); 2] = [(b"http/1.1", answer), (b"h2", answer_http2)];
    for (protocol, script) in scripts {
        let authority = Authority::new();
        let receiver = tls_receiver(authority.acceptor(protocol, |_| {}), script).await;
        let (lookup, asked) = in_turn(&[&["127.0.0.1"], &["169.254.169.254"], &["127.0.0.1", "10.0.0.1"]]);
        let sender = authority.sender_resolving(lookup, Limits { age: Duration::ZERO, ..LIMITS });
        let mut kinds = Vec::new();
        for _ in 0..3 {
            kinds.push(kind(&post(&sender, &url(&receiver, NAME), SECOND).await.outcome));
        }
        assert_eq!(kinds, ["succeeded", "refused", "refused"]);
        assert_eq!((receiver.connections(), *asked.lock().unwrap()), (1, 3), "what was judged is what is connected to");
    }
}

#[tokio::test]
async fn a_name_without_an_address_is_a_dns_failure() {
    let unknown: Lookup = Arc::new(|_| std::future::ready(Err(io::Error::other("NXDOMAIN"))).boxed());
    for (lookup, reason) in [(unknown, "NXDOMAIN"), (always(&[]), "no address")] {
        let outcome = post(&production(lookup), &format!("https://{NAME}/"), SECOND).await.outcome;
        let Outcome::Dns { detail } = &outcome else { panic!("{outcome:?}") };
        assert!(detail.as_str().contains(reason) && detail.as_str().contains(NAME), "{detail}");
    }
}

#[tokio::test]
async fn the_systems_resolver_does_not_know_a_name_that_cannot_exist() {
    let found = super::super::resolve::system()("pombo.invalid".to_owned()).await;
    assert!(found.is_err(), "{found:?}");
    let localhost = super::super::resolve::system()("localhost".to_owned()).await.unwrap();
    assert!(!localhost.is_empty() && localhost.iter().all(IpAddr::is_loopback), "{localhost:?}");
}

#[tokio::test]
async fn a_resolver_that_stands_still_ends_with_the_time_to_connect() {
    let still: Lookup = Arc::new(|_| std::future::pending().boxed());
    let tls = tls_config(RootCertStore::empty()).unwrap();
    let limits = Limits { connect: SECOND / 2, ..LIMITS };
    let sender = HttpSender::with(AddressPolicy::production(), tls, still, limits, Clock::system());
    let exchange = post(&sender, &format!("https://{NAME}/"), 2 * SECOND).await;
    let detail = "no connection within 0 seconds: the host's name did not resolve".into();
    assert_eq!(exchange.outcome, Outcome::Connection { detail });
    assert!(exchange.took < SECOND, "{exchange:?}");
}
