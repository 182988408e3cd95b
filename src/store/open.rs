//! Opens the store at a location: picks the implementation and wraps it in retries.

use std::sync::Arc;

use super::cloud::Cloud;
use super::directory::Directory;
use super::location::{Location, without_secrets};
use super::memory::Memory;
use super::retry::{RetryPolicy, Retrying};
use super::settings::Settings;
use super::{Store, StoreError, StoreErrorKind};
use crate::base::clock::Clock;
use crate::base::entropy::Entropy;

/// What to do about a directory that is not there. Buckets are never made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// It must exist: a mistyped path, or a disk that is not mounted, must not look like an empty repository.
    Refuse,
    /// Make it, and what is missing above it.
    Create,
}

/// What opening a store needs besides its location.
#[derive(Debug, Clone)]
pub struct Options {
    /// What to do about a missing directory.
    pub missing: Missing,
    /// Credentials, endpoints and so on of clouds.
    pub settings: Settings,
    /// How to retry.
    pub retry: RetryPolicy,
    /// Time, for retries and for old leftovers.
    pub clock: Arc<dyn Clock>,
    /// Randomness, for the jitter of retries.
    pub entropy: Arc<dyn Entropy>,
}

impl Options {
    /// An existing directory, or a cloud set up by the environment, with the usual retries.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        let settings = Settings::from_environment();
        Self { missing: Missing::Refuse, settings, retry: RetryPolicy::default(), clock, entropy }
    }
}

/// Opens the store at `location`: a path, `file:///path`, `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`,
/// `abfss://container@account.dfs.core.windows.net/prefix`, or `memory:` for a fresh empty one.
///
/// A cloud is not asked anything yet: wrong credentials or a wrong bucket show at the first call. A cloud's calls block, so they
/// must come from plain threads, not from inside an async runtime.
pub fn open(location: &str, options: &Options) -> Result<Arc<dyn Store>, StoreError> {
    let parsed = Location::parse(location)
        .map_err(|cause| StoreError::about(StoreErrorKind::Misconfigured, "open", without_secrets(location)).caused_by(cause))?;
    let store: Arc<dyn Store> = match &parsed {
        Location::Memory => return Ok(Arc::new(Memory::new(Arc::clone(&options.clock)))),
        Location::Directory(path) => Arc::new(Directory::open(path, options.missing, &*options.clock)?),
        Location::Bucket { .. } => Arc::new(Cloud::open(&parsed, &options.settings)?),
    };
    Ok(Arc::new(Retrying::new(store, options.retry, Arc::clone(&options.clock), Arc::clone(&options.entropy))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ObjectKey;
    use crate::testkit::manual_clock::ManualClock;
    use crate::testkit::seeded_entropy::SeededEntropy;
    use bytes::Bytes;

    fn options(settings: Settings) -> Options {
        let new = Options::new(Arc::new(ManualClock::default()), Arc::new(SeededEntropy::new(1)));
        Options { settings, ..new }
    }

    #[test]
    fn a_path_opens_a_directory_and_memory_opens_empty_each_time() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("a/b").display().to_string();
        let key = ObjectKey::new("a").unwrap();
        let mut options = options(Settings::none());
        assert_eq!(open(&path, &options).unwrap_err().kind, StoreErrorKind::Misconfigured);
        options.missing = Missing::Create;
        for location in [path.clone(), format!("file://{path}")] {
            let store = open(&location, &options).unwrap();
            store.put(&key, Bytes::new()).unwrap();
            assert_eq!(store.location(), path);
        }
        for _ in 0..2 {
            let store = open("memory:", &options).unwrap();
            assert!(store.get(&key).unwrap_err().is_not_found());
            store.put(&key, Bytes::new()).unwrap();
        }
    }

    #[test]
    fn clouds_open_over_https_without_a_call_and_name_themselves_without_secrets() {
        let settings = Settings::none()
            .with("AWS_ACCESS_KEY_ID", "hunter1")
            .with("AWS_SECRET_ACCESS_KEY", "hunter2")
            .with("GOOGLE_BEARER_TOKEN", "hunter3")
            .with("AZURE_STORAGE_ACCOUNT_NAME", "account")
            .with("AZURE_STORAGE_ACCOUNT_KEY", "aHVudGVyNA==");
        for location in ["s3://bucket/a", "gs://bucket/a", "az://container/a", "abfss://box@acc.dfs.core.windows.net/a"] {
            let store = open(location, &options(settings.clone())).unwrap();
            assert_eq!(store.location(), location);
            let shown = format!("{store:?}");
            assert!(!shown.contains("hunter") && !shown.contains("aHVu"), "{shown}");
        }
    }

    #[test]
    fn a_location_that_is_wrong_says_so_without_repeating_secrets() {
        let error = open("s3://AKIA:hunter2@bucket/a", &options(Settings::none())).unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Misconfigured);
        let text = format!("{error}: {}", error.source.as_ref().unwrap());
        assert!(text.contains("AWS_SECRET_ACCESS_KEY") && !text.contains("hunter2"), "{text}");
    }

    #[test]
    fn settings_that_contradict_each_other_are_found_on_opening() {
        let half = Settings::none().with("AWS_ACCESS_KEY_ID", "x");
        assert_eq!(open("s3://bucket", &options(half)).unwrap_err().kind, StoreErrorKind::Misconfigured);
        assert_eq!(open("az://container", &options(Settings::none())).unwrap_err().kind, StoreErrorKind::Misconfigured);
        let no_boolean = Settings::none().with("AWS_ALLOW_HTTP", "perhaps");
        assert_eq!(open("s3://bucket", &options(no_boolean)).unwrap_err().kind, StoreErrorKind::Misconfigured);
    }
}
