//! Endpoints and their health, remembered for a few seconds so that a delivery need not read them.
//!
//! Nothing is withheld on cached knowledge: before a delivery is held or cancelled, the endpoint is read again. A message
//! that carries a newer version than the remembered one has it read again too.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pombo_aws::AwsError;
use pombo_aws::clock::{Clock, Moment};
use pombo_aws::endpoints::EndpointsTable;
use pombo_domain::endpoint::{Endpoint, EndpointStatus};
use pombo_domain::health::{Health, HealthRules};
use pombo_domain::ids::EndpointId;

/// The most endpoints remembered; beyond that all are forgotten, which costs a read each.
const MOST_REMEMBERED: usize = 5000;

/// What dispatch does with a delivery to an endpoint.
#[derive(Debug, Clone)]
pub enum Receiver {
    /// Deliver.
    Active(Arc<Endpoint>),
    /// Its circuit is open: hold, unless the message is a probe.
    Open(Arc<Endpoint>),
    /// Hold.
    Paused,
    /// Cancel: it was deleted.
    Gone,
}

/// An endpoint as this process knows it.
#[derive(Debug, Clone)]
pub struct Known {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// Its health.
    pub health: Health,
    /// What was read of the endpoint is at least as new as this moment.
    since: Moment,
}

/// The endpoints that this process knows.
#[derive(Debug)]
pub struct EndpointCache {
    table: EndpointsTable,
    rules: HealthRules,
    clock: Clock,
    remembered: Mutex<HashMap<EndpointId, Known>>,
}

impl EndpointCache {
    /// Of this table; `rules` say for how long an endpoint may be remembered.
    #[must_use]
    pub fn new(table: EndpointsTable, rules: HealthRules, clock: Clock) -> Self {
        Self { table, rules, clock, remembered: Mutex::default() }
    }

    /// The receiver of a delivery. `at_least` is the endpoint's version that the message knows of.
    pub async fn receiver(&self, id: &EndpointId, at_least: Option<u64>) -> Result<Receiver, AwsError> {
        if let Some(Known { endpoint, health, .. }) = self.fresh(id)
            && endpoint.status == EndpointStatus::Active
            && health.open.is_none()
            && at_least.is_none_or(|version| endpoint.version >= version)
        {
            return Ok(Receiver::Active(endpoint));
        }
        let Some(Known { endpoint, health, .. }) = self.read(id).await? else { return Ok(Receiver::Gone) };
        Ok(match endpoint.status {
            EndpointStatus::Active if health.open.is_some() => Receiver::Open(endpoint),
            EndpointStatus::Active => Receiver::Active(endpoint),
            EndpointStatus::Paused => Receiver::Paused,
            EndpointStatus::Deleted => Receiver::Gone,
        })
    }

    /// The endpoint as far as it may be remembered; read again when that is too long ago.
    pub async fn known(&self, id: &EndpointId) -> Result<Option<Known>, AwsError> {
        match self.fresh(id) {
            Some(known) => Ok(Some(known)),
            None => self.read(id).await,
        }
    }

    /// Remembers the health that this process has just written. The endpoint itself was not read again, so it is no newer.
    pub fn learn(&self, id: &EndpointId, health: Health) {
        if let Some(known) = self.lock().get_mut(id) {
            known.health = health;
        }
    }

    /// Forgets an endpoint that turned out to be otherwise.
    pub fn forget(&self, id: &EndpointId) {
        self.lock().remove(id);
    }

    async fn read(&self, id: &EndpointId) -> Result<Option<Known>, AwsError> {
        let since = self.clock.moment();
        let Some((endpoint, health)) = self.table.get_with_health(id).await? else { return Ok(None) };
        let known = Known { endpoint: Arc::new(endpoint), health, since };
        self.remember(known.clone());
        Ok(Some(known))
    }

    fn remember(&self, known: Known) {
        let mut remembered = self.lock();
        if remembered.len() >= MOST_REMEMBERED {
            remembered.clear();
        }
        remembered.insert(known.endpoint.id.clone(), known);
    }

    /// The endpoint, unless it was read too long ago.
    fn fresh(&self, id: &EndpointId) -> Option<Known> {
        let now = self.clock.moment();
        let is_fresh = |known: &&Known| known.since.until(now) < self.rules.remembered_for(&known.health);
        self.lock().get(id).filter(is_fresh).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<EndpointId, Known>> {
        // The map is whole between any two of its calls, so a panic elsewhere leaves nothing to mistrust.
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use pombo_aws::clock::HandClock;
    use pombo_domain::time::Timestamp;
    use serde_json::json;

    use super::*;

    fn endpoint() -> Endpoint {
        let now = Timestamp::from_seconds(1_700_000_000);
        let json = json!({
            "endpoint_id": EndpointId::generate([1; 10]), "tenant": "acme", "name": "", "url": "https://example.com/",
            "event_types": ["*"], "headers": {}, "retry_policy": "standard", "timeout_seconds": 15, "secrets": [],
            "status": "active", "version": 1, "created_at": now, "updated_at": now,
        });
        serde_json::from_value(json).unwrap()
    }

    fn troubled() -> Health {
        Health { failing_since: Some(Timestamp::from_seconds(1)), ..Health::good() }
    }

    /// A cache that has just read an endpoint with this health. Its client is never used.
    fn cache(hands: &HandClock, health: Health) -> EndpointCache {
        let config = aws_sdk_dynamodb::Config::builder().behavior_version_latest().build();
        let table = EndpointsTable::new(aws_sdk_dynamodb::Client::from_conf(config), "endpoints".into());
        let cache = EndpointCache::new(table, HealthRules::DEFAULT, hands.clock());
        cache.remember(Known { endpoint: Arc::new(endpoint()), health, since: hands.clock().moment() });
        cache
    }

    #[test]
    fn an_endpoint_is_remembered_for_ten_seconds_and_one_in_trouble_for_two_by_whichever_clock_runs() {
        for (how, time_passes) in HandClock::WAYS {
            for (health, longest) in [(Health::good(), 10_000), (troubled(), 2_000)] {
                for (millis, known) in [(0, true), (longest - 1, true), (longest, false), (3_600_000, false)] {
                    let hands = HandClock::start();
                    let cache = cache(&hands, health.clone());
                    time_passes(&hands, Duration::from_millis(millis));
                    assert_eq!(cache.fresh(&endpoint().id).is_some(), known, "{how} for {millis} ms of {longest}");
                }
            }
        }
    }

    #[test]
    fn an_endpoint_is_no_newer_for_its_health_that_was_written() {
        let hands = HandClock::start();
        let (cache, id) = (cache(&hands, Health::good()), endpoint().id);
        for health in [troubled(), Health::good()] {
            hands.pass(Duration::from_secs(1));
            cache.learn(&id, health.clone());
            assert_eq!(cache.fresh(&id).unwrap().health, health);
        }
        hands.pass(Duration::from_secs(8));
        assert!(cache.fresh(&id).is_none(), "it was read ten seconds ago");
    }
}
