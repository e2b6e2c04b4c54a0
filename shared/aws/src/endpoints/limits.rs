//! The counts of a tenant's endpoints, in items next to the endpoints. See [`pombo_domain::limits`].

use aws_sdk_dynamodb::types::TransactWriteItem;
use pombo_domain::ids::TenantId;
use pombo_domain::limits::{HostEndpoints, Registered};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::EndpointsTable;
use crate::error::AwsError;
use crate::item::{Item, decode, encode, text};
use crate::versioned::{Replacement, stored_rev};

const WRITE: &str = "dynamodb:TransactWriteItems Endpoints";

impl EndpointsTable {
    /// The endpoints of a tenant at a host, and how many the tenant has registered today, as they are now: one call. A
    /// change is written only if they have not changed since.
    pub async fn counts(&self, tenant: &TenantId, host: &str) -> Result<(HostEndpoints, Registered), AwsError> {
        const CALL: &str = "dynamodb:BatchGetItem Endpoints";
        let keys = [HostEndpoints::key(tenant, host), Registered::key(tenant)];
        let mut found = self.batch(CALL, &keys).await?;
        Ok((counted(CALL, found.remove(&keys[0]))?, counted(CALL, found.remove(&keys[1]))?))
    }

    /// The write of the endpoints at a host, as a part of the change that replaces the routing record.
    pub fn host_in_transaction(
        &self,
        tenant: &TenantId,
        host: &str,
        endpoints: &HostEndpoints,
    ) -> Result<TransactWriteItem, AwsError> {
        self.put_counted(HostEndpoints::key(tenant, host), endpoints, endpoints.rev)
    }

    /// The write of the number of endpoints that were registered today, in the same way.
    pub fn registered_in_transaction(
        &self,
        tenant: &TenantId,
        registered: &Registered,
    ) -> Result<TransactWriteItem, AwsError> {
        self.put_counted(Registered::key(tenant), registered, registered.rev)
    }

    /// In the place of the revision before `rev`.
    fn put_counted(&self, key: String, counted: &impl Serialize, rev: u64) -> Result<TransactWriteItem, AwsError> {
        let mut item = encode(WRITE, counted)?;
        item.insert("endpoint_id".into(), text(key));
        Replacement::new(item, "rev", stored_rev(rev.saturating_sub(1))).in_transaction(&self.table)
    }
}

/// Reads a count; without an item, nothing was counted.
fn counted<T: DeserializeOwned + Default>(call: &str, item: Option<Item>) -> Result<T, AwsError> {
    item.map_or_else(|| Ok(T::default()), |item| decode(call, item))
}
