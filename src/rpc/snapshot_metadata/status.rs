//! What each code of an answer means for the question.

use std::error::Error as StdError;
use std::io;

use tonic::{Code, Status};

use super::error::{Course, MetadataError};

/// A service's own words are cut off here.
const MAX_MESSAGE_CHARACTERS: usize = 300;

/// What a failed stream asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Go on where it broke off.
    Resume,
    /// Go on with a fresh token; if that is refused, too, it is not its age.
    Renew,
    /// Give up.
    Final(Course, &'static str),
}

const READ_ALL: Course = Course::ReadAll;
const REFUSE: Course = Course::Refuse;

/// The service of Kubernetes says `Unavailable` of a snapshot that is absent, not ready or unbound, so that one is worth a few tries.
pub(super) fn judge(status: &Status) -> Judgement {
    if is_certificate_refused(status) {
        return Judgement::Final(
            REFUSE,
            "its certificate is not vouched for; give the authority (--csi-ca) of the SnapshotMetadataService object",
        );
    }
    match status.code() {
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::Internal
        | Code::Unknown
        | Code::Cancelled
        | Code::Aborted
        | Code::ResourceExhausted
        // A stream that failed with OK has failed all the same.
        | Code::Ok => Judgement::Resume,
        Code::Unauthenticated => Judgement::Renew,
        Code::PermissionDenied => {
            Judgement::Final(REFUSE, "let the token's account 'get' volumesnapshots of snapshot.storage.k8s.io in that namespace")
        }
        Code::NotFound => Judgement::Final(READ_ALL, "the snapshot, or its base, is gone from the storage"),
        Code::FailedPrecondition => Judgement::Final(READ_ALL, "the storage does not track changes of this volume; turn that on there"),
        Code::InvalidArgument => Judgement::Final(READ_ALL, "the driver cannot tell this for these snapshots or this kind of volume"),
        Code::Unimplemented => Judgement::Final(READ_ALL, "the driver does not offer this"),
        Code::OutOfRange => Judgement::Final(READ_ALL, "the driver takes its own offsets, or its own messages, for too large"),
        Code::DataLoss => Judgement::Final(READ_ALL, "the storage has lost its records; look at it"),
        Code::AlreadyExists => Judgement::Final(READ_ALL, "that is no answer to this question"),
    }
}

/// The client library turns whatever TLS dislikes into invalid data; only a certificate stays as bad as it is.
fn is_certificate_refused(status: &Status) -> bool {
    let mut next: Option<&(dyn StdError + 'static)> = status.source();
    while let Some(error) = next {
        let io = error.downcast_ref::<io::Error>().filter(|error| error.kind() == io::ErrorKind::InvalidData);
        if io.is_some_and(|error| error.to_string().starts_with("invalid peer certificate")) {
            return true;
        }
        next = error.source();
    }
    false
}

/// The end of asking.
pub(super) fn refused(status: &Status, course: Course, advice: &'static str) -> MetadataError {
    MetadataError::Answered { code: name(status.code()), message: words(status), course, advice }
}

/// Code and message, in a line.
pub(super) fn line(status: &Status) -> String {
    format!("{} ({})", name(status.code()), words(status))
}

/// What the service said, and what lies beneath it, fit for a terminal.
fn words(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut next: Option<&(dyn StdError + 'static)> = status.source();
    while let Some(error) = next {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        next = error.source();
    }
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    clean.take(MAX_MESSAGE_CHARACTERS).collect()
}

/// As the documentation of drivers spells it.
fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_service_says_is_cut_and_cleaned() {
        let status = Status::internal(format!("\u{1b}[2Jbad\n{}", "x".repeat(1000)));
        let words = words(&status);
        assert!(words.starts_with(" [2Jbad x") && words.chars().count() == MAX_MESSAGE_CHARACTERS, "{words}");
    }

    #[test]
    fn every_code_has_a_judgement_and_only_passing_ones_are_tried_again() {
        let judged = |code: i32| judge(&Status::new(Code::from_i32(code), "x"));
        let resumed: Vec<i32> = (0..=16).filter(|code| judged(*code) == Judgement::Resume).collect();
        assert_eq!(resumed, [0, 1, 2, 4, 8, 10, 13, 14]);
        let refused: Vec<i32> = (0..=16).filter(|code| matches!(judged(*code), Judgement::Final(Course::Refuse, _))).collect();
        assert_eq!(refused, [7]);
        let read: Vec<i32> = (0..=16).filter(|code| matches!(judged(*code), Judgement::Final(Course::ReadAll, _))).collect();
        assert_eq!(read, [3, 5, 6, 9, 11, 12, 15]);
        assert_eq!(judged(16), Judgement::Renew);
    }
}
