//! Why a tree of files could not be laid out.

use std::io;

use thiserror::Error;

use crate::filesystem::FilesystemError;

/// A failure that ends the whole run. What is wrong with single files is told as trouble beside the result.
#[derive(Debug, Error)]
pub enum FileTreeError {
    /// The directory cannot be read at all.
    #[error("cannot {act} {path}")]
    Os {
        /// What was being done.
        act: &'static str,
        /// To what.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The table of what is to be done failed: the folder for temporary files may be full.
    #[error("the temporary table of files cannot be used; see that TMPDIR has room")]
    Scratch(#[from] rusqlite::Error),
    /// The tree of the earlier point cannot be read.
    #[error(transparent)]
    Earlier(#[from] FilesystemError),
    /// The places or numbers of a tree are used up.
    #[error("the tree has been written so often that its {what} are used up; lay it out anew with --full")]
    Full {
        /// Which.
        what: &'static str,
    },
    /// More files than can be told apart.
    #[error("there are more files than one backup can remember; back up parts of the tree under names of their own")]
    TooMany,
    /// Nobody takes what is laid any more.
    #[error("stopped")]
    Stopped,
    /// The caller asked to stop.
    #[error("stopped on request")]
    Cancelled,
}
