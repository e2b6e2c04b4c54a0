//! The shape of a JSON text, asked of serde_json, apart from the code that judges it.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Holds that in a body that was accepted each name is there once, in all that is Pombo's own: everything but `data`.
pub fn has_each_name_once(accepted: &str) {
    let shape: Shape<false> = serde_json::from_str(accepted).expect("what was accepted is JSON");
    assert!(!shape.repeats, "{accepted}");
}

/// How many levels a text has, where serde_json can tell: it reads no more than 127, and not every text that is JSON.
pub fn levels(json: &str) -> Option<usize> {
    serde_json::from_str::<Shape<true>>(json).ok().map(|shape| shape.levels)
}

/// Levels, and whether a name is there twice in an object; with or without what is in a member `data`.
#[derive(Debug, Default)]
struct Shape<const WITH_DATA: bool> {
    levels: usize,
    repeats: bool,
}

impl<const WITH_DATA: bool> Shape<WITH_DATA> {
    fn take(&mut self, inner: Self) {
        self.levels = self.levels.max(inner.levels + 1);
        self.repeats |= inner.repeats;
    }
}

impl<'de, const WITH_DATA: bool> Deserialize<'de> for Shape<WITH_DATA> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor::<WITH_DATA>)
    }
}

struct ShapeVisitor<const WITH_DATA: bool>;

impl<'de, const WITH_DATA: bool> Visitor<'de> for ShapeVisitor<WITH_DATA> {
    type Value = Shape<WITH_DATA>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Shape::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Shape::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Shape::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Shape::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Shape::default())
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Shape::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut shape = Shape { levels: 1, repeats: false };
        while let Some(item) = items.next_element()? {
            shape.take(item);
        }
        Ok(shape)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let (mut shape, mut names) = (Shape { levels: 1, repeats: false }, BTreeSet::new());
        while let Some(name) = members.next_key::<String>()? {
            if name == "data" && !WITH_DATA {
                members.next_value::<IgnoredAny>()?;
            } else {
                shape.take(members.next_value()?);
            }
            shape.repeats |= !names.insert(name);
        }
        Ok(shape)
    }
}
