//! A file opened for reading, so that a name that has become something else does no harm.

use std::io;

use rustix::fs::OFlags;
use thiserror::Error;

use super::events::Opened;
use super::facts::{Facts, FileType};

/// Links are not followed, and a pipe that took the file's place does not block.
pub(super) const FILE_FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC).union(OFlags::NOCTTY);

/// Bytes asked for at once.
pub(super) const PIECE_BYTES: u64 = 1 << 20;
/// A file up to this long comes in one event.
pub(super) const WHOLE_BYTES: u64 = 256 << 10;

/// A file that cannot be read.
#[derive(Debug, Error)]
#[error("cannot {act} it")]
pub struct ReadFailure {
    /// What was being done.
    pub act: &'static str,
    /// What the system said.
    pub source: io::Error,
}

impl ReadFailure {
    /// True if the name leads nowhere any more.
    #[must_use]
    pub fn is_vanished(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }
}

/// Says during what something failed.
pub(super) fn while_doing(act: &'static str) -> impl Fn(io::Error) -> ReadFailure {
    move |source| ReadFailure { act, source }
}

/// Refuses what is no regular file any more.
pub(super) fn expect_regular(facts: &Facts) -> Result<(), ReadFailure> {
    match facts.kind {
        Some(FileType::Regular) => Ok(()),
        _ => Err(ReadFailure { act: "read", source: io::Error::new(io::ErrorKind::NotFound, "something else has its name now") }),
    }
}

/// A buffer for a piece of this length.
pub(super) fn buffer(length: u64) -> Vec<u8> {
    Vec::with_capacity(usize::try_from(length.min(PIECE_BYTES)).unwrap_or(0))
}

/// True if the file comes in one event.
pub(super) fn is_short(opened: &Opened) -> bool {
    opened.facts.size <= WHOLE_BYTES
}
