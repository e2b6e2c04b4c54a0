//! A client as it should be: what is not acknowledged it posts again under the same id.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt;
use local::Api;
use serde_json::{Value, json};

use crate::dice::Dice;
use crate::receivers::{endpoints_of, tenant_of};

/// How many posts are under way at one time.
const AT_ONCE: usize = 16;

/// How often an event is posted before the client gives up.
const MOST_TRIES: usize = 100;

/// See the module.
pub struct Client {
    api: Api,
    dice: Arc<Dice>,
    /// Whether it is to wait with new events.
    pub waits: AtomicBool,
    /// Posts that got no 202.
    pub refused: AtomicUsize,
    /// Events that were posted once more although they were acknowledged.
    pub again: AtomicUsize,
}

impl Client {
    pub fn new(api: Api, dice: &Arc<Dice>) -> Self {
        Self {
            api,
            dice: Arc::clone(dice),
            waits: AtomicBool::default(),
            refused: AtomicUsize::default(),
            again: AtomicUsize::default(),
        }
    }

    /// Posts the events of these numbers; gives the numbers of those that were acknowledged.
    pub async fn post(&self, events: Range<usize>) -> Vec<usize> {
        let posts = futures::stream::iter(events.map(|number| self.post_one(number)));
        posts.buffer_unordered(AT_ONCE).filter_map(async |number| number).collect().await
    }

    async fn post_one(&self, number: usize) -> Option<usize> {
        while self.waits.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        for _ in 0..MOST_TRIES {
            if self.is_acknowledged(number).await {
                // The answer may have been lost on its way to another client.
                if self.dice.of(("again", number)) < 0.01 {
                    self.again.fetch_add(1, Ordering::SeqCst);
                    self.is_acknowledged(number).await;
                }
                return Some(number);
            }
            self.refused.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        None
    }

    async fn is_acknowledged(&self, number: usize) -> bool {
        let Ok((status, answer)) = self.api.post("/v1/events", &event(number)).await else { return false };
        assert!(status == 202 || status >= 500, "event {number}: {status} {answer}");
        if status == 202 {
            assert_eq!(answer["deliveries"], endpoints_of(&tenant_of(number)), "{answer}");
        }
        status == 202
    }
}

/// The id of the event of this number.
pub fn id(number: usize) -> String {
    format!("e{number}")
}

/// What is posted.
fn event(number: usize) -> Value {
    json!({"type": "student.created", "tenant": tenant_of(number), "id": id(number), "data": data(number)})
}

/// The event's data, which the receiver must get as it was posted.
pub fn data(number: usize) -> Value {
    json!({"number": number, "name": "x".repeat(number % 500)})
}
