//! The books: what was acknowledged, what the API shows, what the receivers answered, and what the proxy saw, held against
//! each other.

use std::collections::{BTreeMap, BTreeSet};

use local::Signature;
use pombo_tests::{SOON, Stack, eventually};
use serde_json::Value;

use crate::client;
use crate::receivers::{Did, Endpoint, Logged, Receivers, tenant_of};
use crate::witness::{Cause, Delivery, Witness};

/// Statuses that have a list of their own: what an operator sees.
const LISTED: [&str; 4] = ["retrying", "held", "failed", "cancelled"];

/// What the API shows of every delivery.
pub struct Books {
    deliveries: BTreeMap<Delivery, Value>,
}

/// The result of an audit.
#[derive(Debug, Default)]
pub struct Audit {
    pub statuses: BTreeMap<String, usize>,
    /// Acknowledged and nowhere to be seen.
    pub lost: Vec<Delivery>,
    /// Repeated requests, and successes that no attempt records, by cause.
    pub repeats: BTreeMap<&'static str, usize>,
    /// What nothing explains.
    pub unexplained: Vec<String>,
}

impl Books {
    /// Reads the lists of all endpoints, page by page.
    pub async fn read(stack: &Stack, receivers: &Receivers) -> Self {
        let mut deliveries = BTreeMap::new();
        for endpoint in &receivers.endpoints {
            for delivery in list(stack, &format!("endpoint_id={}", endpoint.id)).await {
                let key = (endpoint.id.clone(), text(&delivery["event_id"]));
                assert!(deliveries.insert(key, delivery).is_none(), "a list shows a delivery twice");
            }
        }
        Self { deliveries }
    }

    /// Holds them against what else is known. `acknowledged` are the numbers of events.
    pub fn audit(&self, acknowledged: &[usize], receivers: &Receivers, witness: &Witness) -> Audit {
        let mut audit = Audit::default();
        for number in acknowledged {
            let (tenant, id) = (tenant_of(*number), client::id(*number));
            for endpoint in receivers.endpoints.iter().filter(|endpoint| endpoint.tenant == tenant) {
                let key = (endpoint.id.clone(), id.clone());
                let Some(delivery) = self.deliveries.get(&key) else {
                    audit.lost.push(key);
                    continue;
                };
                *audit.statuses.entry(text(&delivery["status"])).or_default() += 1;
                let log = receivers.log(endpoint, &id);
                audit.add(&Account { endpoint, delivery, log: &log, causes: witness.causes(&key, &log) });
            }
        }
        audit
    }

    /// The deliveries in a status.
    pub fn with_status(&self, status: &str) -> BTreeSet<String> {
        let wanted = self.deliveries.values().filter(|delivery| delivery["status"] == status);
        wanted.map(|delivery| text(&delivery["id"])).collect()
    }

    /// Fails unless every delivery that did not succeed is on the list of its status, and can be read by its id.
    pub async fn assert_visible(&self, stack: &Stack) {
        for status in LISTED {
            let listed: BTreeSet<_> =
                list(stack, &format!("status={status}")).await.iter().map(|delivery| text(&delivery["id"])).collect();
            assert_eq!(listed, self.with_status(status), "{status}");
            for id in listed.iter().take(20) {
                let one = show(stack, &format!("/v1/deliveries/{id}")).await;
                assert_eq!(one["status"], status, "{one}");
            }
        }
    }

    /// Fails unless every request was signed, carried its event's data, and was of a delivery that the API shows.
    pub fn assert_known(&self, receivers: &Receivers) {
        for received in receivers.received() {
            assert_eq!(received.signature, Signature::Verified, "{received:?}");
            let delivery = receivers.delivery(&received).expect("a request to no endpoint");
            assert!(self.deliveries.contains_key(&delivery), "a request of a delivery that is nowhere: {delivery:?}");
            let body: Value = serde_json::from_slice(&received.body).unwrap();
            let number: usize = received.event_id().trim_start_matches('e').parse().unwrap();
            assert_eq!(received.webhook_id(), format!("{}~{}", tenant_of(number), client::id(number)));
            assert_eq!(body["data"], client::data(number));
        }
    }
}

/// All that is known of one delivery.
struct Account<'a> {
    endpoint: &'a Endpoint,
    delivery: &'a Value,
    log: &'a [Logged],
    causes: Vec<Cause>,
}

impl Account<'_> {
    fn attempts(&self) -> impl Iterator<Item = &Value> {
        self.delivery["attempts"].as_array().into_iter().flatten()
    }

    /// How many recorded attempts ended so; those too old to be kept are in none.
    fn ended(&self, kinds: &[&str]) -> usize {
        self.attempts().filter(|attempt| kinds.iter().any(|kind| attempt["outcome"]["kind"] == **kind)).count()
    }

    /// The recorded attempts that sent a request.
    fn sent(&self) -> usize {
        let older = self.delivery["older_attempts"].as_u64().unwrap() as usize;
        self.attempts().count() + older - self.ended(&["expired", "dead_lettered", "refused", "dns"])
    }

    /// Requests that are the second try of an attempt whose connection broke: they bear its signature.
    fn second_tries(&self) -> usize {
        let broke = |at: usize| {
            self.log[..at].iter().any(|before| before.did == Did::HungUp && before.signature == self.log[at].signature)
        };
        (0..self.log.len()).filter(|at| broke(*at)).count()
    }

    fn took(&self) -> usize {
        self.log.iter().filter(|logged| matches!(logged.did, Did::Took | Did::TookLate)).count()
    }

    /// Whether the record tells of a repeat after a death, where nothing has dropped the dead claim since.
    fn tells_of_deaths(&self) -> bool {
        let only_deaths = self.causes.iter().all(|cause| matches!(cause, Cause::Killed | Cause::OutcomeRefused));
        let is_plain =
            self.delivery["status"] == "succeeded" && self.delivery["round"] == 0 && !self.endpoint.was_down();
        !only_deaths || !is_plain || self.attempts().any(|attempt| attempt["redelivered"] == true)
    }
}

impl Audit {
    fn add(&mut self, account: &Account<'_>) {
        let second_tries = account.second_tries();
        let repeats = (account.log.len() - second_tries).saturating_sub(account.sent());
        let successes = account.ended(&["succeeded"]);
        let unheard = account.ended(&["timed_out", "connection"]);
        let took = account.took();
        let is_explained = repeats <= account.causes.len() && took <= successes + unheard + repeats;
        let is_true = successes <= took && (account.delivery["status"] != "succeeded" || successes > 0);
        if !is_explained || !is_true || repeats > 0 && !account.tells_of_deaths() {
            self.unexplained.push(format!("{} {:?} {:?}", account.delivery, account.log, account.causes));
        }
        let mut causes = account.causes.clone();
        causes.sort_unstable();
        for cause in causes.iter().take(repeats) {
            let name = match cause {
                Cause::Killed => "killed between POST and record",
                Cause::HandedOutTwice => "a message with the mark was handed out twice",
                Cause::OutcomeQueued => "outcome still queued",
                Cause::OutcomeRefused => "neither record nor queue took the outcome",
            };
            *self.repeats.entry(name).or_default() += 1;
        }
        *self.repeats.entry("second try on a broken connection").or_default() += second_tries;
        *self.repeats.entry("the receiver took it, and its answer did not come").or_default() +=
            took.saturating_sub(successes + repeats).min(unheard);
    }

    /// How many deliveries were acknowledged.
    pub fn total(&self) -> usize {
        self.statuses.values().sum::<usize>() + self.lost.len()
    }

    pub fn assert_balanced(&self) {
        assert!(self.lost.is_empty(), "{} lost: {:?}", self.lost.len(), self.lost);
        assert!(!self.statuses.contains_key("pending"), "{:?}", self.statuses);
        let first = self.unexplained.iter().take(5).map(String::as_str).collect::<Vec<_>>().join("\n");
        assert!(self.unexplained.is_empty(), "{} unexplained, first:\n{first}", self.unexplained.len());
    }
}

/// A list from its first page to its last.
pub async fn list(stack: &Stack, query: &str) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/deliveries?limit=100&{query}{cursor}");
        let page = show(stack, &path).await;
        all.extend(page["deliveries"].as_array().unwrap().iter().cloned());
        let Some(next) = page["cursor"].as_str() else { return all };
        cursor = format!("&cursor={next}");
    }
}

/// What the replay API shows at a path. On a busy machine a table may not answer in time, and the request is repeated.
pub async fn show(stack: &Stack, path: &str) -> Value {
    eventually(path, SOON, || async {
        let (status, answer) = stack.local.replay().get(path).await.unwrap();
        assert!(status == 200 || status >= 500, "{path}: {status} {answer}");
        (status == 200).then_some(answer)
    })
    .await
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
