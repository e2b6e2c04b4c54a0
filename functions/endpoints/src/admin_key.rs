//! The first API key, by invoking the function directly: `{"create_admin_key": {"name": "…"}}`.
//!
//! Whoever may invoke the function in the account may do this, so IAM is its guard. It makes keys for the whole stack with
//! the scope `admin` and nothing else; all other keys are made with one of them. A refusal is an error of the invocation:
//! there is no HTTP status in its answer that a script could miss.

use lambda_runtime::Diagnostic;
use pombo_aws::clock;
use pombo_domain::api_key::Scope;
use pombo_web::Problem;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::App;
use crate::keys::{self, NewKey};
use crate::view::KeyView;

/// The payload. Any other member, `requestContext` above all, is refused.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Invocation {
    create_admin_key: Order,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    name: String,
}

/// Makes an admin key for the whole stack.
pub async fn create(app: &App, payload: Value) -> Result<Value, Diagnostic> {
    let made = match read(payload) {
        Ok(new) => new.store(app, clock::now()).await,
        Err(problem) => Err(problem),
    };
    let (stored, key) = made.map_err(|problem| {
        tracing::warn!(reason = problem.detail, "A direct invocation was refused.");
        Diagnostic { error_type: "Refused".to_owned(), error_message: problem.detail }
    })?;
    tracing::info!(made = %stored.key_id, "API key {} with the scope admin made by direct invocation.", stored.key_id);
    Ok(json!(KeyView::with_key(&stored, &key)))
}

fn read(payload: Value) -> Result<NewKey, Problem> {
    // Without what is wrong about it: the error is logged, and might quote whatever was sent by mistake.
    let invocation: Invocation = serde_json::from_value(payload)
        .map_err(|_| Problem::new(400, r#"A direct invocation takes {"create_admin_key": {"name": "…"}} alone."#))?;
    let name = keys::name(invocation.create_admin_key.name)?;
    Ok(NewKey { name, scopes: [Scope::Admin].into(), tenant: None, valid_until: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_makes_admin_keys_for_the_stack_alone() {
        let expected = NewKey { name: "ops".into(), scopes: [Scope::Admin].into(), tenant: None, valid_until: None };
        assert_eq!(read(json!({"create_admin_key": {"name": "ops"}})).unwrap(), expected);
    }

    #[test]
    fn anything_else_is_refused() {
        for payload in [
            json!({}),
            json!([]),
            json!("create_admin_key"),
            json!({"create_admin_key": {}}),
            json!({"create_admin_key": {"name": ""}}),
            json!({"create_admin_key": {"name": "a\nb"}}),
            json!({"create_admin_key": {"name": "x", "scopes": ["ingest"]}}),
            json!({"create_admin_key": {"name": "x", "tenant": "acme"}}),
            json!({"create_admin_key": {"name": "x"}, "requestContext": {}}),
            json!({"create_admin_key": {"name": "x"}, "requestContext": null}),
            json!({"create_admin_key": {"name": "x"}, "body": ""}),
        ] {
            assert_eq!(read(payload.clone()).map_err(|problem| problem.status).err(), Some(400), "{payload}");
        }
    }
}
