//! Why a thin pool cannot be asked. Save for two of these, that is no failure of the backup: everything is read instead.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::program::Program;

/// What stood in the way.
#[derive(Debug, Error)]
pub(super) enum ThinError {
    /// The source is something else.
    #[error("{path} is no thin device: {reason}; leave --thin out, and everything is read")]
    NotThin {
        /// The source.
        path: PathBuf,
        /// What it is instead.
        reason: String,
    },
    /// It is not installed.
    #[error("{} is missing; install the Debian package {}", program.name(), program.package())]
    Missing {
        /// Which.
        program: Program,
    },
    /// It ended with an error.
    #[error("{} failed: {said}", program.name())]
    Failed {
        /// Which.
        program: Program,
        /// What it said, in one line.
        said: String,
    },
    /// It was killed.
    #[error("{} was ended after {minutes} minutes; is the pool's metadata readable?", program.name())]
    Slow {
        /// Which.
        program: Program,
        /// How long it ran.
        minutes: u64,
    },
    /// Nothing that is understood only in part is believed.
    #[error("{} said what is not understood: {what}", program.name())]
    Strange {
        /// Which.
        program: Program,
        /// The line, or what is wrong with all of them.
        what: String,
    },
    /// Only one metadata snapshot can be there at a time.
    #[error(
        "the metadata snapshot of pool {pool} is held by somebody; if no other program is at work there, run 'dmsetup message {pool} 0 \
         release_metadata_snap'"
    )]
    Held {
        /// The pool.
        pool: String,
    },
    /// The pool takes no requests.
    #[error("the pool {pool} is {state}; see 'dmsetup status {pool}'")]
    Unwell {
        /// The pool.
        pool: String,
        /// As device-mapper calls it.
        state: String,
    },
    /// The operating system refused.
    #[error("cannot {act} {path}: {source}")]
    Os {
        /// What was being done.
        act: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The newest point's name for its cut is of no use, for this reason.
    #[error("{0}")]
    Base(String),
    /// Somebody wants the work to end.
    #[error("stopped on request")]
    Stopped,
}
