//! Why a replay may not be whole: the first reason in words, the others counted.

use super::area::corrupt;
use crate::base::io::IoError;
use crate::filesystem::error::FilesystemError;

/// Reasons, of which one is told: damage seldom comes alone, and a message is for one reader.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    first: Option<String>,
    others: u64,
}

impl Doubts {
    /// Adds a reason.
    pub(super) fn note(&mut self, reason: String) {
        match self.first {
            None => self.first = Some(reason),
            Some(_) => self.others = self.others.saturating_add(1),
        }
    }

    /// Adds what is wrong at `byte`, in the words of an error.
    pub(super) fn note_at(&mut self, byte: u64, what: impl Into<String>) {
        self.note(corrupt(byte, what).to_string());
    }

    /// Turns an error into a reason, unless it was the caller who wanted to stop or memory that is short.
    pub(super) fn forgive(&mut self, error: FilesystemError) -> Result<(), FilesystemError> {
        let reason = match &error {
            FilesystemError::Io { source: IoError::Cancelled, .. } | FilesystemError::TooLarge { .. } => return Err(error),
            FilesystemError::Io { source, .. } => format!("{error}: {source}"),
            _ => error.to_string(),
        };
        self.note(reason);
        Ok(())
    }

    /// All of them in a line; `None` when there are none.
    pub(super) fn reason(self) -> Option<String> {
        let first = self.first?;
        Some(if self.others == 0 { first } else { format!("{first} (and {} more)", self.others) })
    }
}
