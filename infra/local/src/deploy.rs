//! Creates a stack, or brings it up to date, and waits for the end of it.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, bail};
use aws_config::SdkConfig;
use aws_sdk_cloudformation::{
    Client,
    error::ProvideErrorMetadata,
    types::{Capability, Parameter, ResourceStatus, Stack, StackStatus},
};

/// A template.
#[derive(Clone, Copy)]
pub(crate) enum Text<'a> {
    /// Itself: at most 51,200 bytes.
    Body(&'a str),
    /// Where CloudFormation finds it.
    Url(&'a str),
}

/// A stack that stands.
pub(crate) struct Deployed {
    /// Its outputs, by name.
    pub(crate) outputs: BTreeMap<String, String>,
    /// The physical ids of its resources, by logical id.
    pub(crate) resources: BTreeMap<String, String>,
}

/// Deploys `template` as the stack `name`.
///
/// # Errors
/// When a resource cannot be made or changed: its logical id and the service's reason.
pub(crate) async fn deploy(
    sdk: &SdkConfig,
    name: &str,
    template: Text<'_>,
    parameters: &[(String, String)],
) -> Result<Deployed> {
    let stack = Deployment { client: Client::new(sdk), name, pause: pause(sdk) };
    stack.remove_if_never_created().await?;
    let begun = SystemTime::now();
    stack.create_or_update(template, parameters).await?;
    let done = stack.wait().await?;
    if !matches!(done.stack_status(), Some(StackStatus::CreateComplete | StackStatus::UpdateComplete)) {
        bail!("the stack {name} could not be deployed: {}", stack.reason(&done, begun).await);
    }
    stack.describe(&done).await
}

/// Deletes the stack `name`, and waits until it is gone. What the template retains stays.
///
/// # Errors
/// When CloudFormation cannot be asked, or refuses.
pub(crate) async fn remove(sdk: &SdkConfig, name: &str) -> Result<()> {
    Deployment { client: Client::new(sdk), name, pause: pause(sdk) }.remove().await
}

/// Whether CloudFormation can be asked at all. Asked before minutes of building.
pub(crate) async fn reach(sdk: &SdkConfig, name: &str) -> Result<()> {
    let stack = Deployment { client: Client::new(sdk), name, pause: pause(sdk) };
    let todo = match sdk.endpoint_url() {
        Some(url) => format!("see that {url} is up"),
        None => {
            "see that AWS_PROFILE (or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY) and AWS_REGION are set".to_owned()
        }
    };
    match stack.find().await {
        Ok(_) => Ok(()),
        Err(error) => bail!("{error}: {todo}, then run this again"),
    }
}

struct Deployment<'a> {
    client: Client,
    name: &'a str,
    pause: Duration,
}

impl Deployment<'_> {
    /// A stack whose creation failed can only be deleted.
    async fn remove_if_never_created(&self) -> Result<()> {
        let Some(stack) = self.find().await? else { return Ok(()) };
        if stack.stack_status() != Some(&StackStatus::RollbackComplete) {
            return Ok(());
        }
        self.remove().await
    }

    async fn remove(&self) -> Result<()> {
        self.client.delete_stack().stack_name(self.name).send().await?;
        while let Some(stack) = self.find().await? {
            if stack.stack_status() == Some(&StackStatus::DeleteFailed) {
                let reason = stack.stack_status_reason().unwrap_or("no reason is given");
                bail!("the stack {} could not be deleted: {reason}", self.name);
            }
            tokio::time::sleep(self.pause).await;
        }
        Ok(())
    }

    async fn create_or_update(&self, template: Text<'_>, parameters: &[(String, String)]) -> Result<()> {
        let capabilities = [Capability::CapabilityIam, Capability::CapabilityAutoExpand];
        let (body, url) = match template {
            Text::Body(text) => (Some(text.to_owned()), None),
            Text::Url(url) => (None, Some(url.to_owned())),
        };
        let parameters: Vec<Parameter> = parameters
            .iter()
            .map(|(key, value)| Parameter::builder().parameter_key(key).parameter_value(value).build())
            .collect();
        let created = self
            .client
            .create_stack()
            .stack_name(self.name)
            .set_template_body(body.clone())
            .set_template_url(url.clone())
            .set_capabilities(Some(capabilities.to_vec()))
            .set_parameters(Some(parameters.clone()))
            .send()
            .await;
        let Err(error) = created else { return Ok(()) };
        if error.code() != Some("AlreadyExistsException") {
            bail!("the stack {} could not be created: {}", self.name, said(&error));
        }
        // Another process may be at it.
        self.wait().await?;
        let updated = self
            .client
            .update_stack()
            .stack_name(self.name)
            .set_template_body(body)
            .set_template_url(url)
            .set_capabilities(Some(capabilities.to_vec()))
            .set_parameters(Some(parameters))
            .send()
            .await;
        match updated {
            Ok(_) => Ok(()),
            Err(error) if error.message().is_some_and(|it| it.contains("No updates are to be performed")) => Ok(()),
            Err(error) => bail!("the stack {} could not be updated: {}", self.name, said(&error)),
        }
    }

    /// Waits until nothing is in progress.
    async fn wait(&self) -> Result<Stack> {
        loop {
            let stack = self.find().await?.with_context(|| format!("the stack {} is gone", self.name))?;
            if stack.stack_status().is_some_and(|status| !status.as_str().ends_with("IN_PROGRESS")) {
                return Ok(stack);
            }
            tokio::time::sleep(self.pause).await;
        }
    }

    async fn find(&self) -> Result<Option<Stack>> {
        match self.client.describe_stacks().stack_name(self.name).send().await {
            Ok(found) => Ok(found.stacks.unwrap_or_default().into_iter().next()),
            Err(error) if error.message().is_some_and(|it| it.contains("does not exist")) => Ok(None),
            Err(error) => bail!("CloudFormation could not be asked for the stack {} ({})", self.name, said(&error)),
        }
    }

    /// Why it failed: the first resource that did, since `begun`. Those after it were only cancelled.
    async fn reason(&self, stack: &Stack, begun: SystemTime) -> String {
        let events = self.client.describe_stack_events().stack_name(self.name).send().await;
        let events = events.ok().and_then(|events| events.stack_events).unwrap_or_default();
        // Clocks differ, so what happened within a minute before counts as well.
        let begun = begun.checked_sub(Duration::from_secs(60)).unwrap_or(begun);
        let failed = events.iter().rev().find(|event| {
            let recent = event.timestamp().is_none_or(|at| SystemTime::try_from(*at).is_ok_and(|at| at >= begun));
            let status = event.resource_status().map_or("", ResourceStatus::as_str);
            recent && status.ends_with("_FAILED") && event.resource_type() != Some("AWS::CloudFormation::Stack")
        });
        match failed {
            Some(event) => format!(
                "{} ({}): {}",
                event.logical_resource_id().unwrap_or_default(),
                event.resource_type().unwrap_or_default(),
                event.resource_status_reason().unwrap_or("no reason is given"),
            ),
            None => stack.stack_status_reason().unwrap_or("no reason is given").to_owned(),
        }
    }

    async fn describe(&self, stack: &Stack) -> Result<Deployed> {
        let outputs = stack
            .outputs()
            .iter()
            .filter_map(|output| Some((output.output_key()?.to_owned(), output.output_value()?.to_owned())));
        let mut resources = BTreeMap::new();
        let mut pages = self.client.list_stack_resources().stack_name(self.name).into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.with_context(|| format!("could not list the resources of {}", self.name))?;
            for resource in page.stack_resource_summaries() {
                if let (Some(logical), Some(physical)) =
                    (resource.logical_resource_id(), resource.physical_resource_id())
                {
                    resources.insert(logical.to_owned(), physical.to_owned());
                }
            }
        }
        Ok(Deployed { outputs: outputs.collect(), resources })
    }
}

/// Between two looks: an emulator is done in a second, AWS in minutes.
fn pause(sdk: &SdkConfig) -> Duration {
    match sdk.endpoint_url() {
        Some(_) => Duration::from_millis(50),
        None => Duration::from_secs(2),
    }
}

/// What the service said, or else what went wrong on the way to it: the first cause, of which the rest is wrapping.
fn said<E>(error: &E) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    if let Some(message) = error.message() {
        return message.to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string().split(['\n', '.']).next().unwrap_or_default().to_owned()
}
