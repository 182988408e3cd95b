//! Why a job failed, and the few kinds that decide exit codes, metrics and retries.

use std::io;

use thiserror::Error;

use crate::base::extent::{Extent, ExtentSet};
use crate::base::io::IoError;
use crate::filesystem::FilesystemError;
use crate::filetree::FileTreeError;
use crate::repository::{CodecError, RepositoryError};
use crate::salvage::SalvageError;
use crate::store::StoreErrorKind;
use crate::tracking::SourceError;

/// A failed job.
#[derive(Debug, Error)]
pub enum JobError {
    /// The repository failed.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// The volume failed.
    #[error(transparent)]
    Io(#[from] IoError),
    /// The compressor failed.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The filesystem in a volume failed.
    #[error(transparent)]
    Filesystem(#[from] FilesystemError),
    /// Too little is left of a volume, or there is no room for what was found.
    #[error(transparent)]
    Salvage(SalvageError),
    /// A tree of files could not be laid out.
    #[error(transparent)]
    FileTree(FileTreeError),
    /// The target of an extraction failed.
    #[error("cannot {act} {path}; {advice}")]
    Target {
        /// What was being done.
        act: &'static str,
        /// To what.
        path: String,
        /// What the system said.
        source: io::Error,
        /// What to try next.
        advice: &'static str,
    },
    /// A file in an archive cannot be had, and its beginning is written already.
    #[error("the archive ends within {path}: {reason}; extract into a directory instead, or keep incomplete files with --partial")]
    ArchiveCut {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// What reads the output failed, or went away.
    #[error("cannot write the output")]
    Output(#[source] io::Error),
    /// The request contradicts what is there.
    #[error("{0}")]
    Refused(String),
    /// The point was taken with unreadable ranges, and the caller did not ask for what there is.
    #[error(
        "the point lacks {bytes} bytes in {count} ranges that the source could not give when it was taken; \
         add --degraded to restore everything else"
    )]
    IncompletePoint {
        /// How many bytes.
        bytes: u64,
        /// How many ranges.
        count: usize,
    },
    /// The repository cannot give everything back.
    #[error("{} bytes in {} ranges of the point are damaged ({first}); add --degraded to restore everything else", extents.bytes(), extents.count())]
    Damaged {
        /// What was found until then.
        extents: ExtentSet,
        /// What was found first.
        first: String,
    },
    /// The target does not hold what was written to it.
    #[error("{extent} reads back differently from what was written; do not trust this target")]
    ReadBack {
        /// Where.
        extent: Extent,
    },
    /// A thread died.
    #[error("a worker thread failed: {0}")]
    Worker(String),
    /// The caller asked to stop.
    #[error("stopped on request")]
    Cancelled,
}

impl From<FileTreeError> for JobError {
    fn from(error: FileTreeError) -> Self {
        match error {
            FileTreeError::Cancelled | FileTreeError::Stopped => Self::Cancelled,
            FileTreeError::Earlier(error) => Self::Filesystem(error),
            error => Self::FileTree(error),
        }
    }
}

impl From<SalvageError> for JobError {
    fn from(error: SalvageError) -> Self {
        match error {
            SalvageError::Cancelled => Self::Cancelled,
            SalvageError::Filesystem(error) => Self::Filesystem(error),
            error @ SalvageError::Scratch(_) => Self::Salvage(error),
        }
    }
}

impl From<SourceError> for JobError {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Refused(what) => Self::Refused(what),
            SourceError::Stopped => Self::Cancelled,
        }
    }
}

/// Stable kinds of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobErrorKind {
    /// Something else.
    Failure,
    /// The request is wrong or refused.
    Refused,
    /// Data is damaged.
    Damage,
    /// The key is wrong, or there is none.
    Key,
    /// No such repository or point.
    NotFound,
    /// Somebody else is at work; later it will do.
    Busy,
    /// The store is out of reach; later it may do.
    Unavailable,
    /// Stopped on request.
    Cancelled,
}

impl JobError {
    /// Which kind this is.
    #[must_use]
    pub fn kind(&self) -> JobErrorKind {
        match self {
            Self::Repository(error) => repository_kind(error),
            Self::Filesystem(error) => filesystem_kind(error),
            Self::ArchiveCut { .. } => JobErrorKind::Damage,
            Self::Io(IoError::Cancelled) | Self::Cancelled => JobErrorKind::Cancelled,
            Self::Io(IoError::Missing { .. }) | Self::IncompletePoint { .. } | Self::Damaged { .. } | Self::ReadBack { .. } => {
                JobErrorKind::Damage
            }
            Self::FileTree(FileTreeError::Os { source, .. }) if source.kind() == io::ErrorKind::NotFound => JobErrorKind::NotFound,
            Self::Refused(_) | Self::FileTree(FileTreeError::Full { .. } | FileTreeError::TooMany) => JobErrorKind::Refused,
            Self::Io(IoError::Os { source, .. }) => system_kind(source),
            Self::FileTree(_)
            | Self::Io(_)
            | Self::Codec(_)
            | Self::Worker(_)
            | Self::Target { .. }
            | Self::Output(_)
            | Self::Salvage(_) => JobErrorKind::Failure,
        }
    }
}

fn filesystem_kind(error: &FilesystemError) -> JobErrorKind {
    match error {
        FilesystemError::Io { source, .. } => match source {
            IoError::Missing { .. } | IoError::OutOfRange { .. } => JobErrorKind::Damage,
            IoError::Cancelled => JobErrorKind::Cancelled,
            IoError::Os { source, .. } => system_kind(source),
        },
        FilesystemError::Corrupt { .. } | FilesystemError::Lost { .. } => JobErrorKind::Damage,
        FilesystemError::NotFound { .. } | FilesystemError::NotADirectory { .. } => JobErrorKind::NotFound,
        FilesystemError::Unrecognised { .. }
        | FilesystemError::Unsupported { .. }
        | FilesystemError::Encrypted { .. }
        | FilesystemError::TooLarge { .. } => JobErrorKind::Failure,
    }
}

/// A point that is read like a device fails like one, but what failed may be the store beneath it.
fn system_kind(error: &io::Error) -> JobErrorKind {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    inner.map_or(JobErrorKind::Failure, repository_kind)
}

fn repository_kind(error: &RepositoryError) -> JobErrorKind {
    match error {
        RepositoryError::Store(error) => match error.kind {
            StoreErrorKind::Temporary => JobErrorKind::Unavailable,
            StoreErrorKind::NotFound | StoreErrorKind::OutOfRange => JobErrorKind::Damage,
            StoreErrorKind::Denied | StoreErrorKind::Full | StoreErrorKind::Misconfigured | StoreErrorKind::Permanent => {
                JobErrorKind::Failure
            }
        },
        RepositoryError::NotARepository { .. } | RepositoryError::NoSuchPoint { .. } | RepositoryError::NoSuchSlot { .. } => {
            JobErrorKind::NotFound
        }
        RepositoryError::WrongKey { .. } | RepositoryError::NoSlots { .. } => JobErrorKind::Key,
        RepositoryError::Damaged { .. } => JobErrorKind::Damage,
        RepositoryError::Busy { .. } | RepositoryError::LeaseLost | RepositoryError::BasisGone { .. } => JobErrorKind::Busy,
        RepositoryError::Cancelled => JobErrorKind::Cancelled,
        RepositoryError::AlreadyThere { .. }
        | RepositoryError::LastSlot { .. }
        | RepositoryError::AmbiguousPoint { .. }
        | RepositoryError::Misused { .. } => JobErrorKind::Refused,
        RepositoryError::TooNew { .. }
        | RepositoryError::NameTaken { .. }
        | RepositoryError::Worker { .. }
        | RepositoryError::Entropy(_)
        | RepositoryError::Crypt(_)
        | RepositoryError::Codec(_)
        | RepositoryError::Io(_) => JobErrorKind::Failure,
    }
}
