//! Receivers over TLS that repeat what they were sent in places that are no answer: where HTTP/2 and certificates have
//! room for a text, and where a library may put the text into an error or a line of its own.

use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pombo_tests::{SOON, Stack, eventually, unique};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use reqwest::Method;
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::access::flows::{done, secret};

/// Number of names in a certificate with many.
const NAMES: usize = 100;
/// The kinds of HTTP/2 frames that matter here (RFC 9113, section 6), and a flag of theirs.
const DATA: u8 = 0;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
/// The largest payload that may be sent unasked.
const LARGEST: usize = 16 * 1024;

/// A certificate authority, whose certificate is in a file.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: String,
}

impl Authority {
    /// The one of this process.
    pub fn get() -> &'static Self {
        static AUTHORITY: OnceLock<Authority> = OnceLock::new();
        AUTHORITY.get_or_init(|| {
            let mut params = CertificateParams::new([]).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
            let file = std::env::temp_dir().join(format!("{}.pem", unique("pombo-test-authority")));
            let der = STANDARD.encode(issuer.der());
            std::fs::write(&file, format!("-----BEGIN CERTIFICATE-----\n{der}\n-----END CERTIFICATE-----\n")).unwrap();
            Self { issuer, file: file.to_str().unwrap().to_owned() }
        })
    }

    /// What makes a function trust it, and nobody else.
    pub fn environment(&self) -> (String, String) {
        ("SSL_CERT_FILE".to_owned(), self.file.clone())
    }

    fn acceptor(&self, protocol: &[u8], names: Vec<SanType>) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.subject_alt_names = names;
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let mut config = builder.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
        config.alpn_protocols = vec![protocol.to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }
}

/// An attempt at each of them, on a stack whose functions trust the [`Authority`].
pub async fn attempts(stack: &Stack) {
    let (leaving, misnamed) = (leaving().await, misnamed(&secret(stack, "name")).await);
    for (host, kind, says) in [(leaving, "connection", "gave the connection up"), (misnamed, "tls", "and 97 more")] {
        let tenant = unique("t");
        let endpoint = json!({
            "tenant": tenant, "url": format!("https://{host}/?token={}", secret(stack, "query")), "event_types": ["*"],
            "headers": {"x-api-key": secret(stack, "header")}, "retry_policy": {"delays_seconds": [600]},
            "timeout_seconds": 2,
        });
        let endpoint = done(&stack.local.endpoints(), Method::POST, "/v1/endpoints", Some(endpoint)).await;
        stack.keep_secret(endpoint["secret"].as_str().unwrap());
        let data = json!({"password": secret(stack, "data")});
        let event = stack.post(&json!({"type": "student.created", "tenant": tenant, "data": data})).await;
        let delivery = eventually("the attempt", SOON, || async {
            let delivery = stack.delivery(&tenant, event["id"].as_str().unwrap()).await;
            (delivery["status"] == "retrying").then_some(delivery)
        })
        .await;
        let outcome = &delivery["attempts"][0]["outcome"];
        assert!(outcome["kind"] == kind && outcome["detail"].as_str().unwrap().contains(says), "{delivery}");
    }
}

/// A receiver that gives up each HTTP/2 connection, with the body of the request in its `GOAWAY`. Gives its host and port.
async fn leaving() -> String {
    let acceptor = Authority::get().acceptor(b"h2", vec![SanType::IpAddress([127, 0, 0, 1].into())]);
    listen(acceptor, |mut stream| async move {
        let body = request_body(&mut stream).await?;
        // No stream was processed, error 2.
        let reason = [0, 0, 0, 0, 0, 0, 0, 2];
        let debug_data = body.iter().copied().cycle().take(if body.is_empty() { 0 } else { LARGEST - reason.len() });
        let payload: Vec<u8> = reason.into_iter().chain(debug_data).collect();
        stream.write_all(&[frame(SETTINGS, &[]), frame(GOAWAY, &payload)].concat()).await?;
        stream.shutdown().await
    })
    .await
}

/// A receiver whose certificate is for a hundred names that are not its own, which all have this text in them.
async fn misnamed(text: &str) -> String {
    let name = |number| SanType::DnsName(format!("{text}.n{number}.example.com").try_into().unwrap());
    let acceptor = Authority::get().acceptor(b"http/1.1", (0..NAMES).map(name).collect());
    listen(acceptor, |_| async { Ok(()) }).await
}

/// Listens as long as the test's runtime runs.
async fn listen<F>(
    acceptor: TlsAcceptor,
    script: impl Fn(TlsStream<TcpStream>) -> F + Copy + Send + Sync + 'static,
) -> String
where
    F: Future<Output = std::io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move { script(acceptor.accept(stream).await?).await });
        }
    });
    address.to_string()
}

/// The body of the first request on an HTTP/2 connection. It has to be smaller than the window of a stream.
async fn request_body(stream: &mut TlsStream<TcpStream>) -> std::io::Result<Vec<u8>> {
    const PREFACE: usize = 24;
    stream.read_exact(&mut [0; PREFACE]).await?;
    let mut body = Vec::new();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let [_, _, _, kind, flags, ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut payload).await?;
        if kind == DATA {
            body.extend(payload);
            if flags & END_STREAM != 0 {
                return Ok(body);
            }
        }
    }
}

/// A frame of the whole connection.
fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, 0, 0, 0, 0, 0], payload].concat()
}
