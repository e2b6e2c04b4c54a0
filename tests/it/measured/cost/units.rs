//! DynamoDB's rules for what a call costs, applied to the calls at the proxy. The emulator has units of its own, which
//! differ: it takes a row of an index for each write, changed or not.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pombo_tests::{Call, Stack, Template};
use serde_json::{Map, Value, json};

/// Bytes of an item that one write unit pays for ("Read/write capacity mode" in DynamoDB's Developer Guide).
const WRITE_UNIT_BYTES: usize = 1024;
/// Bytes of an item that one read unit pays for, with strong consistency.
const READ_UNIT_BYTES: usize = 4096;

/// A table or an index: the attributes of its key, and those that are copied to it.
struct Keyed {
    keys: Vec<String>,
    /// `None` for all.
    copied: Option<Vec<String>>,
}

/// A table with its indexes.
struct Table {
    own: Keyed,
    indexes: Vec<Keyed>,
}

/// The tables of a stack, and what has been written to them.
pub struct Tables {
    tables: BTreeMap<String, Table>,
    items: BTreeMap<(String, String), Value>,
}

/// What a write cost.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Written {
    /// Units for the item itself.
    pub item: usize,
    /// Units for its rows in the indexes.
    pub indexes: usize,
}

impl Tables {
    /// The tables of the template, empty.
    pub fn of(template: &Template, stack: &Stack) -> Self {
        let table = |name: &&str| {
            let properties = template.properties(name);
            let own = Keyed { keys: keys_of(properties), copied: None };
            let indexes = properties["GlobalSecondaryIndexes"].as_array().into_iter().flatten();
            let indexes = indexes.map(|index| Keyed::index(index, &own.keys)).collect();
            (stack.resource(name).to_owned(), Table { own, indexes })
        };
        let tables = template.names("AWS::DynamoDB::Table").iter().map(table).collect();
        Self { tables, items: BTreeMap::new() }
    }

    /// What a put costs, in the place of what was put under its key before.
    ///
    /// "If an item with the same key exists, the larger of both sizes" counts. A row of an index costs a write when it comes,
    /// goes or changes, and two when its key changes ("Provisioned throughput considerations for global secondary indexes").
    pub fn put(&mut self, call: &Call) -> Written {
        let (name, new) = (call.table().to_owned(), &call.body["Item"]);
        let table = self.tables.get(&name).unwrap_or_else(|| panic!("no such table: {name}"));
        let key = table.own.keys.iter().map(|key| new[key].to_string()).collect();
        let old = self.items.insert((name, key), new.clone());
        let item = units(size(new).max(old.as_ref().map_or(0, size)));
        let indexes = table.indexes.iter().map(|index| index.written(old.as_ref(), new)).sum();
        Written { item, indexes }
    }

    /// Bytes of the rows that an item has in the indexes, each with the number of rows.
    pub fn rows(&self, call: &Call) -> (usize, usize) {
        let indexes = &self.tables[call.table()].indexes;
        let rows: Vec<_> = indexes.iter().filter_map(|index| index.row(&call.body["Item"])).collect();
        (rows.iter().map(size).sum(), rows.len())
    }
}

impl Keyed {
    fn index(index: &Value, table_keys: &[String]) -> Self {
        let keys = keys_of(index);
        let named = index["Projection"]["NonKeyAttributes"].as_array().into_iter().flatten();
        let named = named.map(|name| name.as_str().unwrap().to_owned());
        let copied = (index["Projection"]["ProjectionType"] != "ALL")
            .then(|| keys.iter().chain(table_keys).cloned().chain(named).collect());
        Self { keys, copied }
    }

    /// The row of an item; none unless it has all attributes of the key.
    fn row(&self, item: &Value) -> Option<Value> {
        if !self.keys.iter().all(|key| item.get(key).is_some()) {
            return None;
        }
        let is_copied = |name: &String| self.copied.as_ref().is_none_or(|copied| copied.contains(name));
        let row = item.as_object().unwrap().iter().filter(|(name, _)| is_copied(name));
        Some(Value::Object(row.map(|(name, value)| (name.clone(), value.clone())).collect()))
    }

    fn written(&self, old: Option<&Value>, new: &Value) -> usize {
        match (old.and_then(|old| self.row(old)), self.row(new)) {
            (None, None) => 0,
            (Some(row), None) | (None, Some(row)) => units(size(&row)),
            (Some(old), Some(new)) if old == new => 0,
            (Some(old), Some(new)) if self.keys.iter().all(|key| old[key] == new[key]) => {
                units(size(&old).max(size(&new)))
            }
            (Some(old), Some(new)) => units(size(&old)) + units(size(&new)),
        }
    }
}

fn keys_of(properties: &Value) -> Vec<String> {
    let schema = properties["KeySchema"].as_array().unwrap();
    schema.iter().map(|key| key["AttributeName"].as_str().unwrap().to_owned()).collect()
}

/// Write units for so many bytes.
pub fn units(bytes: usize) -> usize {
    bytes.div_ceil(WRITE_UNIT_BYTES).max(1)
}

/// Read units of a get of one item, of a batch or of a query that finds nothing. The items that it is used for are below 4 KB,
/// which is asserted where they are written.
pub fn read_units(call: &Call) -> f64 {
    let of = |request: &Value, items: usize| items as f64 * if request["ConsistentRead"] == true { 1.0 } else { 0.5 };
    match call.operation.as_str() {
        "GetItem" | "Query" => of(&call.body, 1),
        "BatchGetItem" => {
            let tables = call.body["RequestItems"].as_object().unwrap().values();
            tables.map(|wanted| of(wanted, wanted["Keys"].as_array().unwrap().len())).sum()
        }
        other => panic!("{other} is no read"),
    }
}

/// Fails unless one read unit pays for the item.
pub fn assert_is_one_read(item: &Value) {
    assert!(size(item) <= READ_UNIT_BYTES, "{} bytes", size(item));
}

/// Bytes of an item ("DynamoDB item sizes and formats" in the Developer Guide).
pub fn size(item: &Value) -> usize {
    map_size(item.as_object().unwrap())
}

fn map_size(map: &Map<String, Value>) -> usize {
    map.iter().map(|(name, value)| name.len() + value_size(value)).sum()
}

fn value_size(value: &Value) -> usize {
    let (kind, value) = value.as_object().unwrap().iter().next().unwrap();
    match (kind.as_str(), value) {
        ("S", Value::String(text)) => text.len(),
        ("N", Value::String(digits)) => digits.len().div_ceil(2) + 1,
        ("B", Value::String(text)) => STANDARD.decode(text).unwrap().len(),
        ("M", Value::Object(map)) => 3 + map.len() + map_size(map),
        ("L", Value::Array(list)) => 3 + list.len() + list.iter().map(value_size).sum::<usize>(),
        ("BOOL" | "NULL", _) => 1,
        _ => panic!("{kind} {value}"),
    }
}

/// Bytes of the longest binary attribute of an item: an event's packed body.
pub fn largest_binary(item: &Value) -> usize {
    let binary = item.as_object().unwrap().values().filter(|value| value.get("B").is_some());
    binary.map(value_size).max().unwrap()
}

/// That a row costs what DynamoDB says, which the emulator does not.
#[pombo_tests::scenario]
async fn a_row_of_an_index_costs_a_write_when_it_comes_goes_or_changes_and_two_when_it_moves() {
    let row = |place: Option<&str>, copied: &str, other: usize| {
        let mut item = json!({"id": {"S": "1"}, "copied": {"S": copied}, "other": {"S": "x".repeat(other)}});
        if let Some(place) = place {
            item["place"] = json!({"S": place});
        }
        item
    };
    let index = json!({
        "KeySchema": [{"AttributeName": "place"}],
        "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["copied"]},
    });
    let index = Keyed::index(&index, &["id".to_owned()]);
    let first = row(Some("a"), "x", 1);
    for (old, new, expected) in [
        (None, row(None, "x", 1), 0),
        (None, first.clone(), 1),
        (Some(&first), row(Some("a"), "x", 9000), 0),
        (Some(&first), row(Some("a"), "y", 1), 1),
        (Some(&first), row(Some("b"), "x", 1), 2),
        (Some(&first), row(None, "x", 1), 1),
    ] {
        assert_eq!(index.written(old, &new), expected, "{old:?} {new:?}");
    }
    assert_eq!([0, 1, 1024, 1025, 2048, 2049].map(units), [1, 1, 1, 2, 2, 3]);
    // Names and values: 2 + 1, 6 + 1, 5 + 3.
    assert_eq!(size(&row(None, "x", 3)), 18);
}
