//! Endpoints, remembered for a few seconds so that a delivery need not read its endpoint.
//!
//! Nothing is withheld on cached knowledge: before a delivery is held or cancelled, the endpoint is read again. A message
//! that carries a newer version than the remembered one has it read again too.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pombo_aws::AwsError;
use pombo_aws::endpoints::EndpointsTable;
use pombo_domain::endpoint::{Endpoint, EndpointStatus};
use pombo_domain::ids::EndpointId;

const REMEMBERED_FOR: Duration = Duration::from_secs(10);

/// The most endpoints remembered; beyond that all are forgotten, which costs a read each.
const MOST_REMEMBERED: usize = 5000;

/// What dispatch does with a delivery to an endpoint.
#[derive(Debug, Clone)]
pub enum Receiver {
    /// Deliver.
    Active(Arc<Endpoint>),
    /// Hold.
    Paused,
    /// Cancel: it was deleted.
    Gone,
}

/// The endpoints that this process knows.
#[derive(Debug)]
pub struct EndpointCache {
    table: EndpointsTable,
    remembered: Mutex<HashMap<EndpointId, (Arc<Endpoint>, Instant)>>,
}

impl EndpointCache {
    /// Of this table.
    #[must_use]
    pub fn new(table: EndpointsTable) -> Self {
        Self { table, remembered: Mutex::default() }
    }

    /// The receiver of a delivery. `at_least` is the endpoint's version that the message knows of.
    pub async fn receiver(&self, id: &EndpointId, at_least: Option<u64>) -> Result<Receiver, AwsError> {
        if let Some(endpoint) = self.fresh(id)
            && endpoint.status == EndpointStatus::Active
            && at_least.is_none_or(|version| endpoint.version >= version)
        {
            return Ok(Receiver::Active(endpoint));
        }
        let Some(endpoint) = self.table.get(id).await? else { return Ok(Receiver::Gone) };
        let endpoint = Arc::new(endpoint);
        let mut remembered = self.lock();
        if remembered.len() >= MOST_REMEMBERED {
            remembered.clear();
        }
        remembered.insert(id.clone(), (Arc::clone(&endpoint), Instant::now()));
        Ok(match endpoint.status {
            EndpointStatus::Active => Receiver::Active(endpoint),
            EndpointStatus::Paused => Receiver::Paused,
            EndpointStatus::Deleted => Receiver::Gone,
        })
    }

    fn fresh(&self, id: &EndpointId) -> Option<Arc<Endpoint>> {
        self.lock()
            .get(id)
            .filter(|(_, since)| since.elapsed() < REMEMBERED_FOR)
            .map(|(endpoint, _)| Arc::clone(endpoint))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<EndpointId, (Arc<Endpoint>, Instant)>> {
        // The map is whole between any two of its calls, so a panic elsewhere leaves nothing to mistrust.
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
