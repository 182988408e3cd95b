//! A file of more than a chunk, written at its place as it comes.

use super::error::FileTreeError;
use super::stream::Stream;
use crate::base::extent::Extent;
use crate::files::Opened;

/// A long file on its way to its place.
#[derive(Debug)]
pub(super) struct Long {
    pub(super) content: Extent,
    /// How much of the file has been put or is a hole.
    pub(super) at: u64,
    /// What lies before this in the file's room, and is not data, becomes a hole.
    pub(super) holes_until: u64,
    pub(super) chunk: u64,
    pub(super) is_rewritten: bool,
}

impl Long {
    pub(super) fn put(&mut self, stream: &mut Stream<'_>, offset: u64, bytes: &[u8]) -> Result<(), FileTreeError> {
        self.skip_to(stream, offset.min(self.holes_until))?;
        stream.put(self.content.offset.saturating_add(offset), bytes)?;
        self.at = offset.saturating_add(bytes.len() as u64);
        Ok(())
    }

    /// Makes holes of the whole chunks between what was put and `offset`.
    pub(super) fn skip_to(&mut self, stream: &mut Stream<'_>, offset: u64) -> Result<(), FileTreeError> {
        let from = self.content.offset.saturating_add(self.at).next_multiple_of(self.chunk);
        let until = self.content.offset.saturating_add(offset);
        // Behind the end of the file, the chunk of its old end goes as a whole.
        let until = if offset == self.holes_until { until.next_multiple_of(self.chunk) } else { until - until % self.chunk };
        stream.omit(Extent::between(from, until.min(self.content.end())))
    }
}

/// Where a file has data.
pub(super) fn runs_of(opened: &Opened) -> Vec<Extent> {
    opened.runs.clone().unwrap_or_else(|| vec![Extent::new(0, opened.facts.size)])
}

/// What there is of a run.
pub(super) fn slice(bytes: &[u8], run: Extent) -> &[u8] {
    let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
    bytes.get(index(run.offset)..index(run.end())).unwrap_or_default()
}
