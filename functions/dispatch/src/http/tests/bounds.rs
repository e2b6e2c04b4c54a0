//! What a misbehaving receiver costs: its outcome, the time it ends at, the bytes that are buffered for it, and the bytes
//! that are logged.
//!
//! The bytes are those that a counting allocator sees in use at one time, beyond what a well-behaved receiver of the same
//! protocol takes on a new connection (70 KiB over HTTP/2, and over HTTP/1 180 KiB, of which 125 are room for 2,000 header lines); a buffer that grows counts twice while it is
//! copied. Each exchange is made by a process of its own, in which nothing else happens, while the receivers are in the
//! test's process. What AWS-LC allocates in C is not counted: keys and ciphers, whatever the receiver sends.

mod frames;
mod misbehaving;
mod talkative;

use std::env;
use std::process::Stdio;

use futures::{StreamExt, stream};
use peak_alloc::PeakAlloc;
use rcgen::{CertificateParams, SanType};
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use self::misbehaving::{Case, Layer};
use self::talkative::SENT;
use super::http2::{ACKNOWLEDGED, END_OF_BODY, serve, until};
use super::logged::{Log, MAX_ADDED, log, normal_line};
use super::receiver::{Peer, Receiver, Then, read_request};
use super::tls::{Authority, NAME, answer, tls_receiver, url};
use super::*;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const DEADLINE: Duration = SECOND;
/// The most that a receiver may add at the level DEBUG, which tells of each connection: a receiver that refuses gets a
/// dozen of them within [`DEADLINE`].
const MAX_DEBUG: usize = 8 * 1024;
/// The test that is run in a process of its own.
const IN_A_PROCESS: &str = "http::tests::bounds::one_exchange_is_measured";

#[tokio::test]
async fn a_misbehaving_receiver_ends_in_time_and_within_the_bound_of_its_kind() {
    let authority = Arc::new(Authority::new());
    let http1 = tls_receiver(authority.acceptor(b"http/1.1", |_| {}), answer).await;
    let http2 = tls_receiver(authority.acceptor(b"h2", |_| {}), |_, stream| {
        async { serve(h2::server::handshake(stream).await.unwrap()).await }.boxed()
    })
    .await;
    let cases = misbehaving::all();
    // What sends without end takes a processor's time, and others wait.
    let (floods, others): (Vec<_>, Vec<_>) = cases.into_iter().partition(|case| matches!(case.then, Then::Flood(_)));
    let measure_all = async |cases, at_once| {
        let measured = stream::iter(cases).map(|case: Case| async {
            let healthy = if case.layer == Layer::Http2 { &http2 } else { &http1 };
            (measure(&authority, healthy, &case, 1).await, case)
        });
        measured.buffered(at_once).collect::<Vec<_>>().await
    };
    let mut measured = measure_all(others, 16).await;
    measured.extend(measure_all(floods, 2).await);
    // On a busy machine, whoever asks for the processor may be late; so who was gets it for itself.
    let (late, mut measured): (Vec<_>, Vec<_>) = measured.into_iter().partition(|one| one.0.took >= DEADLINE + LATE);
    measured.extend(measure_all(late.into_iter().map(|(_, case)| case).collect(), 1).await);
    println!(
        "\n{:<60} {:<18} {:>6} {:>9} {:>9} {:>6} {:>8}",
        "receiver", "outcome", "ms", "buffered", "in all", "logged", "at DEBUG"
    );
    for (Measured { outcome, took, buffered, in_all, logged, at_debug, .. }, case) in &measured {
        let ms = took.as_millis();
        println!("{:<60} {outcome:<18} {ms:>6} {buffered:>9} {in_all:>9} {logged:>6} {at_debug:>8}", case.name);
    }
    let normal = normal_line();
    println!("{} receivers; the line of a success: {normal} bytes", measured.len());
    for (measured, case) in &measured {
        assert_eq!(measured.outcome, case.wanted, "{}: {}", case.name, measured.full);
        assert!(measured.took < DEADLINE + LATE, "{}: {:?}", case.name, measured.took);
        assert!(measured.buffered < case.most, "{}: {} bytes", case.name, measured.buffered);
        assert!(measured.logged <= normal + MAX_ADDED, "{}: {} bytes in the log", case.name, measured.logged);
        assert!(measured.at_debug <= normal + MAX_DEBUG, "{}: {} bytes at DEBUG", case.name, measured.at_debug);
        assert_eq!(measured.leaks, 0, "{}: what was sent is in the log", case.name);
    }
}

/// The kinds with the largest bounds: ten of each, as a process has ten requests under way at a time.
///
/// Interim answers over HTTP/2 are not among them. Ten floods of those, each at its peak at the same moment, would take twice
/// the memory of a function.
#[tokio::test]
async fn ten_of_the_worst_receivers_at_once_fit_into_the_memory_of_a_function() {
    const FUNCTION_MEMORY: usize = 256 << 20;
    const WORST: [&str; 2] = ["headers without end", "headers without end over HTTP/2"];
    let authority = Arc::new(Authority::new());
    let healthy = tls_receiver(authority.acceptor(b"http/1.1", |_| {}), answer).await;
    for name in WORST {
        let case = misbehaving::all().into_iter().find(|case| case.name == name).unwrap();
        let measured = measure(&authority, &healthy, &case, 10).await;
        println!("ten of {name}: {} bytes", measured.in_all);
        // Ten floods share the processor with those who send them, so the deadline may come first.
        assert!([case.wanted, "timed_out"].contains(&&*measured.outcome), "{name}: {}", measured.full);
        // A quarter of it is for all else.
        assert!(measured.in_all < FUNCTION_MEMORY / 4 * 3, "{name}: {} bytes", measured.in_all);
    }
}

/// What an exchange came to.
struct Measured {
    outcome: String,
    took: Duration,
    buffered: usize,
    in_all: usize,
    /// The bytes of the log, at the level INFO and at DEBUG.
    logged: usize,
    at_debug: usize,
    /// How often the log has what was sent, or what the receiver said.
    leaks: usize,
    full: String,
}

/// Starts the receiver, and the process that posts `at_once` requests to it at the same time.
async fn measure(authority: &Authority, healthy: &Receiver, case: &Case, at_once: usize) -> Measured {
    let receiver = misbehave(authority, case).await;
    let mut process = Command::new(env::current_exe().unwrap());
    process.args(["--ignored", "--exact", IN_A_PROCESS, "--nocapture", "--test-threads=1"]);
    process
        .env("RECEIVER", url(&receiver, NAME))
        .env("HEALTHY", url(healthy, NAME))
        .env("ROOT", authority.root_in_hex())
        .env("AT_ONCE", at_once.to_string());
    let output = process.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find_map(|line| Some(line.split_once("... measured ")?.1));
    let line = line.unwrap_or_else(|| panic!("{}: {text}{}", case.name, String::from_utf8_lossy(&output.stderr)));
    let [outcome, numbers @ .., full] = &line.splitn(8, ", ").collect::<Vec<_>>()[..] else { panic!("{line}") };
    let numbers: Vec<usize> = numbers.iter().map(|number| number.parse().unwrap()).collect();
    let [took, buffered, in_all, logged, at_debug, leaks] = numbers[..] else { panic!("{line}") };
    Measured {
        outcome: (*outcome).to_owned(),
        took: Duration::from_millis(took as u64),
        buffered,
        in_all,
        logged,
        at_debug,
        leaks,
        full: (*full).to_owned(),
    }
}

/// The receiver of a case.
async fn misbehave(authority: &Authority, case: &Case) -> Receiver {
    let protocol: &[u8] = if case.layer == Layer::Http2 { b"h2" } else { b"http/1.1" };
    let names: fn(&mut CertificateParams) = if case.layer == Layer::Certificate { hundred_names } else { |_| {} };
    let acceptor = authority.acceptor(protocol, names);
    let (layer, then) = (case.layer, case.then);
    let (greeting, first) = (Arc::new(case.greeting.clone()), Arc::new(case.first.clone()));
    Receiver::start(move |peer| {
        let (acceptor, greeting, first) = (acceptor.clone(), Arc::clone(&greeting), Arc::clone(&first));
        async move {
            let Peer { mut stream, .. } = peer;
            if layer == Layer::Tcp {
                stream.write_all(&first).await.unwrap();
                return then.act(stream).await;
            }
            let accepted = acceptor.accept(stream).await;
            if layer == Layer::Certificate {
                return;
            }
            let mut stream = accepted.unwrap();
            if layer == Layer::Http1 {
                read_request(&mut stream).await;
            } else {
                stream.write_all(&greeting).await.unwrap();
                stream.flush().await.unwrap();
                stream.read_exact(&mut [0; 24]).await.unwrap();
                // Who is about to write to a connection that breaks finds out before it reads what was said there.
                let breaks = matches!(then, Then::Close | Then::Reset);
                until(&mut stream, if breaks { &[END_OF_BODY, ACKNOWLEDGED] } else { &[END_OF_BODY] }).await;
            }
            stream.write_all(&first).await.unwrap();
            stream.flush().await.unwrap();
            then.act(stream).await;
        }
    })
    .await
}

/// A hundred names that are not the receiver's, as long as names may be.
fn hundred_names(params: &mut CertificateParams) {
    let name = |number| {
        let labels = format!("{SENT}-all-is-well-{number}").repeat(2);
        SanType::DnsName(format!("{labels}.{labels}.{labels}.example.com").try_into().unwrap())
    };
    params.subject_alt_names = (0..100).map(name).collect();
}

#[tokio::test]
#[ignore = "is started by the test above, for one receiver each time"]
async fn one_exchange_is_measured() {
    let variable = |name: &str| env::var(name).expect(name);
    let root = from_hex(&variable("ROOT"));
    let [receiver, healthy] = ["RECEIVER", "HEALTHY"].map(|name| EndpointUrl::from_stored(&variable(name)).unwrap());
    let (lines, subscriber) = Log::at("DEBUG");
    let _logging = tracing::subscriber::set_default(subscriber);
    // What is made once a process is there before anything is counted.
    exchange(&root, &healthy, 1).await;
    let (exchange_with_healthy, _, healthy) = exchange(&root, &healthy, 1).await;
    assert_eq!(exchange_with_healthy.outcome, succeeded(200));
    lines.take();
    let (Exchange { outcome, .. }, took, in_all) =
        exchange(&root, &receiver, variable("AT_ONCE").parse().unwrap()).await;
    log(&outcome);
    let written = lines.take();
    let logged: usize =
        written.lines().filter(|line| !line.contains(r#""level":"DEBUG""#)).map(|line| line.len() + 1).sum();
    let (at_debug, leaks) = (written.len(), written.to_ascii_lowercase().matches(SENT).count());
    let code = outcome.status_code().map(|code| format!(" {code}")).unwrap_or_default();
    let buffered = in_all.saturating_sub(healthy);
    let (kind, ms) = (kind(&outcome), took.as_millis());
    println!("... measured {kind}{code}, {ms}, {buffered}, {in_all}, {logged}, {at_debug}, {leaks}, {outcome:?}");
}

/// Makes `at_once` first exchanges with a receiver at the same time. Gives one of them, how long all took, and the peak of the
/// bytes in use.
async fn exchange(root: &CertificateDer<'static>, url: &EndpointUrl, at_once: usize) -> (Exchange, Duration, usize) {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let lookup = always(&[IpAddr::V4(Ipv4Addr::LOCALHOST)]);
    // A sender for each, since one would send all its requests on one connection.
    let tls = tls_config(roots).unwrap();
    let sender = || HttpSender::with(AddressPolicy::local(), tls.clone(), Arc::clone(&lookup), LIMITS, Clock::system());
    let senders: Vec<_> = (0..at_once).map(|_| sender()).collect();
    let headers = [("content-type", "application/json".to_owned()), ("x-api-key", SENT.to_owned())];
    let body = SENT.repeat(2048 / SENT.len()).into_bytes();
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    let started = Instant::now();
    let posts = senders.iter().map(|sender| sender.post(url, SetBy::Stack, &headers, body.clone(), DEADLINE));
    let exchange = futures::future::join_all(posts).await.pop().unwrap();
    let took = started.elapsed();
    // A connection that was given up may still be read from.
    tokio::time::sleep(SECOND / 20).await;
    let peak = HEAP.peak_usage();
    // Its connections end in tasks of their own.
    drop(senders);
    tokio::time::sleep(SECOND / 20).await;
    (exchange, took, peak - before)
}

fn from_hex(text: &str) -> CertificateDer<'static> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect::<Vec<u8>>().into()
}
