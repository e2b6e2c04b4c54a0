//! The tenants of the stack: those that have endpoints.
//!
//! The index `by_status` has a row for each endpoint, by what every endpoint item holds anyway. So it costs a write only when
//! an endpoint is registered, paused, resumed or deleted, and it holds the endpoints of a stack that was there before it.

use std::collections::BTreeSet;

use futures::try_join;
use pombo_domain::ids::TenantId;

use super::EndpointsTable;
use crate::effect::call;
use crate::error::AwsError;
use crate::item::{Reader, text};

/// The number of rows that one look takes of each status. A look goes on behind the last tenant that it found, so that a
/// tenant with thousands of endpoints costs one.
const LOOK: i32 = 500;

/// The tenants of the endpoints in one status, in order, as far as a look went.
#[derive(Debug)]
struct Part {
    tenants: Vec<TenantId>,
    /// Whether there may be more behind them.
    cut: bool,
}

impl EndpointsTable {
    /// At most `limit` tenants that have endpoints, in the order of their names, behind `after`; and whether there are more.
    /// The index is late by moments.
    pub async fn tenants(&self, after: Option<&TenantId>, limit: usize) -> Result<(Vec<TenantId>, bool), AwsError> {
        let (mut found, mut after) = (Vec::new(), after.cloned());
        while found.len() <= limit {
            let behind = after.as_ref();
            let parts = try_join!(self.of_status("active", behind), self.of_status("paused", behind))?;
            let (tenants, next) = seen_whole([parts.0, parts.1]);
            found.extend(tenants);
            after = next;
            if after.is_none() {
                break;
            }
        }
        let more = found.len() > limit;
        found.truncate(limit);
        Ok((found, more))
    }

    async fn of_status(&self, status: &str, after: Option<&TenantId>) -> Result<Part, AwsError> {
        const CALL: &str = "dynamodb:Query Endpoints/by_status";
        // A name has at least one character, so all are behind "-", the lowest one may begin with, or are that itself.
        let (condition, from) = match after {
            Some(after) => ("#status = :status AND #tenant > :from", after.as_str()),
            None => ("#status = :status AND #tenant >= :from", "-"),
        };
        let request = self
            .client
            .query()
            .table_name(&self.table)
            .index_name("by_status")
            .key_condition_expression(condition)
            .expression_attribute_names("#status", "status")
            .expression_attribute_names("#tenant", "tenant")
            .expression_attribute_values(":status", text(status))
            .expression_attribute_values(":from", text(from))
            .limit(LOOK);
        let answer = call(CALL, request.send()).await?;
        let cut = answer.last_evaluated_key.is_some();
        let tenant = |item| Reader(item).take("tenant").map_err(|error| AwsError::unreadable(CALL, error));
        let tenants = answer.items.unwrap_or_default().into_iter().map(tenant).collect::<Result<_, _>>()?;
        Ok(Part { tenants, cut })
    }
}

/// The tenants up to which each part was seen whole, and the last of them where the next look begins; `None` at the end.
fn seen_whole(parts: [Part; 2]) -> (BTreeSet<TenantId>, Option<TenantId>) {
    let cut = parts.iter().filter(|part| part.cut);
    let next = cut.filter_map(|part| part.tenants.last()).min().cloned();
    let all = parts.into_iter().flat_map(|part| part.tenants);
    let seen = all.filter(|tenant| next.as_ref().is_none_or(|next| tenant <= next)).collect();
    (seen, next)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn part(tenants: &[&str], cut: bool) -> Part {
        Part { tenants: tenants.iter().map(|tenant| tenant.parse().unwrap()).collect(), cut }
    }

    #[test]
    fn a_look_takes_each_tenant_once_up_to_where_every_status_was_seen() {
        for (active, paused, seen, next) in [
            (part(&[], false), part(&[], false), vec![], None),
            (part(&["a", "a", "c"], false), part(&["b", "c"], false), vec!["a", "b", "c"], None),
            (part(&["a", "a", "c"], true), part(&["b", "d"], false), vec!["a", "b", "c"], Some("c")),
            (part(&["a", "c"], true), part(&["a", "a", "b"], true), vec!["a", "b"], Some("b")),
            (part(&["x", "x"], true), part(&[], false), vec!["x"], Some("x")),
        ] {
            let (found, from) = seen_whole([active, paused]);
            assert_eq!(found.iter().map(TenantId::as_str).collect::<Vec<_>>(), seen);
            assert_eq!(from.as_ref().map(TenantId::as_str), next);
        }
    }
}
