//! The writer of an item, in as few bytes as possible.

use aws_sdk_dynamodb::types::AttributeValue;

use crate::item::{bytes, text};

/// Bytes of a UUID.
const UUID: usize = 16;

/// The id of an invocation, or those of an invocation and a message with a slash between. UUIDs, as the ids of AWS are, take
/// 16 bytes each. Any other text is stored as it is.
pub(crate) fn writer(writer: &str) -> AttributeValue {
    let ids: Option<Vec<_>> = writer.split('/').map(uuid).collect();
    match ids {
        Some(ids) if ids.len() <= 2 => bytes(ids.concat()),
        _ => text(writer),
    }
}

/// The text that [`writer`] stored; `None` for a value that it does not store.
pub(crate) fn writer_of(value: &AttributeValue) -> Option<String> {
    let bytes = match value {
        AttributeValue::S(text) => return Some(text.clone()),
        AttributeValue::B(bytes) => bytes.as_ref(),
        _ => return None,
    };
    let (ids, rest) = bytes.as_chunks::<UUID>();
    let ids: Vec<_> = ids.iter().map(|id| uuid_text(*id)).collect();
    (rest.is_empty() && matches!(ids.len(), 1 | 2)).then(|| ids.join("/"))
}

/// The bytes of a UUID in the one way of writing it that is read back.
fn uuid(text: &str) -> Option<[u8; UUID]> {
    let id = u128::from_str_radix(&text.replace('-', ""), 16).ok()?.to_be_bytes();
    (uuid_text(id) == text).then_some(id)
}

fn uuid_text(id: [u8; UUID]) -> String {
    let digits = format!("{:032x}", u128::from_be_bytes(id));
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ID: &str = "8d2f6c1e-4b7a-4c3d-9e5f-0a1b2c3d4e5f";

    #[test]
    fn only_ids_of_aws_are_stored_as_bytes_and_every_writer_reads_back() {
        let id = 0x8d2f_6c1e_4b7a_4c3d_9e5f_0a1b_2c3d_4e5f_u128.to_be_bytes();
        let zeros = "00000000-0000-0000-0000-000000000000";
        for (ids, stored) in [
            (ID.to_owned(), id.to_vec()),
            (format!("{ID}/{ID}"), [id, id].concat()),
            (format!("{zeros}/{ID}"), [[0; 16], id].concat()),
        ] {
            assert_eq!(writer(&ids), bytes(stored));
            assert_eq!(writer_of(&writer(&ids)), Some(ids));
        }
        let unlike = [
            "",
            "me",
            "evt_1",
            "/",
            &ID.to_uppercase(),
            &ID.replace('-', ""),
            &ID[1..],
            &format!("{ID}0"),
            &format!("{ID}/"),
            &format!("{ID}/message"),
            &format!("{ID}/{ID}/{ID}"),
            &ID.replacen("8d2f6c1e-4b7a", "8d2f6c1e4-b7a", 1),
            &ID.replacen('8', "+", 1),
        ];
        for other in unlike {
            assert_eq!(writer(other), text(other));
            assert_eq!(writer_of(&writer(other)).unwrap(), other);
        }
    }

    #[test]
    fn bytes_that_are_no_ids_are_not_read() {
        for length in [0, 1, 15, 17, 31, 48] {
            assert_eq!(writer_of(&bytes(vec![7; length])), None, "{length}");
        }
    }
}
