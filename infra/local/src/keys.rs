//! API keys for a stack: the first by invoking the endpoints function, as an operator of the account would, the others
//! with that one.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use anyhow::{Context, Result, bail};
use aws_config::SdkConfig;
use aws_sdk_lambda::{Client, error::DisplayErrorContext, primitives::Blob};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::api::{Api, Urls};

/// One key of each scope, for the whole stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    /// May do everything.
    pub admin: String,
    /// May post events.
    pub ingest: String,
    /// May look at deliveries and replay them.
    pub ops: String,
}

impl Keys {
    /// Makes new ones.
    pub(crate) async fn create(sdk: &SdkConfig, function: &str, urls: &Urls) -> Result<Self> {
        let admin = first(sdk, function).await?;
        let api = Api::new(&urls.endpoints, &admin);
        let ingest = key(&api, "ingest").await?;
        let ops = key(&api, "ops").await?;
        Ok(Self { admin, ingest, ops })
    }

    /// Those of a kept stack: the last start's, if the stack still knows them, or new ones. A secret is shown once only, so
    /// they are in a file in the directory `data`, for its owner's eyes.
    pub(crate) async fn kept(sdk: &SdkConfig, function: &str, urls: &Urls, data: &Path) -> Result<Self> {
        let file = data.join("keys.json");
        let kept = fs::read(&file).ok().and_then(|bytes| serde_json::from_slice::<Self>(&bytes).ok());
        if let Some(keys) = kept
            && keys.work(urls).await
        {
            return Ok(keys);
        }
        let keys = Self::create(sdk, function, urls).await?;
        keys.write(&file).with_context(|| format!("could not write {}", file.display()))?;
        Ok(keys)
    }

    /// Writes them anew: a mode is set only on a file that is made.
    fn write(&self, file: &Path) -> Result<()> {
        let _ = fs::remove_file(file);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
        Ok(file.write_all(&serde_json::to_vec(self)?)?)
    }

    /// Whether the stack still knows them.
    async fn work(&self, urls: &Urls) -> bool {
        let api = Api::new(&urls.endpoints, &self.admin);
        matches!(api.get("/v1/keys").await, Ok((200, _)))
    }
}

async fn first(sdk: &SdkConfig, function: &str) -> Result<String> {
    let event = json!({"create_admin_key": {"name": "local admin"}});
    let invoked = Client::new(sdk)
        .invoke()
        .function_name(function)
        .payload(Blob::new(event.to_string()))
        .send()
        .await
        .map_err(|error| anyhow::anyhow!("the first key could not be made: {}", DisplayErrorContext(&error)))?;
    let payload = invoked.payload().map(Blob::as_ref).unwrap_or_default();
    if invoked.function_error().is_some() {
        bail!("the first key could not be made; the function {function} failed: {}", String::from_utf8_lossy(payload));
    }
    let answer: Value = serde_json::from_slice(payload).context("the first key's answer is not JSON")?;
    read(&answer)
}

async fn key(api: &Api, scope: &str) -> Result<String> {
    let wanted = json!({"name": format!("local {scope}"), "scopes": [scope]});
    let (status, answer) = api.post("/v1/keys", &wanted).await?;
    if status != 201 {
        bail!("a key with the scope {scope} could not be made: {status} {answer}");
    }
    read(&answer)
}

fn read(answer: &Value) -> Result<String> {
    let key = answer["key"].as_str().with_context(|| format!("there is no key in the answer: {answer}"))?;
    Ok(key.to_owned())
}
