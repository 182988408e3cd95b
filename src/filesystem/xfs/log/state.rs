//! What replay carries from one change to the next.

use std::sync::Arc;

use super::LogFacts;
use super::cancel::Cancelled;
use super::pending::Pending;
use super::target::Target;
use crate::base::io::ReadAt;
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::fields::Fields;

/// The volume, and what is known of the rest of the log.
#[derive(Debug)]
pub(super) struct State {
    /// The volume as it is now.
    pub(super) target: Target,
    /// Buffers that are changed and not sealed.
    pub(super) pending: Pending,
    /// Buffers that the rest of the log frees.
    pub(super) cancelled: Cancelled,
    /// The filesystem, as its superblock is now.
    pub(super) facts: LogFacts,
}

impl State {
    /// Nothing is applied yet.
    pub(super) fn new(source: &Arc<dyn ReadAt>, cancelled: Cancelled, facts: &LogFacts) -> Self {
        let target = Target::new(source, end_of(facts));
        Self { target, pending: Pending::default(), cancelled, facts: facts.clone() }
    }

    /// A filesystem that was grown just before the crash has changes in groups that the superblock in place does not know.
    pub(super) fn follow_superblock(&mut self, bytes: &[u8]) -> Result<(), FilesystemError> {
        let fields = Fields::new(bytes, Object::Superblock, 0);
        self.facts.data_blocks = fields.be64(8)?;
        self.facts.ag_count = fields.be32(88)?;
        self.target.end_at(end_of(&self.facts));
        Ok(())
    }
}

fn end_of(facts: &LogFacts) -> u64 {
    facts.data_blocks.saturating_mul(facts.block_bytes.into())
}
