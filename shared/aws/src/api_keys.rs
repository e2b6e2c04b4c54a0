//! The `ApiKeys` table.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use pombo_domain::api_key::StoredKey;
use pombo_domain::ids::{KeyId, TenantId};
use pombo_domain::time::Timestamp;

use crate::effect::effect;
use crate::error::AwsError;
use crate::item::{Item, text};

/// The table of API keys.
#[derive(Debug, Clone)]
pub struct ApiKeysTable {
    client: Client,
    table: String,
}

impl ApiKeysTable {
    /// Of this name.
    #[must_use]
    pub const fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    /// The key as it is now: one strongly consistent read.
    pub async fn get(&self, id: &KeyId) -> Result<Option<StoredKey>, AwsError> {
        const CALL: &str = "dynamodb:GetItem ApiKeys";
        let request = self.client.get_item().table_name(&self.table).key("key_id", text(id)).consistent_read(true);
        let answer = effect(CALL, request.send()).await.map_err(|error| AwsError::new(CALL, error))?;
        answer.item.map(|item| from_item(CALL, item)).transpose()
    }

    /// Writes a key. A new one has an id that no other has; of a stored one only the revocation changes.
    pub async fn put(&self, key: &StoredKey) -> Result<(), AwsError> {
        const CALL: &str = "dynamodb:PutItem ApiKeys";
        let mut item: Item = serde_dynamo::to_item(key).map_err(|error| AwsError::unreadable(CALL, error))?;
        item.insert("owner".into(), text(owner(key.tenant.as_ref())));
        item.insert("created_key".into(), text(created_key(key.created_at, &key.key_id)));
        let request = self.client.put_item().table_name(&self.table).set_item(Some(item));
        effect(CALL, request.send()).await.map(|_| ()).map_err(|error| AwsError::new(CALL, error))
    }

    /// A page of the keys of a tenant, or of those of the whole stack, newest first; behind `after`, a key's time and id,
    /// if given.
    pub async fn list(
        &self,
        tenant: Option<&TenantId>,
        after: Option<(Timestamp, &KeyId)>,
        limit: usize,
    ) -> Result<Vec<StoredKey>, AwsError> {
        const CALL: &str = "dynamodb:Query ApiKeys/by_owner";
        let owner = owner(tenant);
        let start = after.map(|(created_at, key_id)| {
            Item::from([
                ("key_id".into(), text(key_id)),
                ("owner".into(), text(&owner)),
                ("created_key".into(), text(created_key(created_at, key_id))),
            ])
        });
        let request = self
            .client
            .query()
            .table_name(&self.table)
            .index_name("by_owner")
            .key_condition_expression("#owner = :owner")
            .expression_attribute_names("#owner", "owner")
            .expression_attribute_values(":owner", text(&owner))
            .scan_index_forward(false)
            .set_exclusive_start_key(start)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX));
        let answer = effect(CALL, request.send()).await.map_err(|error| AwsError::new(CALL, error))?;
        answer.items.unwrap_or_default().into_iter().map(|item| from_item(CALL, item)).collect()
    }
}

/// Under what a key is listed: its tenant, or `*` for the whole stack.
fn owner(tenant: Option<&TenantId>) -> String {
    tenant.map_or_else(|| "*".to_owned(), ToString::to_string)
}

/// The sort key of the list: the time, and the id where two keys have the same.
fn created_key(created_at: Timestamp, key_id: &KeyId) -> String {
    format!("{created_at}#{key_id}")
}

fn from_item(call: &str, item: std::collections::HashMap<String, AttributeValue>) -> Result<StoredKey, AwsError> {
    serde_dynamo::from_item(item).map_err(|error| AwsError::unreadable(call, error))
}
