//! An event as it is stored: immutable, with the list of the endpoints it was fanned out to.

use crate::body::PackedBody;
use crate::delivery::{DeliveryKey, NewDelivery, SHARDS, shard_of};
use crate::event_type::EventType;
use crate::hops::Hops;
use crate::ids::{EndpointId, EventId, TenantId};
use crate::invalid::Invalid;
use crate::posted_by::PostedBy;
use crate::time::Timestamp;
use crate::webhook_id::WebhookId;

/// Over how many partitions the events of a tenant are spread in time order: a tenant may be the whole stack.
pub const EVENT_SHARDS: u8 = 16;

/// Size of an endpoint in a stored list, in bytes.
const ENDPOINT_BYTES: usize = 10;

/// The endpoints that an event goes to, stored in 10 bytes each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FanOut(Vec<EndpointId>);

impl FanOut {
    /// From the endpoints, in order.
    #[must_use]
    pub const fn new(endpoints: Vec<EndpointId>) -> Self {
        Self(endpoints)
    }

    /// The endpoints.
    #[must_use]
    pub fn endpoints(&self) -> &[EndpointId] {
        &self.0
    }

    /// The stored form: the bytes of all ids, one after the other.
    #[must_use]
    pub fn pack(&self) -> Vec<u8> {
        self.0.iter().flat_map(EndpointId::to_bytes).collect()
    }

    /// Reads what [`FanOut::pack`] wrote.
    pub fn unpack(packed: &[u8]) -> Result<Self, Invalid> {
        let (endpoints, rest) = packed.as_chunks::<ENDPOINT_BYTES>();
        if !rest.is_empty() {
            return Err(Invalid::rule("must be a list of endpoints, 10 bytes each"));
        }
        Ok(Self(endpoints.iter().map(|bytes| EndpointId::generate(*bytes)).collect()))
    }
}

/// An event as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Whose it is.
    pub tenant: TenantId,
    /// Its id.
    pub id: EventId,
    /// Its type.
    pub event_type: EventType,
    /// When it was accepted; part of its deliveries' keys.
    pub accepted_at: Timestamp,
    /// The bytes that go over the wire.
    pub body: PackedBody,
    /// The endpoints that matched.
    pub fan_out: FanOut,
    /// [`fingerprint`](crate::body::fingerprint) of what the app sent.
    pub fingerprint: String,
    /// When it expires, in Unix seconds.
    pub expires_at: i64,
    /// How many times Pombo has sent it on before.
    pub hops: Hops,
    /// Who posted it; `None` for an event of Pombo's own.
    pub posted_by: Option<PostedBy>,
}

impl Event {
    /// The table's key: tenant and id.
    #[must_use]
    pub fn key(tenant: &TenantId, id: &EventId) -> String {
        format!("{tenant}#{id}")
    }

    /// The partition of the index of those that are stored and not queued.
    #[must_use]
    pub fn due_shard(&self) -> u8 {
        shard_of(&Self::key(&self.tenant, &self.id), SHARDS)
    }

    /// Reads what [`Event::key`] wrote.
    pub fn parse_key(key: &str) -> Result<(TenantId, EventId), Invalid> {
        let (tenant, id) = key.split_once('#').ok_or(Invalid::rule("must be an event's key"))?;
        Ok((tenant.parse()?, id.parse()?))
    }

    /// How receivers know it.
    #[must_use]
    pub fn webhook_id(&self) -> WebhookId {
        WebhookId::new(self.tenant.clone(), self.id.clone())
    }

    /// The key of its delivery to an endpoint.
    #[must_use]
    pub fn delivery_to(&self, endpoint_id: EndpointId) -> DeliveryKey {
        DeliveryKey { endpoint_id, accepted_at: self.accepted_at, event_id: self.id.clone() }
    }

    /// What each of its deliveries' records needs.
    #[must_use]
    pub fn new_delivery(&self) -> NewDelivery {
        NewDelivery { tenant: self.tenant.clone(), event_type: self.event_type.clone(), expires_at: self.expires_at }
    }

    /// The partition of the index by time.
    #[must_use]
    pub fn tenant_shard(&self) -> String {
        Self::time_partition(&self.tenant, shard_of(self.id.as_str(), EVENT_SHARDS))
    }

    /// One of a tenant's [`EVENT_SHARDS`] partitions of the index by time.
    #[must_use]
    pub fn time_partition(tenant: &TenantId, shard: u8) -> String {
        format!("{tenant}#{shard}")
    }

    /// The position in the index by time.
    #[must_use]
    pub fn accepted_key(&self) -> String {
        format!("{}#{}", self.accepted_at, self.id)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_fan_out_takes_10_bytes_an_endpoint_and_reads_back() {
        let endpoints: Vec<_> = (0..200).map(|byte| EndpointId::generate([byte; 10])).collect();
        let fan_out = FanOut::new(endpoints);
        assert_eq!(fan_out.pack().len(), 10 * 200);
        assert_eq!(FanOut::unpack(&fan_out.pack()).unwrap(), fan_out);
        assert_eq!(FanOut::unpack(b"").unwrap(), FanOut::default());
        assert!(FanOut::unpack(b"short").is_err());
    }

    #[test]
    fn a_key_is_tenant_and_id_and_reads_back() {
        let (tenant, id) = ("acme".parse().unwrap(), "evt_1".parse().unwrap());
        assert_eq!(Event::parse_key(&Event::key(&tenant, &id)).unwrap(), (tenant, id));
        for wrong in ["", "acme", "#", "acme#", "#evt_1", "acme#evt_1#x"] {
            assert!(Event::parse_key(wrong).is_err(), "{wrong:?}");
        }
    }
}
