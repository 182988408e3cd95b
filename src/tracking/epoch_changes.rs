//! What an epoch of the tracker says, as one source of changes among others.

use super::epoch::{ChangeAnswer, Cut};
use super::source::{Answer, ChangeSource, SourceError};
use super::token::ChainToken;
use crate::base::extent::Extent;
use crate::repository::format::changes::Rung;

/// A finished epoch.
#[derive(Debug)]
pub struct EpochChanges {
    presented: Option<String>,
    token: Option<String>,
    cut: Cut,
    source_bytes: u64,
}

impl EpochChanges {
    /// `presented` is the token that the epoch was begun with; `source_bytes` the size of what is backed up, the disk or a snapshot.
    #[must_use]
    pub fn new(presented: Option<&ChainToken>, cut: Cut, source_bytes: u64) -> Self {
        let (presented, token) = (presented.map(ToString::to_string), cut.token.as_ref().map(ToString::to_string));
        Self { presented, token, cut, source_bytes }
    }
}

impl ChangeSource for EpochChanges {
    fn rung(&self) -> Rung {
        Rung::Epoch
    }

    fn counts_from(&self) -> Option<&str> {
        // Without a token nothing is counted, and the answer says so.
        self.presented.as_deref()
    }

    fn cut_name(&self) -> Option<&str> {
        self.token.as_deref()
    }

    fn changes(&mut self) -> Result<Answer, SourceError> {
        let (disk, source) = (self.cut.size_bytes, self.source_bytes);
        if disk != source {
            let reason = format!("the tracked disk has {disk} bytes and what is backed up {source}, so it is no snapshot of it");
            return Ok(Answer::Unknown { reason });
        }
        Ok(match &self.cut.answer {
            ChangeAnswer::Exact(marks) => {
                let mut ranges = marks.written.union(&marks.discarded);
                // The last chunk of a disk may reach past its end.
                ranges = ranges.intersection(&Extent::new(0, self.cut.size_bytes).into());
                let chunk = self.cut.chunk_bytes;
                let proof =
                    format!("every write was marked, in chunks of {chunk} bytes: the programs, the counters and the token agree");
                Answer::Exact { ranges, proof }
            }
            ChangeAnswer::Unknown { reason, .. } => Answer::Unknown { reason: reason.to_string() },
        })
    }
}
