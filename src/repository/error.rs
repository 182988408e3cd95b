//! Why a repository could not do what was asked, in words that name the object and the next step.

use thiserror::Error;

use super::codec::CodecError;
use super::crypt::CryptError;
use super::format::FormatError;
use crate::base::entropy::EntropyError;
use crate::base::io::IoError;
use crate::store::{StoreError, StoreErrorKind};

/// A failed repository call.
#[derive(Debug, Error)]
pub enum RepositoryError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no repository here.
    #[error("{location} holds no icecore repository; make one with 'icecore init', or check the path")]
    NotARepository {
        /// Where was looked.
        location: String,
    },
    /// There is a repository here already.
    #[error("{location} already holds an icecore repository; use it as it is, or choose another place")]
    AlreadyThere {
        /// Where was looked.
        location: String,
    },
    /// No key slot opens with the secret.
    #[error("the key opens none of the {slots} key slots; check ICECORE_KEY_FILE or ICECORE_PASSPHRASE")]
    WrongKey {
        /// How many slots were tried.
        slots: usize,
    },
    /// All key slots are gone or damaged.
    #[error("no key slot can be read ({reason}); restore one under keys/ from a copy of the store, without one the data is lost")]
    NoSlots {
        /// What was found instead.
        reason: String,
    },
    /// There is no such key slot.
    #[error("there is no key slot {slot}; 'icecore key list' shows them")]
    NoSuchSlot {
        /// What was asked for.
        slot: String,
    },
    /// The last slot may not go.
    #[error("{slot} is the only key slot, and without it the data is lost; add another first")]
    LastSlot {
        /// Its name.
        slot: String,
    },
    /// An object is not what it should be.
    #[error("{object} is damaged: {reason}; 'icecore check' tells what it affects")]
    Damaged {
        /// The object, or the frame of a pack.
        object: String,
        /// How.
        reason: String,
    },
    /// An object was made by a newer icecore.
    #[error("{object}: {source}")]
    TooNew {
        /// The object.
        object: String,
        /// Which version.
        source: FormatError,
    },
    /// No point is meant.
    #[error("no recovery point matches {selector:?}; 'icecore points' lists them")]
    NoSuchPoint {
        /// What was asked for.
        selector: String,
    },
    /// Several points are meant.
    #[error("{selector:?} matches {count} recovery points; give more digits")]
    AmbiguousPoint {
        /// What was asked for.
        selector: String,
        /// How many match.
        count: usize,
    },
    /// The writer was away for too long.
    #[error("the writer's lease lapsed (the machine slept, or the store was out of reach); nothing was committed, run it again")]
    LeaseLost,
    /// What the new point was to build on is being forgotten, or was taken back by a writer that had lost its own lease.
    #[error("point {point} went away while a backup was about to build on it; nothing was committed, run it again")]
    BasisGone {
        /// The point.
        point: String,
    },
    /// Something is running that forbids the act.
    #[error("{what}; wait until it ends, or until its lease lapses")]
    Busy {
        /// What is running.
        what: String,
    },
    /// Pack ids are random; a second pack of the same name means a broken random generator.
    #[error("an object named {object} is already there; the random generator repeats itself, do not trust this machine")]
    NameTaken {
        /// The name.
        object: String,
    },
    /// A range or chunk does not fit the volume.
    #[error("{what}")]
    Misused {
        /// What was wrong.
        what: String,
    },
    /// A worker thread could not be started or died.
    #[error("a worker thread failed: {what}")]
    Worker {
        /// Which.
        what: String,
    },
    /// Random numbers could not be had.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// A cryptographic act that has nothing to do with the data failed.
    #[error(transparent)]
    Crypt(#[from] CryptError),
    /// The compressor failed.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The volume could not be read or written.
    #[error(transparent)]
    Io(#[from] IoError),
    /// The caller asked to stop.
    #[error("stopped on request")]
    Cancelled,
}

impl RepositoryError {
    /// An object whose bytes are wrong.
    pub(crate) fn damaged(object: impl ToString, reason: impl ToString) -> Self {
        Self::Damaged { object: object.to_string(), reason: reason.to_string() }
    }

    /// What a parser said of an object.
    pub(crate) fn from_format(object: impl ToString, source: FormatError) -> Self {
        match source {
            FormatError::Version { .. } | FormatError::UnknownField { .. } => Self::TooNew { object: object.to_string(), source },
            other => Self::damaged(object, other),
        }
    }

    /// True when the failure is a property of stored data: others may be fine, and asking again gives the same.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Damaged { .. } => true,
            Self::Store(error) => matches!(error.kind, StoreErrorKind::NotFound | StoreErrorKind::OutOfRange),
            _ => false,
        }
    }
}
