//! Looks along a selection's list for deliveries that it wants.
//!
//! Lists name candidates. A delivery's record says whether it is wanted; where there is none, its event does.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use pombo_aws::AwsError;
use pombo_aws::clock;
use pombo_aws::deliveries::{List, Window};
use pombo_aws::events::{EventPosition, EventRow, EventWindow};
use pombo_domain::delivery::{DeliveryKey, Listing, SHARDS, Status};
use pombo_domain::endpoint::Endpoint;
use pombo_domain::event::EVENT_SHARDS;
use pombo_domain::job::{Ordered, Row, Scope, Selection, Source, Unrecorded};

use crate::clients::Clients;
use crate::merge::{Candidates, Part, merge_oldest_first};
use crate::rows::{Known, heads_of};

/// How many windows of a list are looked through in one go, when little of them is wanted.
const MOST_WINDOWS: usize = 8;
/// And for how long, so that what was found is stored before the leg's time is over.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most candidates in a window.
const LARGEST_WINDOW: usize = 500;
/// The most events in a window: of each that has no record the whole item is read, which may be 400 KB.
const LARGEST_EVENT_WINDOW: usize = 200;

/// What was found.
#[derive(Debug)]
pub struct Gathered {
    /// The deliveries that are wanted, oldest first.
    pub rows: Vec<Row>,
    /// What was read of them.
    pub known: Known,
    /// The selection as far as it has come: behind these rows, and behind what was not wanted.
    pub selection: Selection,
}

/// Looks for at most `most` deliveries, in one look of the selection. Finding none need not be the end: the selection
/// tells. `endpoint` is that of the filter, if it names one.
pub async fn gather(
    clients: &Clients,
    selection: &Selection,
    endpoint: Option<&Endpoint>,
    ordered: Ordered,
    most: usize,
) -> Result<Gathered, AwsError> {
    let mut found = Gathered { rows: Vec::new(), known: Known::default(), selection: selection.clone() };
    let begun = Instant::now();
    let largest = if selects_unrecorded(selection) { LARGEST_EVENT_WINDOW } else { LARGEST_WINDOW };
    for _ in 0..MOST_WINDOWS {
        let limit = (most - found.rows.len()).min(largest);
        let (Candidates { rows, more }, unwanted) =
            candidates(clients, &found.selection, endpoint, ordered, limit).await?;
        let last = rows.last().cloned();
        let open: Vec<_> = rows.into_iter().filter(|key| !unwanted.contains(key)).collect();
        confirm(clients, &open, endpoint, ordered, &mut found).await?;
        if let Some(last) = last {
            found.selection = found.selection.moved_to(last);
        }
        if !more {
            found.selection = found.selection.look_done(ordered);
            break;
        }
        // A page that is half full is worth its leg, and one more window might find a single row.
        if found.rows.len() >= most.div_ceil(2) || begun.elapsed() > PATIENCE {
            break;
        }
    }
    Ok(found)
}

/// The next candidates behind the selection's position, oldest first, and which of them are not wanted, by what the list
/// itself tells.
async fn candidates(
    clients: &Clients,
    selection: &Selection,
    endpoint: Option<&Endpoint>,
    ordered: Ordered,
    limit: usize,
) -> Result<(Candidates<DeliveryKey>, HashSet<DeliveryKey>), AwsError> {
    let (since, until) = selection.range(ordered);
    let (since, until) = (Some(since), Some(until));
    let after = selection.after.clone();
    let (mut parts, mut unwanted) = (Vec::new(), HashSet::new());
    match (selection.source(), endpoint) {
        (Ok(Source::Events), Some(endpoint)) => {
            let asked = of_each(limit, EVENT_SHARDS);
            let after = after.map(|key| EventPosition { accepted_at: key.accepted_at, id: key.event_id });
            let window = EventWindow { since, until, after, limit: asked, oldest_first: true };
            let queries = (0..EVENT_SHARDS).map(|shard| clients.events.rows_by_time(&endpoint.tenant, shard, &window));
            for rows in try_join_all(queries).await? {
                let exhausted = rows.len() < asked;
                let mut keys = Vec::with_capacity(rows.len());
                for EventRow { position, event_type, .. } in rows {
                    let EventPosition { accepted_at, id: event_id } = position;
                    let key = DeliveryKey { endpoint_id: endpoint.id.clone(), accepted_at, event_id };
                    if !selection.may_want(&event_type, &endpoint.event_types) {
                        unwanted.insert(key.clone());
                    }
                    keys.push(key);
                }
                parts.push(Part { rows: keys, exhausted });
            }
        }
        _ => {
            let asked = match selection.filter.scope {
                Scope::Endpoint(_) => limit,
                Scope::Tenant(_) | Scope::Stack => of_each(limit, SHARDS),
            };
            let window = Window { since, until, after, limit: asked, oldest_first: true };
            for stage in stages(selection) {
                let queries = stage.iter().map(|list| clients.protocol.deliveries.list(list, &window));
                parts.extend(try_join_all(queries).await?.into_iter().map(|keys| Part::of(keys, asked)));
            }
        }
    }
    Ok((merge_oldest_first(parts, limit), unwanted))
}

/// How many keys to ask each of `shards` for, so that a window of `limit` is as good as always full: they fill evenly.
fn of_each(limit: usize, shards: u8) -> usize {
    limit.min(2 * limit / usize::from(shards) + 8)
}

/// The partitions to ask, in stages: those of a stage at one time, one stage after the other.
///
/// A delivery that changes its status between two queries must not be missed by both. It goes from `retrying` to another
/// status or from another to `retrying`; so `retrying` is asked first and once more at the end.
fn stages(selection: &Selection) -> Vec<Vec<List>> {
    let wanted = |status: &Status| selection.wants_status(*status);
    let scope = &selection.filter.scope;
    let of = |status: Status| -> Vec<List> {
        match scope {
            Scope::Endpoint(endpoint) => vec![List::ByEndpoint(Listing::endpoint_partition(endpoint, status))],
            Scope::Tenant(tenant) => {
                (0..SHARDS).map(|shard| List::ByTenant(Listing::tenant_partition(tenant, status, shard))).collect()
            }
            Scope::Stack => (0..SHARDS).map(|shard| List::ByStack(Listing::stack_partition(status, shard))).collect(),
        }
    };
    if let (Ok(Source::Deliveries), Scope::Endpoint(endpoint)) = (selection.source(), scope) {
        return vec![vec![List::OfEndpoint(endpoint.clone())]];
    }
    let others: Vec<_> = Status::LISTED
        .into_iter()
        .filter(|status| *status != Status::Retrying && wanted(status))
        .flat_map(of)
        .collect();
    match (wanted(&Status::Retrying), others.is_empty()) {
        (false, _) => vec![others],
        (true, true) => vec![of(Status::Retrying)],
        (true, false) => vec![of(Status::Retrying), others, of(Status::Retrying)],
    }
}

/// Keeps of the candidates those that are wanted.
async fn confirm(
    clients: &Clients,
    candidates: &[DeliveryKey],
    endpoint: Option<&Endpoint>,
    ordered: Ordered,
    found: &mut Gathered,
) -> Result<(), AwsError> {
    let mut records = clients.protocol.deliveries.get_many(candidates).await?;
    let unrecorded: Vec<_> = candidates.iter().filter(|key| !records.contains_key(key)).cloned().collect();
    let heads = match endpoint {
        Some(endpoint) if selects_unrecorded(&found.selection) => {
            heads_of(clients, &endpoint.tenant, &unrecorded).await?
        }
        _ => Default::default(),
    };
    let now = clock::now();
    for key in candidates {
        if let Some(record) = records.remove(key) {
            if found.selection.wants(&record, ordered, now) {
                let first = record.status == Status::Pending;
                found.rows.push(Row { delivery: key.clone(), round: record.step.round, first });
                found.known.records.insert(key.clone(), record);
            }
        } else if let (Some(head), Some(endpoint)) = (heads.get(key), endpoint) {
            let event = Unrecorded {
                event_type: &head.event_type,
                accepted_at: head.accepted_at,
                expires_at: head.expires_at,
                fanned_out: head.fan_out.endpoints().contains(&endpoint.id),
                subscribes: &endpoint.event_types,
            };
            if found.selection.wants_unrecorded(event, ordered, now) {
                found.rows.push(Row { delivery: key.clone(), round: 0, first: true });
                found.known.learn_unrecorded(key.clone(), head, &endpoint.tenant);
            }
        }
    }
    Ok(())
}

fn selects_unrecorded(selection: &Selection) -> bool {
    selection.source() == Ok(Source::Events)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use pombo_domain::job::{Filter, Include};
    use pombo_domain::time::Timestamp;

    use super::*;

    fn selection(scope: Scope, include: &[Include]) -> Selection {
        let ordered = Ordered { at: Timestamp::from_seconds(10_000), settle: Duration::from_secs(120) };
        let filter =
            Filter { scope, event_type: None, since: Timestamp::from_seconds(1), until: Timestamp::from_seconds(9) };
        Selection::new(filter, BTreeSet::from_iter(include.iter().copied()), None, ordered).unwrap()
    }

    #[test]
    fn each_status_is_asked_for_and_retrying_first_and_last() {
        use Include::{Failed, Held, Retrying, Succeeded};
        let endpoint = || Scope::Endpoint("ep_aaaaaaaaaaaaaaaa".parse().unwrap());
        let tenant = || Scope::Tenant("a".parse().unwrap());
        for (scope, include, expected) in [
            (endpoint(), &[Failed][..], &[1][..]),
            (endpoint(), &[Failed, Held, Retrying], &[1, 2, 1]),
            (endpoint(), &[Succeeded, Failed], &[1]),
            (tenant(), &[Failed], &[8]),
            (tenant(), &[Retrying], &[8]),
            (Scope::Stack, &[Failed, Held, Retrying], &[8, 16, 8]),
        ] {
            let stages: Vec<_> = stages(&selection(scope.clone(), include)).iter().map(Vec::len).collect();
            assert_eq!(stages, expected, "{scope:?} {include:?}");
        }
    }
}
