//! Reads many items at once.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::builders::KeysAndAttributesBuilder;

use crate::effect::call;
use crate::error::AwsError;
use crate::item::Item;
use crate::settings::CALL_TIMEOUT;

/// The most keys that one `BatchGetItem` takes.
const LARGEST_BATCH: usize = 100;

/// The pause before what was left over is asked for again; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(25);

/// The items of these keys, all different, as they are now, in no order; `part` says what of them.
///
/// An answer leaves over what was too much for it, or for the table at that moment, and is no error. What is left over is
/// asked for again, but for no longer than any AWS call may take.
pub(crate) async fn get(
    client: &Client,
    name: &str,
    table: &str,
    keys: &[Item],
    part: KeysAndAttributesBuilder,
) -> Result<Vec<Item>, AwsError> {
    let mut items = Vec::with_capacity(keys.len());
    for chunk in keys.chunks(LARGEST_BATCH) {
        let wanted = part.clone().set_keys(Some(chunk.to_vec())).consistent_read(true);
        let wanted = wanted.build().map_err(|error| AwsError::unreadable(name, error))?;
        let mut left = HashMap::from([(table.to_owned(), wanted)]);
        let (begun, mut pause) = (Instant::now(), FIRST_PAUSE);
        loop {
            let request = client.batch_get_item().set_request_items(Some(left));
            let answer = call(name, request.send()).await?;
            items.extend(answer.responses.into_iter().flatten().flat_map(|(_, items)| items));
            left = answer.unprocessed_keys.unwrap_or_default();
            if left.is_empty() {
                break;
            }
            if begun.elapsed() + pause > CALL_TIMEOUT {
                return Err(AwsError::overload(name));
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }
    Ok(items)
}
