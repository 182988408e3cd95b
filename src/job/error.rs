//! Why a job failed, and the few kinds that decide exit codes, metrics and retries.

use thiserror::Error;

use crate::base::extent::{Extent, ExtentSet};
use crate::base::io::IoError;
use crate::repository::{CodecError, RepositoryError};
use crate::store::StoreErrorKind;

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
            Self::Io(IoError::Cancelled) | Self::Cancelled => JobErrorKind::Cancelled,
            Self::Io(IoError::Missing { .. }) | Self::IncompletePoint { .. } | Self::Damaged { .. } | Self::ReadBack { .. } => {
                JobErrorKind::Damage
            }
            Self::Refused(_) => JobErrorKind::Refused,
            Self::Io(_) | Self::Codec(_) | Self::Worker(_) => JobErrorKind::Failure,
        }
    }
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
