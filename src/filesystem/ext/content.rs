//! Where the bytes of a file lie: its map, turned into segments without gaps.

use std::ops::Range;

use super::journal::FastRange;
use super::losses::Losses;
use super::record::{BODY, Record};
use super::runs::{OnLoss, Run, punch, replace};
use super::segments::without_gaps;
use super::wreck::is_stop;
use super::{Ext, extents, flags, pointers};
use crate::base::extent::Extent;
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::face::{Segment, Source};
use crate::filesystem::fields::Fields;
use crate::filesystem::inode::{FileKind, Inode};

impl Ext {
    /// The segments of `range`, as the face promises them.
    pub(super) fn segments(&self, file: &Inode, range: Extent) -> Result<Vec<Segment>, FilesystemError> {
        let range = range.intersect(&Extent::new(0, file.size));
        let mapped = matches!(file.kind, FileKind::Regular | FileKind::Directory | FileKind::Symlink);
        if range.is_empty() || !mapped {
            return Ok(Vec::new());
        }
        let record = self.record_of(file)?;
        if record.has_flag(flags::INLINE_DATA)? {
            let content = self.inline_content(&record)?;
            return Ok(vec![Segment { extent: range, source: Source::Inline(part(&content, range)) }]);
        }
        if file.kind == FileKind::Symlink && record.is_short_link(&self.volume.superblock, file.size)? {
            return Ok(vec![Segment { extent: range, source: Source::Inline(part(record.body()?, range)) }]);
        }
        let block_bytes = self.volume.block_bytes();
        let wanted = range.offset / block_bytes..range.end().div_ceil(block_bytes);
        let (runs, losses) = match self.volume.is_wreck() {
            true => self.runs_and_losses(&record, &wanted)?,
            false => (self.runs(&record, &wanted)?, Losses::default()),
        };
        Ok(without_gaps(&self.volume, &runs, &losses, range))
    }

    /// The runs of some blocks of a file, after fast commits. Bounded by the number of blocks asked for.
    pub(super) fn runs(&self, record: &Record<'_>, wanted: &Range<u64>) -> Result<Vec<Run>, FilesystemError> {
        let mut runs = self.runs_on_disk(record, wanted, &mut |_, error| Err(error))?;
        for range in self.fast.ranges(u64::from(record.number)) {
            self.apply(&mut runs, range, wanted, record)?;
        }
        Ok(runs)
    }

    /// The same around everything that is broken, and what is lost by that.
    pub(super) fn runs_and_losses(&self, record: &Record<'_>, wanted: &Range<u64>) -> Result<(Vec<Run>, Losses), FilesystemError> {
        let mut losses = Losses::default();
        let mut runs = self.runs_on_disk(record, wanted, &mut |blocks, error| {
            losses.add(blocks.start.max(wanted.start)..blocks.end.min(wanted.end), &error);
            if is_stop(&error) { Err(error) } else { Ok(()) }
        })?;
        for range in self.fast.ranges(u64::from(record.number)) {
            let blocks = range.blocks();
            losses.remove(&blocks);
            if let Err(error) = self.apply(&mut runs, range, wanted, record) {
                punch(&mut runs, &blocks);
                losses.add(blocks.start.max(wanted.start)..blocks.end.min(wanted.end), &error);
            }
        }
        Ok((runs, losses))
    }

    fn runs_on_disk(&self, record: &Record<'_>, wanted: &Range<u64>, on_loss: OnLoss<'_>) -> Result<Vec<Run>, FilesystemError> {
        let number = u64::from(record.number);
        let body = record.body()?;
        let root = Fields::new(body, Object::Map(number), record.at + BODY as u64);
        let rewritten = self.fast.inode(number).is_some();
        if !record.has_flag(flags::EXTENTS)? {
            pointers::find(&self.volume, &root, wanted, on_loss)
        } else if rewritten && !extents::is_tree(body) {
            // A fast commit brings an inode without its map; one that was never on disk begins empty.
            Ok(Vec::new())
        } else {
            extents::find(&self.volume, record.seed(&self.volume.superblock)?, &root, wanted, on_loss)
        }
    }

    fn apply(
        &self,
        runs: &mut Vec<Run>,
        range: &FastRange,
        wanted: &Range<u64>,
        record: &Record<'_>,
    ) -> Result<(), FilesystemError> {
        match *range {
            FastRange::Remove { .. } => punch(runs, &range.blocks()),
            FastRange::Add { logical, length, physical, unwritten } => {
                let run = Run { logical: u64::from(logical), count: u64::from(length), physical, unwritten };
                if !self.volume.holds(run.physical, run.count) {
                    let object = Object::Map(u64::from(record.number));
                    let at = self.volume.place_of(physical);
                    return Err(FilesystemError::corrupt(object, at, "a fast commit adds blocks outside the volume"));
                }
                if let Some(part) = run.within(wanted) {
                    replace(runs, part);
                }
            }
        }
        Ok(())
    }

    /// The first `length` bytes of what an inode's map leads to, as metadata. The caller bounds `length`.
    pub(super) fn metadata(&self, object: Object, record: &Record<'_>, length: usize) -> Result<Vec<u8>, FilesystemError> {
        let mut out = vec![0; length];
        let blocks = (length as u64).div_ceil(self.volume.block_bytes());
        for run in self.runs(record, &(0..blocks))?.iter().filter(|run| !run.unwritten) {
            let start = usize::try_from(self.volume.place_of(run.logical)).unwrap_or(usize::MAX);
            let bytes = usize::try_from(self.volume.place_of(run.count)).unwrap_or(usize::MAX);
            let end = start.saturating_add(bytes).min(length);
            if let Some(piece) = out.get_mut(start..end) {
                self.volume.read(object, self.volume.place_of(run.physical), piece)?;
            }
        }
        Ok(out)
    }
}

/// The bytes of `range` that are there.
fn part(content: &[u8], range: Extent) -> Vec<u8> {
    let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(content.len());
    content.get(place(range.offset)..place(range.end())).unwrap_or_default().to_vec()
}
