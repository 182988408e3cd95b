//! What can go wrong with the tracker itself. That a delta is not known is no error, but an answer: [`super::verdict::Doubt`].

use std::error::Error as StdError;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::token::TokenError;
use crate::base::entropy::EntropyError;

/// A tracker that cannot be opened, attached, or asked.
#[derive(Debug, Error)]
pub enum TrackingError {
    /// The operating system refused.
    #[error("cannot {act} {path}")]
    Os {
        /// What was being done.
        act: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The kernel refused something about the programs or their maps.
    #[error("cannot {act} {path}; 'icecore doctor' says what tracking needs")]
    Bpf {
        /// What was being done.
        act: &'static str,
        /// To what, in the BPF file system or by name.
        path: PathBuf,
        /// What was said.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// A device whose writes cannot all be seen.
    #[error("{path} cannot be tracked: {reason}")]
    Unfit {
        /// The device.
        path: PathBuf,
        /// Why, and what to do instead.
        reason: String,
    },
    /// It was never added, or is another disk by the same name now.
    #[error("{path} is not tracked; begin with 'icecore track add'")]
    NotTracked {
        /// The device.
        path: PathBuf,
    },
    /// Another process is in the middle of something.
    #[error("{path} is busy: another process adds, removes, or has an epoch open; try again when it is done")]
    Busy {
        /// The lock.
        path: PathBuf,
    },
    /// There is no free place.
    #[error("there is no free place for this disk; remove another")]
    Full,
    /// The bitmap would not fit.
    #[error("a disk of {size_bytes} bytes has too many chunks of {chunk_bytes} bytes; choose larger chunks")]
    TooLarge {
        /// Size of the disk.
        size_bytes: u64,
        /// Size of a chunk.
        chunk_bytes: u32,
    },
    /// The chunk size is not one that is possible.
    #[error("chunks of {bytes} bytes are not possible; choose a power of two from 16 KiB to 16 MiB")]
    ChunkBytes {
        /// What was asked for.
        bytes: u32,
    },
    /// The chunk size cannot change while a disk is tracked.
    #[error("{path} is tracked in chunks of {chunk_bytes} bytes already; remove it first to change that")]
    OtherChunks {
        /// The device.
        path: PathBuf,
        /// The size in use.
        chunk_bytes: u64,
    },
    /// Programs of another version are attached.
    #[error(
        "the attached tracker has layout {found}, not {wanted}; detach it with 'icecore track remove --all', then add the disks anew"
    )]
    OtherLayout {
        /// What is attached.
        found: u64,
        /// What this version has.
        wanted: u64,
    },
    /// What was remembered about a disk does not read back.
    #[error("{path} is damaged ({why}); remove and add the disk anew")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// No identity without randomness.
    #[error("the tracker needs an identity")]
    Entropy(#[from] EntropyError),
    /// A token that is none.
    #[error(transparent)]
    Token(#[from] TokenError),
}

impl TrackingError {
    pub(super) fn os(act: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Os { act, path: path.to_path_buf(), source: source.into() }
    }

    pub(super) fn bpf(act: &'static str, path: &Path, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Bpf { act, path: path.to_path_buf(), source: source.into() }
    }

    pub(super) fn unfit(path: &Path, reason: impl Into<String>) -> Self {
        Self::Unfit { path: path.to_path_buf(), reason: reason.into() }
    }
}
