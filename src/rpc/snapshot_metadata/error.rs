//! Why the ranges are not known, and what to do about it.

use std::time::Duration;

use thiserror::Error;

use super::gathered::StreamFault;

/// What a caller without an answer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// The service may answer later. Reading everything is right at any time.
    RetryLater,
    /// There will be no answer to this question: read everything.
    ReadAll,
    /// The request itself is wrong, or not allowed; a person has to change something.
    Refuse,
    /// The caller asked to stop.
    Stop,
}

/// The ranges are not known.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MetadataError {
    /// The service cannot be asked like this.
    #[error("the snapshot metadata service cannot be asked: {reason}")]
    Misconfigured {
        /// Why.
        reason: String,
    },
    /// There is no token to show.
    #[error("there is no token for the snapshot metadata service: {reason}")]
    NoToken {
        /// Why.
        reason: String,
    },
    /// The service has said no, and will say so again.
    #[error("the snapshot metadata service answers {code} ({message}); {advice}")]
    Answered {
        /// The code's name.
        code: &'static str,
        /// The service's own words.
        message: String,
        /// What to do.
        course: Course,
        /// The same in words.
        advice: &'static str,
    },
    /// The answer was broken off too often.
    #[error(
        "the snapshot metadata service was asked {streams} times and did not get beyond byte {at_bytes}; the last time, {last}"
    )]
    Interrupted {
        /// Streams in all.
        streams: u32,
        /// Up to where ranges are known.
        at_bytes: u64,
        /// How the last one ended.
        last: String,
    },
    /// Streams end one after the other, each a little further on.
    #[error("the snapshot metadata service ended {streams} streams without coming to the end of the volume")]
    TooManyStreams {
        /// How many.
        streams: u32,
    },
    /// The answer contradicts itself or the rules of the interface.
    #[error("the CSI driver's answer cannot be trusted: {0}")]
    Fault(#[from] StreamFault),
    /// The snapshot is not what the device holds.
    #[error(
        "the snapshot has {capacity} bytes, but the device has {device}: one of them is not of this volume, or was encrypted on the way"
    )]
    OtherSize {
        /// What the driver says.
        capacity: i64,
        /// Size of the device.
        device: u64,
    },
    /// The answer took too long.
    #[error("the snapshot metadata service gave no whole answer within {} minutes", limit.as_secs() / 60)]
    TooSlow {
        /// The limit.
        limit: Duration,
    },
    /// The caller asked to stop.
    #[error("stopped on request")]
    Cancelled,
}

impl MetadataError {
    pub(super) fn misconfigured(reason: impl Into<String>) -> Self {
        Self::Misconfigured { reason: reason.into() }
    }

    /// What to do without the ranges.
    #[must_use]
    pub fn course(&self) -> Course {
        match self {
            Self::Misconfigured { .. } | Self::NoToken { .. } => Course::Refuse,
            Self::Answered { course, .. } => *course,
            Self::Interrupted { .. } => Course::RetryLater,
            Self::Fault(_) | Self::OtherSize { .. } | Self::TooSlow { .. } | Self::TooManyStreams { .. } => Course::ReadAll,
            Self::Cancelled => Course::Stop,
        }
    }

    /// Why everything is read instead, in words for people.
    #[must_use]
    pub fn fallback_reason(&self) -> String {
        format!("what changed is not known: {self}")
    }
}
