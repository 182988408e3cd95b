//! How a run that did its work ended, and the numbers that scripts see.

use std::process::ExitCode;

use crate::job::JobErrorKind;

/// A run that did what it was asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing to report but the result.
    Clean,
    /// Done, but data is damaged, unreadable, or was misreported.
    Findings,
}

impl Outcome {
    /// `Findings` when the claim holds.
    pub(super) fn findings_if(found: bool) -> Self {
        if found { Self::Findings } else { Self::Clean }
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Clean => Self::SUCCESS,
            Outcome::Findings => Self::from(exit_number(JobErrorKind::Damage)),
        }
    }
}

/// The number of a kind of failure, as `docs/exit-codes.md` has it.
pub(super) fn exit_number(kind: JobErrorKind) -> u8 {
    match kind {
        JobErrorKind::Failure => 1,
        JobErrorKind::Refused => 2,
        JobErrorKind::Damage => 3,
        JobErrorKind::Key => 4,
        JobErrorKind::NotFound => 5,
        JobErrorKind::Busy => 6,
        JobErrorKind::Unavailable => 7,
        JobErrorKind::Cancelled => 130,
    }
}
