//! Receivers that speak TLS, and those that only should.

use futures::future::BoxFuture;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::receiver::{Peer, Receiver, read_request};
use super::*;

/// The name that every receiver's certificate is for.
pub const NAME: &str = "receiver.example.com";

/// A certificate authority and those who trust it.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A sender that trusts this authority alone, under the same name resolution as [`sender`].
    pub fn sender(&self, limits: Limits) -> HttpSender {
        self.sender_resolving(always(&[IpAddr::V4(Ipv4Addr::LOCALHOST)]), limits)
    }

    pub fn sender_resolving(&self, lookup: Lookup, limits: Limits) -> HttpSender {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        HttpSender::with(AddressPolicy::local(), tls_config(roots).unwrap(), lookup, limits, Clock::system())
    }

    /// The authority's own certificate, for another process.
    pub fn root_in_hex(&self) -> String {
        self.0.der().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What a receiver needs to present a certificate by this authority.
    pub fn acceptor(&self, protocol: &[u8], change: fn(&mut CertificateParams)) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([NAME.to_owned()]).unwrap();
        change(&mut params);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let mut config = builder.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
        config.alpn_protocols = vec![protocol.to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }
}

/// A receiver that does this once the handshake is over.
pub async fn tls_receiver(
    acceptor: TlsAcceptor,
    script: fn(usize, TlsStream<TcpStream>) -> BoxFuture<'static, ()>,
) -> Receiver {
    Receiver::start(move |Peer { stream, number, .. }| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                script(number, stream).await;
            }
        }
    })
    .await
}

/// Answers each request with 200.
pub fn answer(_: usize, mut stream: TlsStream<TcpStream>) -> BoxFuture<'static, ()> {
    async move {
        while read_request(&mut stream).await.is_some() {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        }
    }
    .boxed()
}

pub fn url(receiver: &Receiver, name: &str) -> String {
    format!("https://{name}:{}/hook", receiver.address.port())
}

fn unchanged(_: &mut CertificateParams) {}

async fn detail(change: fn(&mut CertificateParams), name: &str, trusted: bool) -> String {
    let authority = Authority::new();
    let receiver = tls_receiver(authority.acceptor(b"http/1.1", change), answer).await;
    let sender = if trusted { authority.sender(LIMITS) } else { sender() };
    match post(&sender, &url(&receiver, name), SECOND).await.outcome {
        Outcome::Tls { detail } => detail.to_string(),
        outcome => panic!("{outcome:?}"),
    }
}

#[tokio::test]
async fn a_receiver_with_a_right_certificate_gets_its_request() {
    let authority = Authority::new();
    let receiver = tls_receiver(authority.acceptor(b"http/1.1", unchanged), answer).await;
    let sender = authority.sender(LIMITS);
    for _ in 0..2 {
        assert_eq!(post(&sender, &url(&receiver, NAME), SECOND).await.outcome, succeeded(200));
    }
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn a_wrong_certificate_is_a_tls_failure_that_says_what_is_wrong() {
    let wrong_name = detail(unchanged, "other.example.com", true).await;
    assert!(wrong_name.contains("not for \"other.example.com\", only for \"receiver.example.com\""), "{wrong_name}");
    let expired = detail(|params| params.not_after = date_time_ymd(2020, 1, 1), NAME, true).await;
    assert!(expired.contains("expired"), "{expired}");
    let not_yet = detail(|params| params.not_before = date_time_ymd(4000, 1, 1), NAME, true).await;
    assert!(not_yet.contains("not valid yet"), "{not_yet}");
    let unknown = detail(unchanged, NAME, false).await;
    assert!(unknown.contains("not trusted"), "{unknown}");
}

#[tokio::test]
async fn the_system_has_certificate_authorities_and_they_do_not_know_a_strangers() {
    let receiver = tls_receiver(Authority::new().acceptor(b"http/1.1", unchanged), answer).await;
    let sender = HttpSender::new(AddressPolicy::local(), Clock::system()).unwrap();
    let url = format!("https://localhost:{}/", receiver.address.port());
    assert_eq!(kind(&post(&sender, &url, SECOND).await.outcome), "tls");
}

#[tokio::test]
async fn a_receiver_that_breaks_the_handshake_is_a_tls_failure() {
    let sender = Authority::new().sender(LIMITS);
    let plain = Receiver::start(|mut peer| async move {
        peer.say("HTTP/1.1 400 Bad Request\r\n\r\nThe plain HTTP request was sent to HTTPS port").await;
        peer.closed().await;
    });
    let closing = Receiver::start(|peer| async move { drop(peer) });
    let resetting = Receiver::start(|peer| async move { peer.reset() });
    let refusing = Receiver::start(|mut peer| async move {
        peer.say(b"\x15\x03\x03\x00\x02\x02\x46").await; // a fatal alert: protocol_version
        peer.closed().await;
    });
    let (plain, closing, resetting, refusing) = tokio::join!(plain, closing, resetting, refusing);
    for receiver in [&plain, &closing, &resetting, &refusing] {
        let outcome = post(&sender, &url(receiver, NAME), SECOND).await.outcome;
        let Outcome::Tls { detail } = &outcome else { panic!("{outcome:?}") };
        assert!(!detail.as_str().contains("http") && !detail.as_str().contains("os error"), "{detail}");
        assert_eq!(receiver.connections(), 1, "not tried again: {outcome:?}");
    }
}

#[tokio::test]
async fn a_handshake_that_stands_still_ends_with_the_time_to_connect_or_the_deadline() {
    let receiver = Receiver::start(|peer| peer.closed()).await;
    let limits = Limits { connect: SECOND, ..LIMITS };
    let sender = Authority::new().sender(limits);
    let url = url(&receiver, NAME);
    let (slow, late) = tokio::join!(post(&sender, &url, 3 * SECOND), post(&sender, &url, SECOND / 2));
    let port = receiver.address.port();
    let detail = Detail::new(format_args!("no connection to 127.0.0.1 (IPv4), port {port}, within 1 second"));
    assert_eq!(slow.outcome, Outcome::Connection { detail });
    assert!(slow.took < 3 * SECOND / 2, "{slow:?}");
    assert_eq!(late.outcome, Outcome::TimedOut);
}
