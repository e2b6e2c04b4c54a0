//! The two transactions that change keys.

use std::time::Duration;

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{ConditionCheck, Put, TransactWriteItem};
use pombo_domain::api_key::{KeyRing, StoredKey};
use pombo_domain::ids::{KeyId, TenantId};

use super::{ApiKeysTable, KEY_ROW, MADE_PREFIX, RING_ROW, ring_partition, to_item};
use crate::effect::{call, effect};
use crate::error::AwsError;
use crate::item::{Item, encode, number, text};
use crate::versioned::{Replacement, Transacted, stored_rev, transact};

const CALL: &str = "dynamodb:TransactWriteItems ApiKeys";

/// Holds for a key that is stored and not revoked.
const LIVE: &str = "attribute_exists(#digest) AND attribute_not_exists(#revoked_at)";

/// A key and its owner's ring as they shall be, written together.
#[derive(Debug, Clone, Copy)]
pub struct KeyItems<'a> {
    /// The key: new, or revoked.
    pub key: &'a StoredKey,
    /// The owner's ring: with the new key, or without the revoked one.
    pub ring: &'a KeyRing,
    /// How long a key is kept after its end.
    pub retention: Duration,
}

/// The result of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// Everything is written.
    Stored,
    /// Another call came between: read again and repeat.
    Conflict,
    /// The key that makes this one is revoked. Nothing is written.
    MakerRevoked,
}

impl ApiKeysTable {
    /// Writes a new key. `token` is unique to the caller's request: a repeat of the same write within ten minutes is the
    /// same transaction.
    pub async fn create(&self, new: KeyItems<'_>, token: &str) -> Result<Written, AwsError> {
        let key =
            self.put(to_item(CALL, new.key, new.retention)?, "attribute_not_exists(#partition)", &["partition"])?;
        let mut writes = vec![key, self.put_ring(new.key.tenant.as_ref(), new.ring)?];
        if let Some(maker) = &new.key.made_by {
            // All that the new key makes expires no later than the new key. After that, the row leads to nothing.
            let expires_at = new.key.valid_until.map(|end| number(end.plus(new.retention).as_seconds()));
            let mut made = Item::from([
                ("partition".into(), text(maker)),
                ("row".into(), text(format!("{MADE_PREFIX}{}", new.key.key_id))),
            ]);
            made.extend(expires_at.map(|at| ("expires_at".to_owned(), at)));
            writes.push(self.put(made, "attribute_not_exists(#partition)", &["partition"])?);
            let live = ConditionCheck::builder()
                .table_name(&self.table)
                .key("partition", text(maker))
                .key("row", text(KEY_ROW))
                .condition_expression(LIVE)
                .expression_attribute_names("#digest", "digest")
                .expression_attribute_names("#revoked_at", "revoked_at")
                .build()
                .map_err(|error| AwsError::unreadable(CALL, error))?;
            writes.push(TransactWriteItem::builder().condition_check(live).build());
        }
        self.write(writes, token).await
    }

    /// Writes that a key is revoked; a conflict if it is revoked already. The same token as for [`ApiKeysTable::create`].
    pub async fn revoke(&self, revocation: KeyItems<'_>, token: &str) -> Result<Written, AwsError> {
        let item = to_item(CALL, revocation.key, revocation.retention)?;
        let key = self.put(item, LIVE, &["digest", "revoked_at"])?;
        self.write(vec![key, self.put_ring(revocation.key.tenant.as_ref(), revocation.ring)?], token).await
    }

    /// Writes that a key is revoked, and leaves its owner's ring as it is: one write, which calls that change the ring do not
    /// hold up. A conflict if the key is revoked already, or is part of a transaction at this moment.
    pub async fn revoke_alone(&self, key: &StoredKey, retention: Duration) -> Result<Written, AwsError> {
        const CALL: &str = "dynamodb:PutItem ApiKeys";
        let request = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(to_item(CALL, key, retention)?))
            .condition_expression(LIVE)
            .expression_attribute_names("#digest", "digest")
            .expression_attribute_names("#revoked_at", "revoked_at");
        match effect(CALL, request.send()).await {
            Ok(_) => Ok(Written::Stored),
            Err(error) => match error.as_service_error() {
                Some(
                    PutItemError::ConditionalCheckFailedException(_) | PutItemError::TransactionConflictException(_),
                ) => Ok(Written::Conflict),
                _ => Err(AwsError::new(CALL, error)),
            },
        }
    }

    /// Removes the row which says that a key made another one. To be called once that key and all that it made are revoked.
    pub async fn forget_made(&self, maker: &KeyId, made: &KeyId) -> Result<(), AwsError> {
        const CALL: &str = "dynamodb:DeleteItem ApiKeys";
        let request = self.client.delete_item().table_name(&self.table);
        let request = request.key("partition", text(maker)).key("row", text(format!("{MADE_PREFIX}{made}")));
        call(CALL, request.send()).await.map(|_| ())
    }

    fn put(&self, item: Item, condition: &str, names: &[&str]) -> Result<TransactWriteItem, AwsError> {
        let put = Put::builder().table_name(&self.table).set_item(Some(item)).condition_expression(condition);
        let put = names.iter().fold(put, |put, name| put.expression_attribute_names(format!("#{name}"), *name));
        let put = put.build().map_err(|error| AwsError::unreadable(CALL, error))?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    /// The ring in the place of the version before it.
    fn put_ring(&self, owner: Option<&TenantId>, ring: &KeyRing) -> Result<TransactWriteItem, AwsError> {
        let mut item = encode(CALL, ring)?;
        item.insert("partition".into(), text(ring_partition(owner)));
        item.insert("row".into(), text(RING_ROW));
        let seen = stored_rev(ring.version.saturating_sub(1));
        Replacement::new(item, "partition", seen).numbered_by("version").in_transaction(&self.table)
    }

    async fn write(&self, writes: Vec<TransactWriteItem>, token: &str) -> Result<Written, AwsError> {
        let reasons = match transact(&self.client, CALL, writes, Some(token)).await? {
            Transacted::Stored => return Ok(Written::Stored),
            Transacted::Conflict(reasons) => reasons,
        };
        // The fourth write is the condition on the maker, if there is one.
        let on_maker = reasons.get(3).and_then(|reason| reason.code());
        Ok(if on_maker == Some("ConditionalCheckFailed") { Written::MakerRevoked } else { Written::Conflict })
    }
}
