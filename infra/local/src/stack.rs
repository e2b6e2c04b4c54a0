//! A stack, from nothing to URLs and keys.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context, Result, bail};
use aws_config::SdkConfig;
use tokio::sync::OnceCell;

use crate::{
    api::{Api, Urls},
    artifacts::{self, Archive, Bucket},
    deploy::{self, Text},
    emulator::{Emulator, EmulatorOptions},
    functions::{self, Architecture},
    keys::Keys,
    paths,
    progress::Progress,
    sdk,
    template::Template,
};

/// What stack to start.
#[derive(Clone, Debug)]
pub struct LocalOptions {
    /// The stack's name. Together with the port, the name is also that of the emulator's log and kept data.
    pub name: String,
    /// The emulator's port; 0 for any that is free.
    pub port: u16,
    /// Parameters of the template. They win over what this crate sets: this machine's `Architecture`, `AllowLoopback`,
    /// `IngestHosts`, and `LogLevel`.
    pub parameters: Vec<(String, String)>,
    /// Whether endpoints on 127.0.0.1 are refused, as in AWS.
    pub strict: bool,
    /// Where the functions send their AWS calls: see [`EmulatorOptions::functions_endpoint`].
    pub functions_endpoint: Option<String>,
    /// Whether the functions' roles are enforced.
    pub enforce_iam: bool,
    /// Whether the functions announce each effect, and die there when they are told to: for the tests of just that.
    pub crash_points: bool,
    /// Whether data outlives the emulator.
    pub keep_data: bool,
    /// More variables for the emulator's and the functions' environment.
    pub environment: Vec<(String, String)>,
    /// Where progress is told.
    pub progress: Progress,
}

impl Default for LocalOptions {
    fn default() -> Self {
        Self {
            name: "pombo".to_owned(),
            port: 0,
            parameters: Vec::new(),
            strict: false,
            functions_endpoint: None,
            enforce_iam: false,
            crash_points: false,
            keep_data: false,
            environment: Vec::new(),
            progress: Progress::Quiet,
        }
    }
}

/// A stack that is ready. It holds its emulator: when the last stack in it is dropped, the emulator ends.
#[derive(Clone, Debug)]
pub struct LocalStack {
    /// Its name in CloudFormation.
    pub name: String,
    /// Where its APIs are; usable from any client on this machine.
    pub urls: Urls,
    /// Keys of each scope.
    pub keys: Keys,
    /// The template's outputs as CloudFormation gives them.
    pub outputs: BTreeMap<String, String>,
    /// Physical ids by the template's logical ids: a table's or function's name, a queue's URL.
    pub resources: BTreeMap<String, String>,
    /// Where its AWS services are; `None` for AWS itself.
    pub endpoint_url: Option<String>,
    /// The region it is in.
    pub region: String,
    emulator: Option<Arc<Emulator>>,
}

impl LocalStack {
    /// Starts an emulator of its own, and the stack in it.
    ///
    /// # Errors
    /// One sentence that says what went wrong and what to do.
    pub async fn start(options: LocalOptions) -> Result<Self> {
        let emulator = Emulator::start(
            EmulatorOptions {
                name: options.name.clone(),
                port: options.port,
                functions_endpoint: options.functions_endpoint.clone(),
                enforce_iam: options.enforce_iam,
                keep_data: options.keep_data,
                environment: options.environment.clone(),
            },
            options.progress,
        );
        let (emulator, _) = tokio::try_join!(emulator, archives(options.crash_points, options.progress))?;
        Self::start_in(&Arc::new(emulator), options).await
    }

    /// Starts the stack in an emulator that runs already. Of the options, those about the emulator have no effect.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_in(emulator: &Arc<Emulator>, options: LocalOptions) -> Result<Self> {
        let template = Template::read()?;
        let archives = archives(options.crash_points, options.progress).await?;
        let sdk = sdk::for_emulator(&emulator.url()).await;
        let mut parameters = BTreeMap::from([
            ("Architecture".to_owned(), Architecture::host().name().to_owned()),
            ("AllowLoopback".to_owned(), (!options.strict).to_string()),
            // The emulator waits 50 ms for the log of a call that writes none, as one that succeeds does at the default level.
            ("LogLevel".to_owned(), "DEBUG".to_owned()),
            // The emulator answers for the ingest URL at an address of its own, which the template cannot know.
            ("IngestHosts".to_owned(), format!("127.0.0.1:{port},localhost:{port}", port = emulator.port())),
        ]);
        parameters.extend(options.parameters.iter().cloned());
        let emulator = Some(Arc::clone(emulator));
        Self::deploy(&sdk, &template, archives, parameters, &options, emulator).await
    }

    /// Puts the stack where `endpoint_url` says, an emulator that is not ours; without one, into the AWS account that the
    /// environment names. The functions are built for the template's architecture.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_elsewhere(endpoint_url: Option<&str>, options: LocalOptions) -> Result<Self> {
        let sdk = sdk::for_elsewhere(endpoint_url).await;
        deploy::reach(&sdk, &options.name).await?;
        let template = Template::read()?;
        let parameters: BTreeMap<_, _> = options.parameters.iter().cloned().collect();
        let architecture = parameters.get("Architecture").map(String::as_str);
        let architecture = architecture.or_else(|| template.default_of("Architecture"));
        let architecture = Architecture::parse(architecture.context("the template has no Architecture")?)?;
        let programs = functions::build_for(architecture, &template.functions()?, options.progress).await?;
        let archives = artifacts::pack(&programs)?;
        Self::deploy(&sdk, &template, &archives, parameters, &options, None).await
    }

    async fn deploy(
        sdk: &SdkConfig,
        template: &Template,
        archives: &BTreeMap<String, Archive>,
        parameters: BTreeMap<String, String>,
        options: &LocalOptions,
        emulator: Option<Arc<Emulator>>,
    ) -> Result<Self> {
        if parameters.get("EndpointsAuth").is_some_and(|auth| auth != "NONE") {
            bail!(
                "EndpointsAuth must be NONE here: the keys are made at the endpoints URL with an API key. Leave it out"
            );
        }
        options.progress.say("Deploying infra/template.yaml ...");
        let bucket = Bucket::open(sdk).await?;
        let template = template.packaged(&bucket.upload(archives).await?)?;
        let template = bucket.upload_template(&template).await?;
        let parameters: Vec<_> = parameters.into_iter().collect();
        let deployed = deploy::deploy(sdk, &options.name, Text::Url(&template), &parameters).await?;
        let endpoint_url = sdk.endpoint_url().map(str::to_owned);
        let url = |name: &str| -> Result<String> {
            let output = deployed.outputs.get(name).with_context(|| format!("the template has no output {name}"))?;
            Ok(reachable(output, endpoint_url.as_deref()))
        };
        let urls = Urls { ingest: url("IngestUrl")?, endpoints: url("EndpointsUrl")?, replay: url("ReplayUrl")? };
        let function = deployed.outputs.get("EndpointsFunctionName");
        let function = function.context("the template has no output EndpointsFunctionName")?;
        let keys = match &emulator {
            Some(emulator) if options.keep_data => {
                Keys::kept(sdk, function, &urls, &paths::data(&options.name, emulator.port())).await?
            }
            _ => Keys::create(sdk, function, &urls).await?,
        };
        Ok(Self {
            name: options.name.clone(),
            urls,
            keys,
            region: sdk.region().context("no AWS region is set: set AWS_REGION, then run this again")?.to_string(),
            outputs: deployed.outputs,
            resources: deployed.resources,
            endpoint_url,
            emulator,
        })
    }

    /// Deletes the stack. Its emulator goes on, and so do the tables, which the template retains.
    ///
    /// # Errors
    /// When CloudFormation cannot be asked, or refuses.
    pub async fn remove(&self) -> Result<()> {
        deploy::remove(&self.sdk_config().await, &self.name).await
    }

    /// The emulator, to start another stack in it; `None` if it is not ours.
    #[must_use]
    pub fn emulator(&self) -> Option<&Arc<Emulator>> {
        self.emulator.as_ref()
    }

    /// A configuration for AWS SDK clients. A client belongs to the runtime that used it first, so each test makes its own.
    pub async fn sdk_config(&self) -> SdkConfig {
        match (&self.emulator, &self.endpoint_url) {
            (Some(emulator), _) => sdk::for_emulator(&emulator.url()).await,
            (None, url) => sdk::for_elsewhere(url.as_deref()).await,
        }
    }

    /// The physical id of one of the template's resources.
    ///
    /// # Errors
    /// When the template has no such resource.
    pub fn resource(&self, logical_id: &str) -> Result<&str> {
        let resource = self.resources.get(logical_id);
        Ok(resource.with_context(|| format!("the template has no resource {logical_id}"))?)
    }

    /// The ingest API, with a key for it.
    #[must_use]
    pub fn ingest(&self) -> Api {
        Api::new(&self.urls.ingest, &self.keys.ingest)
    }

    /// The endpoints API, with a key for it.
    #[must_use]
    pub fn endpoints(&self) -> Api {
        Api::new(&self.urls.endpoints, &self.keys.admin)
    }

    /// The replay API, with a key for it.
    #[must_use]
    pub fn replay(&self) -> Api {
        Api::new(&self.urls.replay, &self.keys.ops)
    }
}

/// The functions as this machine runs them: built once in a process, however many stacks it starts.
async fn archives(crash_points: bool, progress: Progress) -> Result<&'static BTreeMap<String, Archive>> {
    static PLAIN: OnceCell<BTreeMap<String, Archive>> = OnceCell::const_new();
    static CRASHING: OnceCell<BTreeMap<String, Archive>> = OnceCell::const_new();
    let built = if crash_points { &CRASHING } else { &PLAIN };
    built.get_or_try_init(|| async { artifacts::pack(&functions::programs(crash_points, progress).await?) }).await
}

/// A Function URL as a client on this machine reaches it. An emulator gives the host names that AWS would, which lead to
/// AWS; it answers for them under a path of its own.
fn reachable(output: &str, endpoint_url: Option<&str>) -> String {
    let url = output.trim_end_matches('/');
    let host = url.strip_prefix("https://").unwrap_or_default();
    match (endpoint_url, host.split_once('.')) {
        (Some(endpoint), Some((id, rest))) if rest.ends_with(".on.aws") => {
            format!("{}/_aws/lambda-url/{id}", endpoint.trim_end_matches('/'))
        }
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn an_emulator_s_function_url_is_turned_into_one_that_resolves() {
        let output = "https://abc123.lambda-url.us-east-1.on.aws/";
        let url = reachable(output, Some("http://127.0.0.1:4566/"));
        assert_eq!(url, "http://127.0.0.1:4566/_aws/lambda-url/abc123");
    }

    #[test]
    fn a_function_url_of_aws_stays_as_it_is() {
        let output = "https://abc123.lambda-url.us-east-1.on.aws/";
        assert_eq!(reachable(output, None), "https://abc123.lambda-url.us-east-1.on.aws");
    }

    #[test]
    fn a_function_url_that_resolves_already_stays_as_it_is() {
        let output = "http://abc123.lambda-url.us-east-1.localhost.localstack.cloud:4566/";
        let url = reachable(output, Some("http://localhost:4566"));
        assert_eq!(url, output.trim_end_matches('/'));
    }
}
