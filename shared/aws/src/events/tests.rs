//! The stored form of an event.

use pombo_domain::hops::Hops;
use pombo_domain::ids::EndpointId;

use super::*;
use crate::item::size_of;

/// An invocation's id.
const WRITER: &str = "8d2f6c1e-4b7a-4c3d-9e5f-0a1b2c3d4e5f";

/// An event for one endpoint, with names of the usual lengths.
fn event(encoding: Encoding) -> Event {
    Event {
        tenant: "school-4711".parse().unwrap(),
        id: "evt_aeaqcaibaeaqcaibaeaqcaibae".parse().unwrap(),
        event_type: "student.enrolled".parse().unwrap(),
        accepted_at: Timestamp::from_millis(1_764_288_123_456),
        body: PackedBody { encoding, bytes: vec![0, 255, 1] },
        fan_out: FanOut::new(vec![EndpointId::generate([9; 10])]),
        fingerprint: pombo_domain::body::fingerprint(
            &"student.enrolled".parse().unwrap(),
            &serde_json::value::to_raw_value(&7).unwrap(),
        ),
        expires_at: 1_766_880_000,
        hops: Hops::NONE,
        posted_by: Some("aeaqcaibaeaqcaib".parse().unwrap()),
    }
}

/// `tests/src/bodies.rs` tests how many bodies fit into the rest of a write unit.
#[test]
fn an_event_takes_at_most_233_bytes_beside_its_body() {
    let event = event(Encoding::Deflate1);
    let beside = size_of(&to_item(&event, WRITER)) - event.body.bytes.len();
    assert!(beside <= 233, "{beside} bytes");
}

#[test]
fn an_event_is_read_as_it_was_written() {
    for encoding in [Encoding::Identity, Encoding::Deflate1] {
        let all = Event { hops: "4".parse().unwrap(), ..event(encoding) };
        let least = Event { posted_by: None, fan_out: FanOut::default(), ..event(encoding) };
        for event in [all, least] {
            assert_eq!(from_item(&event.tenant, to_item(&event, WRITER)).unwrap(), event);
        }
    }
}

#[test]
fn a_body_that_is_written_in_another_way_is_not_read() {
    let event = event(Encoding::Deflate1);
    for other in ["2", "deflate", ""] {
        let mut item = to_item(&event, WRITER);
        item.insert("e".into(), text(other));
        assert!(from_item(&event.tenant, item).is_err(), "{other:?}");
    }
}
