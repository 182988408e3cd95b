//! How often a broken answer is taken up again, and when it is given up.

use std::time::Duration;

use tonic::Status;
use tracing::debug;

use super::error::{Course, MetadataError};
use super::gathered::StreamFault;
use super::limits::Limits;
use super::status::{Judgement, judge, line, refused};
use crate::base::cancel::Cancel;
use crate::base::clock::Clock;

/// Why a stream did not come to its end.
#[derive(Debug)]
pub(super) enum Broken {
    /// The service said so, or the connection failed.
    Status(Status),
    /// Nothing came for too long.
    Silent {
        /// For how long.
        waited: Duration,
    },
    /// There is no use in going on.
    Final(MetadataError),
}

impl From<Status> for Broken {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl From<MetadataError> for Broken {
    fn from(error: MetadataError) -> Self {
        Self::Final(error)
    }
}

impl From<StreamFault> for Broken {
    fn from(fault: StreamFault) -> Self {
        Self::Final(fault.into())
    }
}

/// The streams of one question so far.
#[derive(Debug)]
pub(super) struct Attempts<'a> {
    clock: &'a dyn Clock,
    limits: Limits,
    cancel: &'a Cancel,
    begun: Duration,
    streams: u32,
    /// Failures in a row without a new range.
    fruitless: u32,
    /// Tokens refused in a row without a new range.
    tokens_refused: u32,
    /// Silences in a row without a new range.
    silences: u32,
}

/// A token may have died of age on the way; a second, fresh one has not.
const MAX_TOKENS_REFUSED: u32 = 2;
/// A silence takes long enough: whoever is silent twice at the same place would be so a third time.
const MAX_SILENCES: u32 = 2;

impl<'a> Attempts<'a> {
    pub(super) fn begin(clock: &'a dyn Clock, limits: Limits, cancel: &'a Cancel) -> Self {
        Self { clock, limits, cancel, begun: clock.monotonic(), streams: 0, fruitless: 0, tokens_refused: 0, silences: 0 }
    }

    /// Nobody asked to stop, and there is time left.
    pub(super) fn check(&self) -> Result<(), MetadataError> {
        if self.cancel.is_cancelled() {
            return Err(MetadataError::Cancelled);
        }
        let limit = self.limits.whole_wait;
        if self.clock.monotonic().saturating_sub(self.begun) > limit { Err(MetadataError::TooSlow { limit }) } else { Ok(()) }
    }

    /// Counts a stream that is about to be opened.
    pub(super) fn next_stream(&mut self) -> Result<(), MetadataError> {
        self.check()?;
        if self.streams >= self.limits.streams {
            return Err(MetadataError::TooManyStreams { streams: self.streams });
        }
        self.streams += 1;
        Ok(())
    }

    /// Waits until a stream that broke off may be taken up again, or says that it may not.
    pub(super) fn bear(&mut self, broken: Broken, has_brought: bool, at_bytes: u64) -> Result<(), MetadataError> {
        if has_brought {
            (self.fruitless, self.tokens_refused, self.silences) = (0, 0, 0);
        }
        let last = match broken {
            Broken::Final(error) => return Err(error),
            Broken::Silent { waited } => {
                self.silences += 1;
                format!("it was silent for {waited:?}")
            }
            Broken::Status(status) => match judge(&status) {
                Judgement::Final(course, advice) => return Err(refused(&status, course, advice)),
                Judgement::Renew => return self.renew(&status),
                Judgement::Resume => line(&status),
            },
        };
        debug!(at_bytes, last, "the answer broke off");
        self.fruitless += 1;
        if self.fruitless >= self.limits.tries || self.silences >= MAX_SILENCES {
            return Err(MetadataError::Interrupted { streams: self.streams, at_bytes, last });
        }
        self.clock.sleep(self.pause());
        Ok(())
    }

    fn renew(&mut self, status: &Status) -> Result<(), MetadataError> {
        self.tokens_refused += 1;
        if self.tokens_refused < MAX_TOKENS_REFUSED {
            return Ok(());
        }
        Err(refused(
            status,
            Course::Refuse,
            "the token must be a fresh one, for the audience of the SnapshotMetadataService object",
        ))
    }

    fn pause(&self) -> Duration {
        let doubled = 1_u32.checked_shl(self.fruitless.saturating_sub(1)).unwrap_or(u32::MAX);
        self.limits.first_wait.saturating_mul(doubled).min(self.limits.longest_wait)
    }
}
