//! Configurations for AWS SDK clients: of an emulator, or of the account that the environment names.

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::Credentials;

use crate::emulator::{ACCESS_KEY, REGION};

/// Clients of the emulator at `endpoint_url`. They use no proxy, whatever the environment says: 127.0.0.1 is not behind
/// one. A client belongs to the runtime that used it first, so each test makes its own.
pub async fn for_emulator(endpoint_url: &str) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .credentials_provider(Credentials::new(ACCESS_KEY, ACCESS_KEY, None, None, "local"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .endpoint_url(endpoint_url)
        .load()
        .await
}

/// Clients of what is somewhere else: AWS itself, with the environment's credentials and region, or another emulator at
/// `endpoint_url`, which takes any credentials.
pub(crate) async fn for_elsewhere(endpoint_url: Option<&str>) -> SdkConfig {
    let Some(endpoint_url) = endpoint_url else {
        return aws_config::load_defaults(BehaviorVersion::latest()).await;
    };
    let region = std::env::var("AWS_REGION").unwrap_or_else(|_| REGION.to_owned());
    aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new(region))
        .credentials_provider(Credentials::new(ACCESS_KEY, ACCESS_KEY, None, None, "local"))
        .endpoint_url(endpoint_url)
        .load()
        .await
}
