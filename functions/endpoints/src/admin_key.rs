//! The first API key, by invoking the function directly: `{"create_admin_key": {"name": "…"}}`.
//!
//! IAM guards this way: everybody who may invoke the function in the account may take it. The template's parameter
//! `CreateAdminKey` closes it. It makes keys for the whole stack with the scope `admin` and nothing else; all other keys
//! are made with one of them. A refusal is an error of the invocation: there is no HTTP status in its answer that a script
//! could miss.

use lambda_runtime::Diagnostic;
use pombo_aws::clock;
use pombo_requests::NewKey;
use pombo_web::Problem;
use serde_json::{Value, json};

use crate::App;
use crate::keys;
use crate::view::KeyView;

/// Makes an admin key for the whole stack.
pub async fn create(app: &App, payload: &str) -> Result<Value, Diagnostic> {
    let made = match NewKey::from_invocation(payload) {
        Ok(_) if !app.makes_admin_keys => Err(Problem::new(
            403,
            "The template's parameter CreateAdminKey is false: set it to true, make the key, and set it back.",
        )),
        // The way back in: the limit does not hold for it.
        Ok(new) => keys::store(app, new, None, usize::MAX, clock::now()).await,
        Err(problem) => Err(problem),
    };
    let (stored, key) = made.map_err(|problem| {
        tracing::warn!(reason = problem.detail, "A direct invocation was refused.");
        Diagnostic { error_type: "Refused".to_owned(), error_message: problem.detail }
    })?;
    // A warning: such a key is rare, and there is no caller to name.
    tracing::warn!(made = %stored.key_id, "API key {} with the scope admin made by direct invocation.", stored.key_id);
    Ok(json!(KeyView::with_key(&stored, &key)))
}
