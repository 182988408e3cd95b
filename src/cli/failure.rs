//! A failed run: its chain of causes on one line, and the exit code of its kind.

use std::error::Error as StdError;
use std::process::ExitCode;

use thiserror::Error;

use super::outcome::exit_number;
use super::output;
use crate::base::io::IoError;
use crate::device::DeviceError;
use crate::job::{JobError, JobErrorKind};
use crate::repository::{KeyFileError, RepositoryError};
use crate::store::StoreError;
use crate::tracking::TrackingError;

/// What only the command line can find wrong.
#[derive(Debug, Error)]
pub(super) enum Failure {
    /// The request contradicts itself or what is there.
    #[error("{0}")]
    Refused(String),
    /// There is no key, or it cannot be read.
    #[error("{0}")]
    Key(String),
    /// Nothing is at the repository's place.
    #[error("there is nothing at {location}; check the path, or make a repository with 'icecore init'")]
    NoRepository {
        /// Where was looked.
        location: String,
    },
}

impl Failure {
    /// A request that is refused for the reason given.
    pub(super) fn refused(reason: impl Into<String>) -> Self {
        Self::Refused(reason.into())
    }
}

/// Says once what failed, and gives the code to exit with.
pub(super) fn report(error: anyhow::Error) -> ExitCode {
    output::complain(&chain_text(&error));
    ExitCode::from(exit_number(kind(error)))
}

/// The causes from the outermost to the innermost, each said once: some layers repeat what lies beneath them.
pub(super) fn chain_text(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), join_cause)
}

fn join_cause(text: String, cause: &(dyn StdError + 'static)) -> String {
    let cause = cause.to_string();
    match text.as_str() {
        "" => cause,
        said if said.contains(&cause) => text,
        said => format!("{said}: {cause}"),
    }
}

fn kind(error: anyhow::Error) -> JobErrorKind {
    let error = match error.downcast::<Failure>() {
        Ok(Failure::Refused(_)) => return JobErrorKind::Refused,
        Ok(Failure::Key(_)) => return JobErrorKind::Key,
        Ok(Failure::NoRepository { .. }) => return JobErrorKind::NotFound,
        Err(error) => error,
    };
    if error.is::<KeyFileError>() {
        return JobErrorKind::Key;
    }
    if let Some(device) = error.downcast_ref::<DeviceError>() {
        return device_kind(device);
    }
    if let Some(tracking) = error.downcast_ref::<TrackingError>() {
        return tracking_kind(tracking);
    }
    as_job_error(error).map_or(JobErrorKind::Failure, |error| error.kind())
}

/// The error as the job room classifies it, if it comes from the rooms below.
fn as_job_error(error: anyhow::Error) -> Option<JobError> {
    error
        .downcast::<JobError>()
        .or_else(|error| error.downcast::<RepositoryError>().map(JobError::from))
        .or_else(|error| error.downcast::<StoreError>().map(|error| JobError::from(RepositoryError::from(error))))
        .or_else(|error| error.downcast::<IoError>().map(JobError::from))
        .ok()
}

fn device_kind(error: &DeviceError) -> JobErrorKind {
    match error {
        DeviceError::InUse { .. } => JobErrorKind::Busy,
        DeviceError::WrongKind { .. }
        | DeviceError::HostManagedZones { .. }
        | DeviceError::MountedReadWrite { .. }
        | DeviceError::TargetMounted { .. }
        | DeviceError::ReadOnly { .. }
        | DeviceError::HoldsData { .. }
        | DeviceError::TooSmall { .. }
        | DeviceError::WindowLength { .. } => JobErrorKind::Refused,
        DeviceError::Os { .. } | DeviceError::EngineRefused { .. } => JobErrorKind::Failure,
    }
}

fn tracking_kind(error: &TrackingError) -> JobErrorKind {
    match error {
        TrackingError::Busy { .. } => JobErrorKind::Busy,
        TrackingError::Unfit { .. }
        | TrackingError::NotTracked { .. }
        | TrackingError::Full
        | TrackingError::TooLarge { .. }
        | TrackingError::ChunkBytes { .. }
        | TrackingError::OtherChunks { .. }
        | TrackingError::OtherLayout { .. }
        | TrackingError::Token(_) => JobErrorKind::Refused,
        TrackingError::Os { .. } | TrackingError::Bpf { .. } | TrackingError::Damaged { .. } | TrackingError::Entropy(_) => {
            JobErrorKind::Failure
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreErrorKind;
    use anyhow::Context as _;
    use std::io;

    #[test]
    fn a_cause_that_an_outer_layer_repeats_is_said_once() {
        let inner = StoreError::about(StoreErrorKind::Temporary, "list", "points/").caused_by(io::Error::other("no route"));
        let error = anyhow::Error::from(RepositoryError::from(inner)).context("cannot open x");
        assert_eq!(
            chain_text(&error),
            "cannot open x: cannot list points/: the store did not answer well; run it again when it does: no route"
        );
        let repeated = anyhow::anyhow!("a: b").context("a: b: c");
        assert_eq!(chain_text(&repeated), "a: b: c");
    }

    #[test]
    fn the_kind_shows_through_any_context() {
        let store = |kind| StoreError::about(kind, "get", "config");
        let rows = [
            (anyhow::Error::from(store(StoreErrorKind::Temporary)), JobErrorKind::Unavailable),
            (RepositoryError::from(store(StoreErrorKind::Temporary)).into(), JobErrorKind::Unavailable),
            (RepositoryError::WrongKey { slots: 1 }.into(), JobErrorKind::Key),
            (JobError::Cancelled.into(), JobErrorKind::Cancelled),
            (Failure::refused("no").into(), JobErrorKind::Refused),
            (DeviceError::InUse { path: "x".into() }.into(), JobErrorKind::Busy),
            (KeyFileError::Shape.into(), JobErrorKind::Key),
            (anyhow::anyhow!("anything"), JobErrorKind::Failure),
        ];
        for (error, expected) in rows {
            let error = Err::<(), _>(error).context("outer").context("outermost").unwrap_err();
            assert_eq!(kind(error), expected);
        }
    }
}
