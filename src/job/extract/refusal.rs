//! What stands in the way of one file, and what stands in the way of all.

use std::io;

use nix::errno::Errno;

use crate::base::io::IoError;
use crate::filesystem::{FilesystemError, Loss, printable};
use crate::job::JobError;
use crate::repository::RepositoryError;

/// Why something was not done.
#[derive(Debug)]
pub enum Refusal {
    /// This file cannot be had as it was; the next one may.
    Here(String),
    /// Leaving it out is what was asked for.
    Withheld(String),
    /// No file can be had any more.
    Stop(JobError),
}

/// What is not as it was although the file is there.
#[derive(Debug, Default)]
pub struct Remarks {
    /// What could not be kept.
    pub(super) altered: Vec<String>,
    /// What was not asked for.
    pub(super) withheld: Vec<String>,
}

impl Remarks {
    /// Notes an attempt that failed for a reason of this file alone.
    pub(super) fn note(&mut self, what: &str, attempt: Result<(), Errno>) {
        if let Err(errno) = attempt {
            self.altered.push(format!("{what}: {}", errno.desc()));
        }
    }
}

/// A failed call to the system that was about `path`.
pub(super) fn system(act: &'static str, path: &[u8], errno: Errno) -> Refusal {
    let advice = match errno {
        Errno::ENOSPC => "free some space there, or choose another target",
        Errno::EDQUOT => "the quota is used up; raise it, or choose another target",
        Errno::EROFS => "the target is read-only; choose another one",
        Errno::EIO => "the target's disk fails; choose another one",
        Errno::EMFILE | Errno::ENFILE => "raise the limit of open files (ulimit -n)",
        Errno::EEXIST => return Refusal::Here("something is there already; add --force to replace it".to_owned()),
        Errno::ENAMETOOLONG => return Refusal::Here("the name is too long for the target".to_owned()),
        Errno::EFBIG => return Refusal::Here("the file is too large for the target's file system".to_owned()),
        errno => return Refusal::Here(format!("cannot {act}: {}", errno.desc())),
    };
    let source = io::Error::from(errno);
    Refusal::Stop(JobError::Target { act, path: printable(path), source, advice })
}

/// The same for a call of the standard library.
pub(super) fn system_error(act: &'static str, path: &[u8], error: &io::Error) -> Refusal {
    system(act, path, error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw))
}

/// Damage is one file's; a store out of reach, or a request to stop, is everybody's.
pub(in crate::job) fn unreadable(error: FilesystemError) -> Refusal {
    match error {
        FilesystemError::Io { source: IoError::Cancelled, .. } => Refusal::Stop(JobError::Cancelled),
        error if is_out_of_reach(&error) => Refusal::Stop(error.into()),
        error => Refusal::Here(words(&error)),
    }
}

pub(super) fn lost(loss: Loss) -> Refusal {
    match loss {
        Loss::Unreadable(error) => unreadable(error),
        other => Refusal::Here(other.to_string()),
    }
}

/// An error with its cause, which is where the reason for missing bytes stands.
fn words(error: &FilesystemError) -> String {
    match error {
        FilesystemError::Io { source: IoError::Os { source: cause, .. }, .. } => format!("{error}: {cause}"),
        FilesystemError::Io { source, .. } => format!("{error}: {source}"),
        error => error.to_string(),
    }
}

/// True when the store beneath a recovery point fails, so that no other file can be had either.
#[must_use]
pub fn is_out_of_reach(error: &FilesystemError) -> bool {
    match error {
        FilesystemError::Io { source: IoError::Os { source, .. }, .. } => {
            source.get_ref().is_some_and(|inner| inner.is::<RepositoryError>())
        }
        _ => false,
    }
}
