//! What CloudFormation gets to see of `infra/template.yaml`: the output of SAM's own translator.

use std::{collections::BTreeMap, process::Command};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{process, progress::Progress, template::Template, venv};

/// Expands the template with these parameters (the others have their defaults). Conditions are left as they are; a
/// `CodeUri` names a place in a bucket.
///
/// # Errors
/// When the translator refuses the template, with its words, or cannot be installed.
pub async fn translate(parameters: &[(&str, &str)]) -> Result<Value> {
    let python = venv::ensure(&venv::EMULATOR, Progress::Quiet).await?.join("bin/python");
    let template = Template::read()?;
    let places: BTreeMap<_, _> = template
        .functions()?
        .into_iter()
        .map(|function| (function.clone(), format!("s3://bucket/{function}.zip")))
        .collect();
    let text = template.packaged(&places)?;
    let mut command = Command::new(python);
    command.args(["-c", include_str!("translate.py"), &text]);
    command.args(parameters.iter().map(|(name, value)| format!("{name}={value}")));
    let translated = process::run(command, false).await?.context("the environment has no python")?;
    if !translated.status.success() {
        bail!("the translator refused infra/template.yaml: {}", translated.stderr);
    }
    Ok(serde_json::from_str(&translated.stdout)?)
}
