//! Why a volume could not be salvaged at all.

use thiserror::Error;

use crate::filesystem::FilesystemError;

/// A failure that concerns the whole volume. What is wrong with single files is their evidence.
#[derive(Debug, Error)]
pub enum SalvageError {
    /// Too little is left to begin with, or the source fails.
    #[error(transparent)]
    Filesystem(#[from] FilesystemError),
    /// What was found is kept in a temporary file, and that failed.
    #[error(
        "what was found cannot be kept in a temporary file; free some space in the folder of temporary files, or name another one in TMPDIR"
    )]
    Scratch(#[from] rusqlite::Error),
    /// The caller asked to stop.
    #[error("stopped on request")]
    Cancelled,
}
