//! What a CSI driver says about the snapshot that is backed up, or why everything is read instead.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use secrecy::SecretString;

use crate::base::extent::ExtentSet;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::job::JobError;
use crate::job::backup::FreeSpace;
use crate::repository::format::changes::Rung;
use crate::rpc::snapshot_metadata::{
    Address, Course, Credentials, Limits, Metadata, MetadataError, Question, SnapshotMetadata, TokenSource,
};
use crate::tracking::{Answer, ChangeSource, SourceError};

/// Which driver is asked, and for which snapshots.
#[derive(Debug)]
pub(in crate::cli) struct Settings {
    pub(in crate::cli) address: Address,
    pub(in crate::cli) authority: Option<PathBuf>,
    pub(in crate::cli) caller: Caller,
    pub(in crate::cli) snapshot: String,
    /// What the driver calls it.
    pub(in crate::cli) handle: Option<String>,
    pub(in crate::cli) base: Option<String>,
}

/// Who is asked, and what is shown.
#[derive(Debug)]
pub(in crate::cli) enum Caller {
    /// The service that Kubernetes offers beside the driver.
    Kubernetes { namespace: String, token_file: PathBuf },
    /// The driver itself.
    Driver { secrets: Option<PathBuf> },
}

/// Certificates, tokens and secrets are a few kilobytes; more than this is another file.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// A driver wants a user and a password.
const MAX_SECRETS: usize = 64;

/// A driver, and a device that is made of one of its snapshots.
#[derive(Debug)]
pub(super) struct Driver<'a> {
    context: &'a Context,
    settings: &'a Settings,
    client: SnapshotMetadata,
    device_bytes: u64,
}

impl<'a> Driver<'a> {
    /// Nothing is asked yet.
    pub(super) fn new(context: &'a Context, settings: &'a Settings, device_bytes: u64) -> anyhow::Result<Self> {
        let authority = settings.authority.as_deref().map(read_file).transpose()?;
        let credentials = credentials(&settings.caller)?;
        let clock = Arc::clone(&context.clock);
        let client = SnapshotMetadata::new(&settings.address, authority.as_deref(), credentials, Limits::default(), clock);
        Ok(Self { context, settings, client: client.map_err(|error| Failure::Refused(refusal(&error)))?, device_bytes })
    }

    /// What was never written, according to the driver.
    pub(super) fn unwritten(&self) -> anyhow::Result<FreeSpace> {
        let question = Question::Allocated { snapshot: self.settings.snapshot.clone() };
        Ok(match self.ask(&question).map_err(JobError::from)? {
            Ok(metadata) => {
                FreeSpace { free: ExtentSet::whole(metadata.capacity).difference(&metadata.extents), doubts: Vec::new() }
            }
            Err(error) => FreeSpace::none(format!("everything is read: what is allocated is not known: {error}")),
        })
    }

    /// An answer, or a reason to read everything; a request that has to be changed fails.
    fn ask(&self, question: &Question) -> Result<Result<Metadata, MetadataError>, SourceError> {
        tracing::info!(address = %self.settings.address, ?question, "asking the CSI driver");
        let cancel = self.context.interrupts.cancel();
        match self.client.ask(question, self.device_bytes, &cancel) {
            Ok(metadata) => Ok(Ok(metadata)),
            Err(error) => match error.course() {
                Course::RetryLater | Course::ReadAll => Ok(Err(error)),
                Course::Refuse => Err(SourceError::Refused(refusal(&error))),
                Course::Stop => Err(SourceError::Stopped),
            },
        }
    }
}

fn refusal(error: &MetadataError) -> String {
    format!("{error}; or leave --csi-endpoint out, and everything is read")
}

/// What changed between two snapshots.
#[derive(Debug)]
pub(super) struct CsiChanges<'a> {
    driver: &'a Driver<'a>,
    base: Option<String>,
    /// The point says what its own snapshot is called, so that the base can be held against it.
    is_checked: bool,
    handle: Option<String>,
}

impl<'a> CsiChanges<'a> {
    /// `known` is what the newest point calls the snapshot that it was made of.
    pub(super) fn new(driver: &'a Driver<'a>, settings: &Settings, known: Option<&str>) -> Self {
        let base = settings.base.clone().or_else(|| known.map(str::to_owned));
        Self { driver, base, is_checked: known.is_some(), handle: settings.handle.clone() }
    }
}

impl ChangeSource for CsiChanges<'_> {
    fn rung(&self) -> Rung {
        Rung::CsiMetadata
    }

    fn counts_from(&self) -> Option<&str> {
        self.base.as_deref().filter(|_| self.is_checked)
    }

    fn cut_name(&self) -> Option<&str> {
        self.handle.as_deref()
    }

    fn changes(&mut self) -> Result<Answer, SourceError> {
        let Some(base) = self.base.clone() else {
            let reason = "no earlier snapshot was named; name it with --csi-base-snapshot".to_owned();
            return Ok(Answer::Unknown { reason });
        };
        let target = self.driver.settings.snapshot.clone();
        let proof = format!("the driver compared the snapshots {base} and {target}");
        match self.driver.ask(&Question::Changed { base, target })? {
            Ok(metadata) => Ok(Answer::Exact { ranges: metadata.extents, proof }),
            Err(error) => Ok(Answer::Unknown { reason: error.fallback_reason() }),
        }
    }
}

fn credentials(caller: &Caller) -> anyhow::Result<Credentials> {
    Ok(match caller {
        Caller::Kubernetes { namespace, token_file } => {
            Credentials::Sidecar { namespace: namespace.clone(), tokens: Arc::new(TokenFile(token_file.clone())) }
        }
        Caller::Driver { secrets } => {
            Credentials::Driver { secrets: secrets.as_deref().map(read_secrets).transpose()?.unwrap_or_default() }
        }
    })
}

/// A projected token, which kubelet replaces before it expires.
#[derive(Debug)]
struct TokenFile(PathBuf);

impl TokenSource for TokenFile {
    fn token(&self) -> io::Result<SecretString> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("cannot read {}: {error}", self.0.display()));
        let text = String::from_utf8(read_small(&self.0).map_err(named)?).map_err(|_| named(io::ErrorKind::InvalidData.into()))?;
        match text.trim() {
            "" => Err(io::Error::other(format!("{} is empty", self.0.display()))),
            token => Ok(SecretString::from(token)),
        }
    }
}

/// One file a secret. Kubernetes keeps its own links beside them, whose names begin with two dots.
fn read_secrets(folder: &Path) -> anyhow::Result<BTreeMap<String, SecretString>> {
    let mut secrets = BTreeMap::new();
    let failed = || format!("cannot read the secrets in {}", folder.display());
    for entry in fs::read_dir(folder).with_context(failed)? {
        let path = entry.with_context(failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("..") {
            continue;
        }
        if secrets.len() == MAX_SECRETS {
            let reason = format!("{} holds more than {MAX_SECRETS} files; name a directory of secrets only", folder.display());
            return Err(Failure::Refused(reason).into());
        }
        let secret = String::from_utf8(read_file(&path)?).with_context(|| format!("the secret {} is no text", path.display()))?;
        secrets.insert(name.to_owned(), SecretString::from(secret));
    }
    Ok(secrets)
}

fn read_file(path: &Path) -> anyhow::Result<Vec<u8>> {
    read_small(path).with_context(|| format!("cannot read {}", path.display()))
}

fn read_small(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::other(format!("it is longer than {MAX_FILE_BYTES} bytes")));
    }
    Ok(bytes)
}
