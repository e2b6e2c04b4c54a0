//! The `ApiKeys` table. An item has a partition and a row:
//!
//! | partition | row | item |
//! | --- | --- | --- |
//! | a key's id | `key` | the key, listed by its owner in the index `by_owner` |
//! | a key's id | `made#` and another key's id | the first key made the second one |
//! | `owner#` and a tenant, or `owner#*` for the stack | `ring` | the owner's [`KeyRing`] |
//!
//! A key, its maker's row and its owner's ring are written in one transaction, and so is a revocation. The transaction that
//! makes a key also holds the condition that its maker is not revoked. Therefore, once a key is revoked, the rows of what
//! it made are complete.

mod write;

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::get_item::builders::GetItemFluentBuilder;
use pombo_domain::api_key::{KeyRing, StoredKey};
use pombo_domain::ids::{KeyId, TenantId};
use pombo_domain::time::Timestamp;

pub use self::write::{KeyItems, Written};
use crate::effect::call;
use crate::error::AwsError;
use crate::item::{Item, decode, encode, text};

/// The row of a key itself.
const KEY_ROW: &str = "key";
/// Prefix of the rows that name the keys that a key made.
const MADE_PREFIX: &str = "made#";
/// The row of an owner's ring.
const RING_ROW: &str = "ring";
/// Rows of made keys in a page.
const MADE_PAGE: i32 = 500;

/// The table of API keys.
#[derive(Debug, Clone)]
pub struct ApiKeysTable {
    client: Client,
    table: String,
}

impl ApiKeysTable {
    /// The table with this name.
    #[must_use]
    pub const fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    /// The key as it is now: one strongly consistent read.
    pub async fn get(&self, id: &KeyId) -> Result<Option<StoredKey>, AwsError> {
        const CALL: &str = "dynamodb:GetItem ApiKeys";
        let request = self.read(id.as_str(), KEY_ROW);
        call(CALL, request.send()).await?.item.map(|item| decode(CALL, item)).transpose()
    }

    /// The ring of a tenant's keys, or of the stack's, as it is now: one strongly consistent read. An owner without keys
    /// has an empty ring.
    pub async fn ring(&self, owner: Option<&TenantId>) -> Result<KeyRing, AwsError> {
        const CALL: &str = "dynamodb:GetItem ApiKeys";
        let request = self.read(&ring_partition(owner), RING_ROW);
        let ring = call(CALL, request.send()).await?.item.map(|item| decode(CALL, item)).transpose()?;
        Ok(ring.unwrap_or_default())
    }

    fn read(&self, partition: &str, row: &str) -> GetItemFluentBuilder {
        let request = self.client.get_item().table_name(&self.table);
        request.key("partition", text(partition)).key("row", text(row)).consistent_read(true)
    }

    /// The keys that a key made, as they are now: strongly consistent reads.
    pub async fn made_by(&self, id: &KeyId) -> Result<Vec<KeyId>, AwsError> {
        const CALL: &str = "dynamodb:Query ApiKeys";
        let (mut made, mut start) = (Vec::new(), None);
        loop {
            let request = self
                .client
                .query()
                .table_name(&self.table)
                .key_condition_expression("#partition = :id AND begins_with(#row, :made)")
                .expression_attribute_names("#partition", "partition")
                .expression_attribute_names("#row", "row")
                .expression_attribute_values(":id", text(id))
                .expression_attribute_values(":made", text(MADE_PREFIX))
                .projection_expression("#row")
                .consistent_read(true)
                .limit(MADE_PAGE)
                .set_exclusive_start_key(start);
            let answer = call(CALL, request.send()).await?;
            for item in answer.items.unwrap_or_default() {
                let row = item.get("row").and_then(|row| row.as_s().ok()?.strip_prefix(MADE_PREFIX));
                let id = row.ok_or_else(|| AwsError::unreadable(CALL, "a row does not name the key that was made"))?;
                made.push(id.parse().map_err(|error| AwsError::unreadable(CALL, error))?);
            }
            start = answer.last_evaluated_key;
            if start.is_none() {
                return Ok(made);
            }
        }
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
                ("partition".into(), text(key_id)),
                ("row".into(), text(KEY_ROW)),
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
        let answer = call(CALL, request.send()).await?;
        answer.items.unwrap_or_default().into_iter().map(|item| decode(CALL, item)).collect()
    }
}

/// The owner under which a key is listed: its tenant, or `*` for the whole stack.
fn owner(tenant: Option<&TenantId>) -> String {
    tenant.map_or_else(|| "*".to_owned(), ToString::to_string)
}

/// The partition of an owner's ring.
fn ring_partition(tenant: Option<&TenantId>) -> String {
    format!("owner#{}", owner(tenant))
}

/// The sort key of the list: the time, and the id where two keys have the same.
fn created_key(created_at: Timestamp, key_id: &KeyId) -> String {
    format!("{created_at}#{key_id}")
}

/// The item of a key.
fn to_item(call: &str, key: &StoredKey, retention: Duration) -> Result<Item, AwsError> {
    let mut item = encode(call, key)?;
    item.insert("partition".into(), text(&key.key_id));
    item.insert("row".into(), text(KEY_ROW));
    item.insert("owner".into(), text(owner(key.tenant.as_ref())));
    item.insert("created_key".into(), text(created_key(key.created_at, &key.key_id)));
    if let Some(removed_at) = key.removed_at(retention) {
        item.insert("expires_at".into(), crate::item::number(removed_at));
    }
    Ok(item)
}
