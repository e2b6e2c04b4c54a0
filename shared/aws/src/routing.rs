//! The Routing table: one item a tenant.

use aws_sdk_dynamodb::Client;
use pombo_domain::ids::TenantId;
use pombo_domain::routing::RoutingRecord;

use crate::effect::call;
use crate::error::AwsError;
use crate::item::{BadAttribute, Item, Reader, number, text, unknown_to_item};

/// The table of routing records.
#[derive(Debug, Clone)]
pub struct RoutingTable {
    client: Client,
    table: String,
}

impl RoutingTable {
    /// Of this name.
    #[must_use]
    pub const fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    /// The tenant's routing record as it is now: one strongly consistent read.
    pub async fn get(&self, tenant: &TenantId) -> Result<RoutingRecord, AwsError> {
        const CALL: &str = "dynamodb:GetItem Routing";
        let request = self.client.get_item().table_name(&self.table).key("tenant", text(tenant)).consistent_read(true);
        let answer = call(CALL, request.send()).await?;
        match answer.item {
            None => Ok(RoutingRecord::empty(tenant.clone())),
            Some(item) => from_item(tenant, item).map_err(|error| AwsError::unreadable(CALL, error)),
        }
    }

    pub(crate) fn table(&self) -> &str {
        &self.table
    }
}

pub(crate) fn to_item(record: &RoutingRecord) -> Result<Item, BadAttribute> {
    let mut item = unknown_to_item(&record.unknown)?;
    item.extend([
        ("tenant".into(), text(&record.tenant)),
        ("version".into(), number(record.version)),
        ("routes".into(), text(record.routes_json())),
    ]);
    Ok(item)
}

fn from_item(tenant: &TenantId, item: Item) -> Result<RoutingRecord, Box<dyn std::error::Error + Send + Sync>> {
    let mut item = Reader(item);
    let _: String = item.take("tenant")?;
    let version: u64 = item.take("version")?;
    let routes: String = item.take("routes")?;
    let record = RoutingRecord::from_stored(tenant.clone(), version, &routes)?;
    Ok(RoutingRecord { unknown: item.unknown()?, ..record })
}
