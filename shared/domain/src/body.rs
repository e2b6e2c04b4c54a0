//! The bytes that a receiver gets: built once when the event comes in, then stored, queued, signed and sent as they are.

use std::io::ErrorKind;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use flate2::{Compress, CompressError, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::event_type::EventType;
use crate::time::Timestamp;

/// Maximum size of a body that goes over the wire, and of the request that it comes in, in bytes. Ten of them at a time fit
/// dispatch's memory, and one of them Lambda's 6 MB for a request or an answer, even when each character is escaped there.
pub const MAX_BODY: usize = 2 * 1024 * 1024;

/// Maximum size of a packed body, in bytes: what fits a DynamoDB item of 400 KB next to the longest fan-out list.
pub const MAX_PACKED_BODY: usize = 350 * 1024;

/// Maximum size of what is unpacked, in bytes: `data` and the text around it.
const MAX_WIRE_BODY: usize = MAX_BODY + 1024;

/// Writes the body around the app's own bytes of `data`: no number, key order or space inside them is touched.
#[must_use]
pub fn wire_body(event_type: &EventType, timestamp: Timestamp, data: &RawValue) -> Vec<u8> {
    // Neither an event type nor a timestamp holds a character that JSON would escape.
    format!(r#"{{"type":"{event_type}","timestamp":"{timestamp}","data":{}}}"#, data.get()).into_bytes()
}

/// The first half of SHA-256 over type and raw `data`: tells a repeat of an event from another event under the same id. Nobody
/// finds a second event to a given one at 128 bits; who looks for two that agree, with an effort of 64 bits, can only give
/// both the same id and be told that the second is a repeat of the first.
#[must_use]
pub fn fingerprint(event_type: &EventType, data: &RawValue) -> String {
    let mut hash = Sha256::new();
    hash.update(event_type.as_str());
    hash.update([0]);
    hash.update(data.get());
    STANDARD_NO_PAD.encode(&hash.finalize()[..16])
}

/// What bodies of webhooks tend to hold: plain English, names and values of JSON, and the start of each body. Not a byte of it
/// may change, since what is stored refers to it: another text takes another encoding. What is most frequent stands last,
/// where references to it are shortest.
const DICTIONARY_1: &[u8] = include_bytes!("body/dictionary_1.txt");

/// Neither a header nor a checksum: DynamoDB and SQS have their own.
const RAW: bool = false;

/// How a stored or queued body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// As it goes over the wire.
    Identity,
    /// Raw DEFLATE (RFC 1951) as it goes on behind [`DICTIONARY_1`].
    Deflate1,
}

/// A body as it is stored and queued: compressed when that makes it smaller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackedBody {
    /// How `bytes` are written.
    pub encoding: Encoding,
    /// The bytes; base64 where the format is text.
    #[serde(rename = "body", serialize_with = "to_base64", deserialize_with = "from_base64")]
    pub bytes: Vec<u8>,
}

/// A packed body that does not unpack: it was damaged, or is not one.
#[derive(Debug, Error)]
#[error("the stored body cannot be unpacked")]
pub struct Damaged(#[source] std::io::Error);

impl PackedBody {
    /// Packs the wire's bytes.
    #[must_use]
    pub fn pack(body: &[u8]) -> Self {
        // A body that does not compress is kept as it is, and so is one for which the compressor fails.
        match deflate(body) {
            Ok(Some(packed)) => Self { encoding: Encoding::Deflate1, bytes: packed },
            Ok(None) | Err(_) => Self { encoding: Encoding::Identity, bytes: body.to_vec() },
        }
    }

    /// The bytes that go over the wire. More than [`MAX_BODY`] and the text around `data` was never packed: it is refused, and
    /// the rest of it not unpacked.
    pub fn unpack(&self) -> Result<Vec<u8>, Damaged> {
        match self.encoding {
            Encoding::Identity => Ok(self.bytes.clone()),
            Encoding::Deflate1 => inflate(&self.bytes).map_err(Damaged),
        }
    }
}

/// DEFLATE of the body as it goes on behind the dictionary, if that is smaller than the body.
fn deflate(body: &[u8]) -> Result<Option<Vec<u8>>, CompressError> {
    let mut compress = Compress::new(Compression::default(), RAW);
    compress.set_dictionary(DICTIONARY_1)?;
    // A packed body that needs more room than this is not smaller.
    let mut packed = Vec::with_capacity(body.len());
    let status = compress.compress_vec(body, &mut packed, FlushCompress::Finish)?;
    Ok((status == Status::StreamEnd && packed.len() < body.len()).then_some(packed))
}

/// The body that [`deflate`] was given.
fn inflate(packed: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut decompress = Decompress::new(RAW);
    decompress.set_dictionary(DICTIONARY_1)?;
    let mut body = Vec::with_capacity(packed.len() * 3);
    loop {
        let read = usize::try_from(decompress.total_in()).unwrap_or(usize::MAX);
        let rest = packed.get(read..).unwrap_or_default();
        let status = decompress.decompress_vec(rest, &mut body, FlushDecompress::Finish)?;
        if body.len() > MAX_WIRE_BODY {
            return Err(ErrorKind::FileTooLarge.into());
        }
        if status == Status::StreamEnd {
            return Ok(body);
        }
        if body.len() < body.capacity() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        body.reserve(body.len().max(1024));
    }
}

fn to_base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    STANDARD.decode(String::deserialize(deserializer)?).map_err(de::Error::custom)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use flate2::write::DeflateEncoder;
    use proptest::prelude::*;

    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn raw(json: &str) -> &RawValue {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn data_goes_out_byte_for_byte() {
        let data = r#"{ "z":1.10, "a" : 1e400,"big":123456789012345678901234567890, "é":"\u00e9\uffff￿", "a":null }"#;
        let body = wire_body(&"a.b".parse().unwrap(), Timestamp::from_millis(0), raw(data));
        let expected = format!(r#"{{"type":"a.b","timestamp":"1970-01-01T00:00:00.000Z","data":{data}}}"#);
        assert_eq!(String::from_utf8(body).unwrap(), expected);
    }

    #[test]
    fn a_fingerprint_tells_types_and_data_apart() {
        let (a, b) = ("a".parse().unwrap(), "b".parse().unwrap());
        let print = fingerprint(&a, raw("{\"n\":1}"));
        assert_eq!(print, fingerprint(&a, raw("{\"n\":1}")));
        assert_ne!(print, fingerprint(&b, raw("{\"n\":1}")));
        assert_ne!(print, fingerprint(&a, raw("{\"n\":1.0}")));
        assert_ne!(print, fingerprint(&a, raw("{\"n\": 1}")));
    }

    #[test]
    fn what_compression_would_enlarge_is_kept_as_it_is() {
        assert_eq!(PackedBody::pack(b"{}").encoding, Encoding::Identity);
        let repetitive = b"{\"name\":\"name\"}".repeat(50);
        let packed = PackedBody::pack(&repetitive);
        assert_eq!(packed.encoding, Encoding::Deflate1);
        assert!(packed.bytes.len() < repetitive.len() / 5);
    }

    /// Whatever is stored refers to it.
    #[test]
    fn the_dictionary_is_what_it_was() {
        assert_eq!(
            hex(&Sha256::digest(DICTIONARY_1)),
            "4f7a929e8daa085b754dcb94036c1bc909c9cc6bd292afdb8f1b89232a29da1b"
        );
        let packed = "g2tK1EvCpgHoImOgiyytjCG2mYJdhWKGOZZwqK0FAA==";
        let packed = PackedBody { encoding: Encoding::Deflate1, bytes: STANDARD.decode(packed).unwrap() };
        let body = r#"{"type":"a.b","timestamp":"2026-01-31T09:30:00.050Z","data":{"id":"7","status":"active"}}"#;
        assert_eq!(packed.unpack().unwrap(), body.as_bytes());
        let packed = PackedBody::pack(body.as_bytes());
        assert!(
            packed.bytes.len() < body.len() * 6 / 10,
            "{} bytes: {}",
            packed.bytes.len(),
            STANDARD.encode(&packed.bytes)
        );
    }

    #[test]
    fn what_is_written_in_another_way_is_not_read() {
        assert!(serde_json::from_str::<PackedBody>(r#"{"encoding":"deflate1","body":"AwA="}"#).is_ok());
        for other in ["deflate", "deflate2", "later"] {
            let json = format!(r#"{{"encoding":"{other}","body":"AwA="}}"#);
            assert!(serde_json::from_str::<PackedBody>(&json).is_err(), "{other}");
        }
    }

    /// DynamoDB takes 400 KB of an item. The longest fan-out is as many endpoints as there is room for in a tenant's routes.
    #[test]
    fn the_largest_packed_body_fits_an_item_beside_the_longest_fan_out() {
        let fan_out = 10 * (crate::routing::LARGEST_ROUTES / r#"["aeaqcaibaeaqcaib",1,1,["*"]],"#.len());
        let rest = 2 * 1024;
        assert!(MAX_PACKED_BODY + fan_out + rest < 400 * 1024);
    }

    #[test]
    fn the_largest_body_that_compresses_is_packed_and_unpacked_whole() {
        let body = b"{\"name\":\"name\"}".repeat(MAX_BODY / 15);
        let packed = PackedBody::pack(&body);
        assert!(packed.bytes.len() < MAX_PACKED_BODY, "{}", packed.bytes.len());
        assert!(packed.unpack().unwrap() == body);
    }

    #[test]
    fn a_small_input_cannot_unpack_to_a_large_one() {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&vec![b' '; 64 << 20]).unwrap();
        let bomb = PackedBody { encoding: Encoding::Deflate1, bytes: encoder.finish().unwrap() };
        let Damaged(error) = bomb.unpack().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
    }

    #[test]
    fn what_is_damaged_or_cut_is_not_unpacked() {
        let damaged = PackedBody { encoding: Encoding::Deflate1, bytes: vec![255; 8] };
        assert!(damaged.unpack().is_err());
        let whole = PackedBody::pack(&b"{\"name\":\"name\"}".repeat(50));
        for length in 0..whole.bytes.len() {
            let cut = PackedBody { bytes: whole.bytes[..length].to_vec(), ..whole.clone() };
            assert!(cut.unpack().is_err(), "{length} bytes of it");
        }
    }

    proptest! {
        #[test]
        fn packing_and_its_json_lose_nothing(body in prop::collection::vec(any::<u8>(), 0..5000)) {
            let packed = PackedBody::pack(&body);
            prop_assert!(packed.bytes.len() <= body.len());
            let json = serde_json::to_string(&packed).unwrap();
            prop_assert_eq!(serde_json::from_str::<PackedBody>(&json).unwrap().unpack().unwrap(), body);
        }

        /// What compresses, with the dictionary's help or without, and takes more than the 32 KB that DEFLATE looks back.
        #[test]
        fn what_compresses_is_packed_smaller_and_unpacked_whole(
            parts in prop::collection::vec((0..DICTIONARY_1.len(), 8usize..200, "\\PC{0,20}"), 20..400),
        ) {
            let part = |(from, length, text): &(usize, usize, String)| {
                let end = DICTIONARY_1.len().min(from + length);
                [&DICTIONARY_1[*from..end], text.as_bytes()].concat()
            };
            let body: Vec<_> = parts.iter().flat_map(part).collect();
            let packed = PackedBody::pack(&body);
            prop_assert_eq!(packed.encoding, Encoding::Deflate1);
            prop_assert!(packed.bytes.len() < body.len());
            prop_assert_eq!(packed.unpack().unwrap(), body);
        }
    }
}
