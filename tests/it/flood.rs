//! What strangers send to the replay URL, which anybody can call, takes no time from the jobs.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use pombo_domain::api_key::ApiKey;
use pombo_tests::{Call, Fault, SOON, Stack, eventually, scenario};

const REQUESTS: usize = 1000;
const STRANGERS: usize = 4;

/// How long a stranger waits from one request to the next, so that the emulator has time for others.
const PAUSE: Duration = Duration::from_millis(20);

/// How long the function is kept by a request with a key that nobody has: it looks the key up.
const KEPT: Duration = Duration::from_millis(500);

/// How much later a sweep may be for chance alone: less than the time after which a message that was refused comes again.
const CHANCE: Duration = Duration::from_secs(5);

/// What became of the requests.
#[derive(Debug, Default)]
struct Flood {
    refused: AtomicUsize,
    throttled: AtomicUsize,
    is_over: AtomicBool,
}

impl Flood {
    fn requests(&self) -> usize {
        self.refused.load(Ordering::SeqCst) + self.throttled.load(Ordering::SeqCst)
    }

    /// Sends requests, each with another key, until there were enough and nothing else waits for them.
    async fn run(&self, url: &str, stranger: usize) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        for number in 0u32.. {
            if self.requests() >= REQUESTS && self.is_over.load(Ordering::SeqCst) {
                break;
            }
            let mut secret = [stranger as u8; 32];
            secret[..4].copy_from_slice(&number.to_be_bytes());
            let key = ApiKey::generate(secret[..10].try_into().unwrap(), secret).reveal();
            let request = client.get(format!("{url}/v1/replays")).bearer_auth(key);
            match request.send().await.unwrap().status().as_u16() {
                401 => self.refused.fetch_add(1, Ordering::SeqCst),
                429 => self.throttled.fetch_add(1, Ordering::SeqCst),
                status => panic!("a stranger was answered {status}"),
            };
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Sweeps once; gives the time until the sweep has looked into both dead-letter queues, which it does with all else.
async fn sweep(stack: &Stack) -> Duration {
    let looks = || stack.proxy.calls(|call| call.operation == "ReceiveMessage").len();
    let (before, begun) = (looks(), Instant::now());
    stack.send("JobsQueue", r#"{"v":1,"sweep":true}"#).await;
    eventually("the sweep", 3 * SOON, || async { (looks() >= before + 2).then_some(()) }).await;
    begun.elapsed()
}

#[scenario(multi_thread)]
async fn a_flood_on_the_replay_url_delays_no_sweep() {
    let stack = Stack::own("flood", &[]).await;
    // All the concurrency that there is for callers of the URL: in a small account it is used up as soon.
    let lambda = aws_sdk_lambda::Client::new(&stack.local.sdk_config().await);
    let reserved = lambda.put_function_concurrency().function_name(stack.resource("ReplayFunction"));
    reserved.reserved_concurrent_executions(1).send().await.unwrap();
    // The first sweep starts the function.
    sweep(stack).await;
    let quiet = sweep(stack).await;
    let keys = stack.resource("ApiKeysTable").to_owned();
    let looks_up = move |call: &Call| call.operation == "GetItem" && call.table() == keys;
    stack.proxy.spoil(move |call| looks_up(call).then_some(Fault::Delay(KEPT)));

    let flood = Flood::default();
    let strangers = join_all((0..STRANGERS).map(|stranger| flood.run(&stack.local.urls.replay, stranger)));
    let flooded = async {
        eventually("the flood", SOON, || async { (flood.requests() >= REQUESTS / 10).then_some(()) }).await;
        let flooded = sweep(stack).await;
        flood.is_over.store(true, Ordering::SeqCst);
        flooded
    };
    let (_, flooded) = futures::join!(strangers, flooded);

    println!("a sweep took {quiet:?}, and {flooded:?} in the flood: {flood:?}");
    assert!(flood.throttled.load(Ordering::SeqCst) > REQUESTS / 2, "the URL was not busy: {flood:?}");
    assert!(flooded < quiet + CHANCE, "a sweep took {quiet:?}, and {flooded:?} in the flood");
}
