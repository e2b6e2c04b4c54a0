//! Items and expressions. (What an expression may say is judged by DynamoDB Local, with AWS's own parser.)

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::Violation;

const LARGEST_ITEM: usize = 400 * 1024;
const LARGEST_TRANSACTION: usize = 4 * 1024 * 1024;
const LARGEST_EXPRESSION: usize = 4096;
/// Of a sort key; a partition key may have twice as many.
const LONGEST_KEY: usize = 1024;
const MOST_WRITES: usize = 100;
const MOST_KEYS: usize = 100;
const LONGEST_TOKEN: usize = 36;
/// The attributes that are a key of a table or of an index.
const KEYS: [&str; 18] = [
    "created_key",
    "due_at",
    "due_shard",
    "endpoint_id",
    "endpoint_status",
    "event_key",
    "list",
    "list_key",
    "owner",
    "partition",
    "pos",
    "row",
    "sort_key",
    "stack_status",
    "status",
    "tenant",
    "tenant_status",
    "ts",
];

type Checked = Result<(), Violation>;

pub(super) fn check(operation: &str, request: &Value) -> Checked {
    match operation {
        // Whether an event fits an item, ingest leaves to the service.
        "PutItem" if request["Item"]["event_key"].is_object() => keys(&request["Item"])?,
        "PutItem" => item(&request["Item"])?,
        "GetItem" | "UpdateItem" | "DeleteItem" => keys(&request["Key"])?,
        "Query" => query(request)?,
        "BatchGetItem" => return batch(&request["RequestItems"]),
        "TransactWriteItems" => return transaction(request),
        _ => return Ok(()),
    }
    expressions(request)
}

fn query(request: &Value) -> Checked {
    if request["IndexName"].is_string() && request["ConsistentRead"] == true {
        return Err(invalid("an index has no consistent reads"));
    }
    if request["Limit"].as_i64().is_some_and(|limit| limit < 1) {
        return Err(invalid(format!("Limit is {}", request["Limit"])));
    }
    if request["ExclusiveStartKey"].is_null() { Ok(()) } else { keys(&request["ExclusiveStartKey"]) }
}

fn batch(tables: &Value) -> Checked {
    let tables: Vec<_> = tables.as_object().into_iter().flatten().collect();
    let all: Vec<_> = tables.iter().filter_map(|(table, wanted)| Some((table, wanted["Keys"].as_array()?))).collect();
    let count: usize = all.iter().map(|(_, keys)| keys.len()).sum();
    if !(1..=MOST_KEYS).contains(&count) {
        return Err(invalid(format!("a batch asks for {count} items")));
    }
    for (table, wanted) in all {
        let mut seen = HashSet::new();
        for key in wanted {
            keys(key)?;
            if !seen.insert(key.to_string()) {
                return Err(invalid(format!("a batch asks {table} twice for {key}")));
            }
        }
    }
    tables.iter().try_for_each(|(_, wanted)| expressions(wanted))
}

fn transaction(request: &Value) -> Checked {
    let token = request["ClientRequestToken"].as_str().unwrap_or_default();
    if !(1..=LONGEST_TOKEN).contains(&token.len()) {
        return Err(invalid(format!("ClientRequestToken is {token:?}")));
    }
    let writes = request["TransactItems"].as_array().map_or(&[][..], Vec::as_slice);
    if !(1..=MOST_WRITES).contains(&writes.len()) {
        return Err(invalid(format!("a transaction has {} writes", writes.len())));
    }
    let (mut bytes, mut seen) = (0, HashSet::new());
    for write in writes.iter().filter_map(Value::as_object).flat_map(Map::values) {
        let written = if write["Item"].is_object() { &write["Item"] } else { &write["Key"] };
        item(written)?;
        bytes += size_of_map(written);
        // Ours put whole items, so the keys of the table and those of its indexes are all there: the same ones, the same item.
        let key: Vec<_> =
            ["endpoint_id", "sort_key", "event_key", "tenant", "owner", "created_key", "partition", "row"]
                .iter()
                .map(|name| written[name].to_string())
                .collect();
        if !seen.insert((write["TableName"].to_string(), key)) {
            return Err(invalid(format!("a transaction writes an item of {} twice", write["TableName"])));
        }
        expressions(write)?;
    }
    if bytes > LARGEST_TRANSACTION {
        return Err(invalid(format!("a transaction has {bytes} bytes")));
    }
    Ok(())
}

fn item(item: &Value) -> Checked {
    keys(item)?;
    let bytes = size_of_map(item);
    if bytes > LARGEST_ITEM { Err(invalid(format!("an item has {bytes} bytes"))) } else { Ok(()) }
}

/// An attribute that is a key is neither empty nor too long.
fn keys(item: &Value) -> Checked {
    let attributes = item.as_object().filter(|attributes| !attributes.is_empty());
    for (name, value) in attributes.ok_or_else(|| invalid("there is no key"))? {
        let text = value["S"].as_str();
        if KEYS.contains(&name.as_str()) && text.is_some_and(|text| !(1..=LONGEST_KEY).contains(&text.len())) {
            return Err(invalid(format!("the key {name} is {text:?}")));
        }
        numbers(name, value)?;
    }
    Ok(())
}

/// Up to 38 digits, of a magnitude that DynamoDB has.
fn numbers(name: &str, value: &Value) -> Checked {
    let Some((kind, value)) = value.as_object().and_then(|value| value.iter().next()) else {
        return Err(invalid(format!("{name} has no type")));
    };
    match kind.as_str() {
        "N" => {
            let text = value.as_str().unwrap_or_default();
            let digits = text.split(['e', 'E']).next().unwrap_or_default().bytes().filter(u8::is_ascii_digit).count();
            let magnitude = text.parse::<f64>().unwrap_or(f64::INFINITY).abs();
            let is_good = (1..=38).contains(&digits) && (magnitude == 0.0 || (1e-130..1e126).contains(&magnitude));
            if is_good { Ok(()) } else { Err(invalid(format!("the number {name} is {text:?}"))) }
        }
        "L" => value.as_array().into_iter().flatten().try_for_each(|value| numbers(name, value)),
        "M" => value.as_object().into_iter().flatten().try_for_each(|(name, value)| numbers(name, value)),
        _ => Ok(()),
    }
}

/// Every placeholder is defined, and every definition is used.
fn expressions(request: &Value) -> Checked {
    let names = [
        "ConditionExpression",
        "KeyConditionExpression",
        "UpdateExpression",
        "ProjectionExpression",
        "FilterExpression",
    ];
    let all: Vec<_> = names.iter().filter_map(|name| request[name].as_str()).collect();
    if all.iter().any(|text| text.is_empty() || text.len() > LARGEST_EXPRESSION) {
        return Err(invalid("an expression is empty or too long"));
    }
    for (prefix, field) in [('#', "ExpressionAttributeNames"), (':', "ExpressionAttributeValues")] {
        let used: HashSet<_> = all.iter().flat_map(|text| placeholders(text, prefix)).collect();
        let defined: HashSet<_> =
            request[field].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        if request[field].as_object().is_some_and(Map::is_empty) || used != defined {
            return Err(invalid(format!("{field} defines {defined:?}, and {used:?} are used")));
        }
    }
    let values = request["ExpressionAttributeValues"].as_object().into_iter().flatten();
    values.into_iter().try_for_each(|(name, value)| numbers(name, value))
}

fn placeholders(expression: &str, prefix: char) -> impl Iterator<Item = &str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    expression.match_indices(prefix).map(move |(start, _)| {
        let rest = &expression[start + 1..];
        &expression[start..start + 1 + rest.find(|c| !is_part(c)).unwrap_or(rest.len())]
    })
}

/// The size of an item as DynamoDB counts it: names, and values.
fn size_of_map(item: &Value) -> usize {
    item.as_object().into_iter().flatten().map(|(name, value)| name.len() + size_of(value)).sum()
}

fn size_of(value: &Value) -> usize {
    let Some((kind, value)) = value.as_object().and_then(|value| value.iter().next()) else { return 0 };
    let text = value.as_str().unwrap_or_default();
    match kind.as_str() {
        "S" => text.len(),
        "N" => text.len().div_ceil(2) + 1,
        "B" => STANDARD.decode(text).map_or(0, |bytes| bytes.len()),
        "L" => 3 + value.as_array().into_iter().flatten().map(|value| 1 + size_of(value)).sum::<usize>(),
        "M" => 3 + value.as_object().map_or(0, Map::len) + size_of_map(value),
        _ => 1,
    }
}

fn invalid(what: impl Into<String>) -> Violation {
    Violation::new("ValidationException", what)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;
    use crate::template::Template;

    fn assert_refused(operation: &str, request: &Value) {
        let code = check(operation, request).err().map(|violation| violation.code);
        assert_eq!(
            code,
            Some("ValidationException"),
            "{operation} {}",
            &request.to_string().chars().take(300).collect::<String>()
        );
    }

    fn text(length: usize) -> Value {
        json!({"S": "x".repeat(length)})
    }

    #[tokio::test]
    async fn the_keys_are_those_of_the_template() {
        let template = Template::with(&[]).await;
        let tables = template.names("AWS::DynamoDB::Table");
        let attributes =
            tables.iter().flat_map(|table| template.properties(table)["AttributeDefinitions"].as_array().unwrap());
        let names: BTreeSet<_> = attributes.map(|attribute| attribute["AttributeName"].as_str().unwrap()).collect();
        assert_eq!(names, KEYS.into());
    }

    #[test]
    fn an_item_is_as_large_as_dynamodb_counts_it() {
        let item = json!({
            "sort_key": {"S": "ü"}, "n": {"N": "1234"}, "b": {"B": "AAEC"}, "t": {"BOOL": true}, "z": {"NULL": true},
            "l": {"L": [{"S": "ab"}, {"N": "1"}]}, "m": {"M": {"k": {"S": "v"}}},
        });
        assert_eq!(size_of_map(&item), (8 + 2) + (1 + 3) + (1 + 3) + 2 + 2 + (1 + 3 + 3 + 3) + (1 + 3 + 1 + 2));
        let fits = json!({"Item": {"row": {"S": "k"}, "d": text(LARGEST_ITEM - 5)}});
        assert_eq!(check("PutItem", &fits), Ok(()));
        assert_refused("PutItem", &json!({"Item": {"row": {"S": "k"}, "d": text(LARGEST_ITEM - 4)}}));
    }

    #[test]
    fn keys_are_neither_empty_nor_too_long() {
        for bad in
            [json!({"row": text(0)}), json!({"row": text(1025)}), json!({"k": text(1), "list_key": text(0)}), json!({})]
        {
            assert_refused("PutItem", &json!({"Item": bad}));
            assert_refused("GetItem", &json!({"Key": bad}));
            assert_refused("UpdateItem", &json!({"Key": bad}));
            assert_refused("BatchGetItem", &json!({"RequestItems": {"t": {"Keys": [bad]}}}));
            assert_refused(
                "TransactWriteItems",
                &json!({"ClientRequestToken": "x", "TransactItems": [{"Put": {"Item": bad}}]}),
            );
        }
        assert_refused("PutItem", &json!({"Item": {"event_key": text(0)}}));
        assert_refused("Query", &json!({"ExclusiveStartKey": {"sort_key": text(0)}}));
        assert_eq!(check("GetItem", &json!({"Key": {"row": text(1024)}})), Ok(()));
    }

    #[test]
    fn numbers_have_up_to_38_digits() {
        let put = |number: &str| json!({"Item": {"row": text(1), "m": {"M": {"l": {"L": [{"N": number}]}}}}});
        for good in ["0", "-1", "1.5", "1e-130", "12345678901234567890123456789012345678"] {
            assert_eq!(check("PutItem", &put(good)), Ok(()), "{good}");
        }
        for bad in ["", "x", "NaN", "1e126", "1e-131", "123456789012345678901234567890123456789"] {
            assert_refused("PutItem", &put(bad));
        }
    }

    #[test]
    fn a_batch_asks_for_each_of_at_most_a_hundred_items_once() {
        let batch = |ids: Vec<usize>| {
            let keys: Vec<_> = ids.into_iter().map(|id| json!({"row": {"S": id.to_string()}})).collect();
            json!({"RequestItems": {"t": {"Keys": keys}}})
        };
        assert_eq!(check("BatchGetItem", &batch((0..100).collect())), Ok(()));
        for bad in [batch((0..101).collect()), batch(vec![]), batch(vec![1, 2, 1])] {
            assert_refused("BatchGetItem", &bad);
        }
    }

    #[test]
    fn a_transaction_writes_each_of_at_most_a_hundred_items_once_under_a_token() {
        let transaction = |token: &str, sizes: Vec<(usize, usize)>| {
            let put = |(id, size): (usize, usize)| json!({"Put": {"TableName": "t", "Item": {"row": {"S": id.to_string()}, "d": text(size)}}});
            json!({"ClientRequestToken": token, "TransactItems": sizes.into_iter().map(put).collect::<Vec<_>>()})
        };
        let small = |ids: std::ops::Range<usize>| ids.map(|id| (id, 1)).collect::<Vec<_>>();
        assert_eq!(check("TransactWriteItems", &transaction(&"x".repeat(36), small(0..100))), Ok(()));
        for bad in [
            transaction("x", small(0..101)),
            transaction("x", vec![]),
            transaction("x", vec![(1, 1), (2, 1), (1, 1)]),
            transaction("x", (0..11).map(|id| (id, 399_000)).collect()),
            transaction("", small(0..1)),
            transaction(&"x".repeat(37), small(0..1)),
        ] {
            assert_refused("TransactWriteItems", &bad);
        }
    }

    #[test]
    fn expressions_and_their_placeholders_fit_each_other() {
        let query = |expression: &str, names: Value, values: Value| {
            let mut query = json!({"KeyConditionExpression": expression, "Limit": 1});
            for (field, defined) in [("ExpressionAttributeNames", names), ("ExpressionAttributeValues", values)] {
                if !defined.is_null() {
                    query[field] = defined;
                }
            }
            query
        };
        let good = query("#a = :a AND b < :a_1", json!({"#a": "a"}), json!({":a": text(1), ":a_1": {"N": "1"}}));
        assert_eq!(check("Query", &good), Ok(()));
        for bad in [
            query("#a = :a", json!({"#a": "a"}), json!({":a": text(1), ":unused": text(1)})),
            query("#a = :a", json!({"#a": "a", "#unused": "b"}), json!({":a": text(1)})),
            query("#a = :a", json!({"#a": "a"}), Value::Null),
            query("#a = :a", Value::Null, json!({":a": text(1)})),
            query("a = :a", json!({}), json!({":a": text(1)})),
            query("", Value::Null, Value::Null),
            query(&"a".repeat(4097), Value::Null, Value::Null),
        ] {
            assert_refused("Query", &bad);
        }
        assert_refused("Query", &json!({"Limit": 0}));
        assert_refused("Query", &json!({"IndexName": "by_due", "ConsistentRead": true}));
        let unused = json!({":a": text(1)});
        assert_refused("PutItem", &json!({"Item": {"row": text(1)}, "ExpressionAttributeValues": unused}));
        assert_refused("UpdateItem", &json!({"Key": {"row": text(1)}, "ExpressionAttributeValues": unused}));
        let put = json!({"Item": {"row": text(1)}, "ExpressionAttributeValues": unused});
        assert_refused("TransactWriteItems", &json!({"ClientRequestToken": "x", "TransactItems": [{"Put": put}]}));
        let batch = json!({"Keys": [{"row": text(1)}], "ProjectionExpression": "#a"});
        assert_refused("BatchGetItem", &json!({"RequestItems": {"t": batch}}));
    }
}
