//! Sets up the client of each cloud from the usual settings, with our time limits and without retries of its own.

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{BackoffConfig, ClientConfigKey, ObjectStore, RetryConfig};
use std::sync::Arc;
use std::time::Duration;

use super::connector::Connector;
use crate::store::location::{Cloud, Location};
use crate::store::settings::Settings;

type Built = Result<(Arc<dyn ObjectStore>, String), object_store::Error>;

/// Defaults that the settings can override, by `AWS_TIMEOUT` and the like.
///
/// A request may take two minutes, body and all: a pack of 32 MiB then needs 2.2 Mbit/s, and a dead peer is noticed before the
/// operator gives up. Connecting takes a round trip or two, even to the other side of the world.
const LIMITS: [(ClientConfigKey, &str); 2] = [(ClientConfigKey::Timeout, "120s"), (ClientConfigKey::ConnectTimeout, "10s")];

/// [`crate::store::retry::Retrying`] is the only one that retries: two of them would multiply their waits, and only ours knows what a
/// put-if-absent with a lost answer means.
fn no_retries() -> RetryConfig {
    RetryConfig { backoff: BackoffConfig::default(), max_retries: 0, retry_timeout: Duration::ZERO }
}

/// The client for a bucket, and the prefix inside it.
pub(super) fn build(location: &Location, settings: &Settings) -> Built {
    let Location::Bucket { cloud, bucket, prefix } = location else {
        return Err(object_store::Error::NotSupported { source: "only buckets are in a cloud".into() });
    };
    let objects: Arc<dyn ObjectStore> = match cloud {
        Cloud::S3 => Arc::new(amazon(bucket, settings).build()?),
        Cloud::Google => Arc::new(google(bucket, settings).build()?),
        Cloud::Azure { account } => Arc::new(azure(bucket, account.as_deref(), settings).build()?),
    };
    Ok((objects, prefix.clone()))
}

/// An endpoint that is spelled `http://` was chosen with open eyes; it needs no second switch.
fn has_plain_endpoint(settings: &Settings, names: &[&str]) -> bool {
    names.iter().any(|name| settings.get(name).is_some_and(|value| value.starts_with("http://")))
}

fn amazon(bucket: &str, settings: &Settings) -> AmazonS3Builder {
    let mut builder = AmazonS3Builder::new()
        // One object at a time is deleted anyway, and not every S3 has the bulk request.
        .with_config(AmazonS3ConfigKey::DisableBulkDelete, "true");
    for (key, value) in LIMITS {
        builder = builder.with_config(AmazonS3ConfigKey::Client(key), value);
    }
    if has_plain_endpoint(settings, &["AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AWS_ENDPOINT_URL_S3"]) {
        builder = builder.with_allow_http(true);
    }
    for (name, value) in settings.starting("AWS_") {
        // Names that are not the client's, such as AWS_PROFILE, belong to other tools.
        if let Ok(key) = name.to_ascii_lowercase().parse() {
            builder = builder.with_config(key, value);
        }
    }
    builder.with_bucket_name(bucket).with_retry(no_retries()).with_http_connector(Connector::new(settings))
}

fn google(bucket: &str, settings: &Settings) -> GoogleCloudStorageBuilder {
    let mut builder = GoogleCloudStorageBuilder::new();
    for (key, value) in LIMITS {
        builder = builder.with_config(GoogleConfigKey::Client(key), value);
    }
    if has_plain_endpoint(settings, &["GOOGLE_BASE_URL"]) {
        builder = builder.with_config(GoogleConfigKey::Client(ClientConfigKey::AllowHttp), "true");
    }
    if let Some(path) = settings.get("SERVICE_ACCOUNT") {
        builder = builder.with_service_account_path(path);
    }
    for (name, value) in settings.starting("GOOGLE_") {
        if let Ok(key) = name.to_ascii_lowercase().parse() {
            builder = builder.with_config(key, value);
        }
    }
    builder.with_bucket_name(bucket).with_retry(no_retries()).with_http_connector(Connector::new(settings))
}

fn azure(container: &str, account: Option<&str>, settings: &Settings) -> MicrosoftAzureBuilder {
    let mut builder = MicrosoftAzureBuilder::new();
    for (key, value) in LIMITS {
        builder = builder.with_config(AzureConfigKey::Client(key), value);
    }
    if has_plain_endpoint(settings, &["AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"]) {
        builder = builder.with_allow_http(true);
    }
    if let Some(endpoint) = settings.get("IDENTITY_ENDPOINT") {
        builder = builder.with_msi_endpoint(endpoint);
    }
    for (name, value) in settings.starting("AZURE_") {
        if let Ok(key) = name.to_ascii_lowercase().parse() {
            builder = builder.with_config(key, value);
        }
    }
    if let Some(account) = account {
        builder = builder.with_account(account);
    }
    builder.with_container_name(container).with_retry(no_retries()).with_http_connector(Connector::new(settings))
}
