//! A process that is frozen with connections open, and what stands at their other end when it goes on.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{Credentials, Region, StalledStreamProtectionConfig};
use futures::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::clock::HandClock;
use crate::settings::timeouts;

/// How many requests a function may have under way: so many connections are then open.
const AT_ONCE: usize = 6;

const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: 2\r\n\r\n{}";

/// What becomes of the connections that are open when the process is frozen.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// They swallow what is sent on them: a gateway has forgotten them.
    Swallowed,
    /// They are reset by the next packet: AWS has closed them.
    Reset,
    /// The server answers with the first half of an answer.
    Halved,
}

/// DynamoDB, as far as one answer goes: `{}` to everything.
struct Server {
    address: SocketAddr,
    opened: Arc<AtomicUsize>,
    /// How many of the connections have met their fate.
    dead: Arc<AtomicUsize>,
}

impl Server {
    async fn start(fate: Fate) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (opened, dead) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let server = Self { address, opened: Arc::clone(&opened), dead: Arc::clone(&dead) };
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = opened.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(stream, number, fate, Arc::clone(&dead)));
            }
        });
        server
    }

    fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }

    /// Everything that is open meets its fate.
    fn kill(&self) {
        self.dead.store(self.opened(), Ordering::Relaxed);
    }
}

async fn serve(mut stream: TcpStream, number: usize, fate: Fate, dead: Arc<AtomicUsize>) {
    let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        if number < dead.load(Ordering::Relaxed) {
            match fate {
                Fate::Swallowed => {}
                Fate::Reset => return stream.set_zero_linger().unwrap(),
                Fate::Halved => stream.write_all(&ANSWER.as_bytes()[..ANSWER.len() - 1]).await.unwrap(),
            }
            continue;
        }
        request.extend_from_slice(&buffer[..count]);
        // The body ends the request.
        if request.ends_with(b"}") {
            request.clear();
            // All requests of a burst are under way at the same time.
            tokio::time::sleep(Duration::from_millis(50)).await;
            stream.write_all(ANSWER.as_bytes()).await.unwrap();
        }
    }
}

/// A client with the time limits and connections of the functions' own.
fn client_of(server: &Server, clock: Clock) -> aws_sdk_dynamodb::Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version_latest()
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("x", "x", None, None, "test"))
        .endpoint_url(format!("http://{}", server.address))
        .timeout_config(timeouts())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        // By itself, the SDK waits before the second try for a time by chance, up to a second.
        .retry_config(RetryConfig::standard().with_initial_backoff(Duration::from_millis(10)))
        .http_client(Connections::new(clock));
    aws_sdk_dynamodb::Client::from_conf(config.build())
}

/// Makes so many calls at the same time; fails if one fails. Gives how long they took.
async fn calls(client: &aws_sdk_dynamodb::Client, count: usize) -> Duration {
    let begun = Instant::now();
    let calls = (0..count).map(|_| client.list_tables().send());
    for answer in join_all(calls).await {
        answer.unwrap();
    }
    begun.elapsed()
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn connections_that_swallow_packets_cost_one_time_limit_of_a_try_in_all() {
    let server = Server::start(Fate::Swallowed).await;
    let client = client_of(&server, Clock::system());
    calls(&client, AT_ONCE).await;
    assert_eq!(server.opened(), AT_ONCE);
    server.kill();
    let took = calls(&client, 1).await;
    assert!(took >= 2 * SECOND && took < 3 * SECOND, "{took:?}");
    let took = calls(&client, AT_ONCE).await;
    assert!(took < SECOND, "none of the dead connections is left: {took:?}");
    let opened = server.opened();
    calls(&client, 1).await;
    assert_eq!(server.opened(), opened, "the new ones are used again");
}

#[tokio::test]
async fn an_answer_that_stops_half_way_costs_one_time_limit_of_a_try() {
    let server = Server::start(Fate::Halved).await;
    let client = client_of(&server, Clock::system());
    calls(&client, 1).await;
    server.kill();
    let took = calls(&client, 1).await;
    assert!(took >= 2 * SECOND && took < 3 * SECOND, "{took:?}");
}

#[tokio::test]
async fn a_new_pool_is_not_given_up_for_what_happened_on_an_old_one() {
    let server = Server::start(Fate::Swallowed).await;
    let client = client_of(&server, Clock::system());
    calls(&client, AT_ONCE).await;
    server.kill();
    let later = async {
        tokio::time::sleep(SECOND).await;
        calls(&client, 1).await
    };
    let (first, second) = futures::join!(calls(&client, 1), later);
    assert!(first < 3 * SECOND && second < 3 * SECOND, "{first:?} {second:?}");
    assert_eq!(server.opened(), AT_ONCE + 1, "the second call goes on on the connection that the first one opened");
}

#[tokio::test]
async fn connections_that_were_closed_cost_one_try() {
    let server = Server::start(Fate::Reset).await;
    let client = client_of(&server, Clock::system());
    calls(&client, AT_ONCE).await;
    server.kill();
    let took = calls(&client, 1).await;
    assert!(took < 2 * SECOND, "{took:?}");
    assert_eq!(server.opened(), AT_ONCE + 1);
}

/// Makes a call that fails; gives whether it may have happened.
async fn may_have_happened(client: &aws_sdk_dynamodb::Client) -> bool {
    let error = client.list_tables().send().await.unwrap_err();
    crate::AwsError::new("dynamodb:ListTables", error).may_have_happened()
}

#[tokio::test]
async fn a_call_without_a_connection_has_not_happened_and_one_that_is_reset_may_have() {
    let server = Server::start(Fate::Reset).await;
    let client = client_of(&server, Clock::system());
    // Every connection that is opened from now on is reset when a request has come.
    server.dead.store(usize::MAX, Ordering::Relaxed);
    assert!(may_have_happened(&client).await);
    assert!(server.opened() > 0);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = Server { address: listener.local_addr().unwrap(), ..server };
    drop(listener);
    assert!(!may_have_happened(&client_of(&nobody, Clock::system())).await);
}

#[tokio::test]
async fn a_call_that_its_caller_gives_up_leaves_no_dead_connection_to_the_next() {
    let server = Server::start(Fate::Swallowed).await;
    let client = client_of(&server, Clock::system());
    calls(&client, AT_ONCE).await;
    server.kill();
    assert!(tokio::time::timeout(SECOND / 5, client.list_tables().send()).await.is_err());
    let took = calls(&client, AT_ONCE).await;
    assert!(took < SECOND, "{took:?}");
}

#[tokio::test]
async fn connections_from_before_a_freeze_are_not_used_and_younger_ones_are() {
    let server = Server::start(Fate::Swallowed).await;
    let hands = HandClock::start();
    let client = client_of(&server, hands.clock());
    calls(&client, AT_ONCE).await;
    hands.freeze(MAX_IDLE);
    calls(&client, AT_ONCE).await;
    assert_eq!(server.opened(), AT_ONCE);
    server.kill();
    hands.freeze(MAX_IDLE + SECOND);
    let took = calls(&client, AT_ONCE).await;
    assert!(took < SECOND, "{took:?}");
    assert_eq!(server.opened(), 2 * AT_ONCE);
}
