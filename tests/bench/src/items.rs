//! What is in the tables before the first post: an API key, a tenant's routes and its one endpoint.

use serde_json::{Value, json};

/// A key for this benchmark alone; no stack has it.
pub const KEY: &str = "pk_rueuafcuci6uy7dc_uwm6bw6r3mdhqtt3tybrybqdt4y5isj74tjhbg77psbegwyth45qk3fbv3";
const TIME: &str = "2026-11-28T16:36:50.219Z";
const ENDPOINT: &str = "agrcgbay3gj4heja";

/// The items of each table, in DynamoDB's JSON. `receiver` is the endpoint's URL.
pub fn all(receiver: &str) -> [(&'static str, Value); 3] {
    let key = json!({
        "partition": {"S": "rueuafcuci6uy7dc"}, "row": {"S": "key"}, "key_id": {"S": "rueuafcuci6uy7dc"},
        "digest": {"S": "YjUVq1EqpVe92NZ43Vnkr8fZiieavBgCNEQFJ66mpus="}, "name": {"S": "bench"},
        "scopes": {"L": [{"S": "ingest"}]}, "owner": {"S": "*"}, "created_at": {"S": TIME},
        "created_key": {"S": format!("{TIME}#rueuafcuci6uy7dc")}
    });
    let routes = json!({
        "tenant": {"S": "default"}, "version": {"N": "1"},
        "routes": {"S": json!([[ENDPOINT, 1, 1, ["student.*"]]]).to_string()}
    });
    let secret = json!({"M": {"created_at": {"S": TIME}, "secret": {"S": "whsec_/VOZX7jiQ9TDBFQjh2tDVN1oNQ44fj3++KglnQxvrew="}}});
    let endpoint = json!({
        "endpoint_id": {"S": format!("ep_{ENDPOINT}")}, "tenant": {"S": "default"}, "name": {"S": "bench"},
        "url": {"S": receiver}, "url_set_by": {"S": "stack"}, "event_types": {"L": [{"S": "student.*"}]},
        "headers": {"M": {"x-api-key": {"S": "k3y"}}}, "retry_policy": {"S": "standard"}, "status": {"S": "active"},
        "secrets": {"L": [secret]}, "timeout_seconds": {"N": "15"}, "version": {"N": "1"},
        "created_at": {"S": TIME}, "updated_at": {"S": TIME}
    });
    [("ApiKeys", key), ("Routing", routes), ("Endpoints", endpoint)]
}
