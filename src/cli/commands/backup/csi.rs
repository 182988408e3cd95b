//! What a CSI driver says about the snapshot that is backed up, or why everything is read instead.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use secrecy::SecretString;
use serde::Serialize;

use crate::base::extent::ExtentSet;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::job::JobError;
use crate::job::backup::{ChangeList, FreeSpace};
use crate::rpc::snapshot_metadata::{
    Address, BlockStyle, Course, Credentials, Limits, Metadata, MetadataError, Question, SnapshotMetadata, TokenSource,
};

/// Which driver is asked, and for which snapshots.
#[derive(Debug)]
pub(in crate::cli) struct Settings {
    pub(in crate::cli) address: Address,
    pub(in crate::cli) authority: Option<PathBuf>,
    pub(in crate::cli) caller: Caller,
    pub(in crate::cli) snapshot: String,
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

/// What was said about changes.
#[derive(Debug)]
pub(super) struct Changes {
    pub(super) list: Option<ChangeList>,
    pub(super) view: View,
}

/// The same in JSON.
#[derive(Debug, Serialize)]
pub(super) struct View {
    changes: &'static str,
    reason: Option<String>,
    changed_bytes: Option<u64>,
    blocks: Option<&'static str>,
}

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
        Ok(Self { context, settings, client: client.map_err(refused)?, device_bytes })
    }

    /// What changed since the base; without an answer the reason is said.
    pub(super) fn changes(&self) -> anyhow::Result<Changes> {
        let Some(base) = self.settings.base.clone() else {
            return Ok(unknown("what changed is not known: no earlier snapshot was named (--csi-base-snapshot)".to_owned()));
        };
        let question = Question::Changed { base, target: self.settings.snapshot.clone() };
        Ok(match self.ask(&question)? {
            Ok(metadata) => known(metadata),
            Err(error) => unknown(error.fallback_reason()),
        })
    }

    /// What was never written, according to the driver.
    pub(super) fn unwritten(&self) -> anyhow::Result<FreeSpace> {
        let question = Question::Allocated { snapshot: self.settings.snapshot.clone() };
        Ok(match self.ask(&question)? {
            Ok(metadata) => {
                FreeSpace { free: ExtentSet::whole(metadata.capacity).difference(&metadata.extents), doubts: Vec::new() }
            }
            Err(error) => FreeSpace::none(format!("everything is read: what is allocated is not known: {error}")),
        })
    }

    /// An answer, or a reason to read everything; a request that has to be changed fails.
    fn ask(&self, question: &Question) -> anyhow::Result<Result<Metadata, MetadataError>> {
        tracing::info!(address = %self.settings.address, ?question, "asking the CSI driver");
        let cancel = self.context.interrupts.cancel();
        match self.client.ask(question, self.device_bytes, &cancel) {
            Ok(metadata) => Ok(Ok(metadata)),
            Err(error) => match error.course() {
                Course::RetryLater | Course::ReadAll => Ok(Err(error)),
                Course::Refuse => Err(refused(error).into()),
                Course::Stop => Err(JobError::Cancelled.into()),
            },
        }
    }
}

fn refused(error: MetadataError) -> Failure {
    Failure::Refused(format!("{error}; or leave --csi-endpoint out, and everything is read"))
}

fn known(metadata: Metadata) -> Changes {
    let blocks = metadata.style.map(|style| match style {
        BlockStyle::Fixed => "fixed",
        BlockStyle::Variable => "variable",
    });
    let view = View { changes: "known", reason: None, changed_bytes: Some(metadata.extents.bytes()), blocks };
    Changes { list: Some(ChangeList { extents: metadata.extents }), view }
}

fn unknown(reason: String) -> Changes {
    output::warn(&format!("{reason}; reading without a list of changes"));
    Changes { list: None, view: View { changes: "unknown", reason: Some(reason), changed_bytes: None, blocks: None } }
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
