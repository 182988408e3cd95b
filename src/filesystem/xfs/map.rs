//! Where a file's bytes come from: its runs, and the holes between them.

use super::fork::Fork;
use super::run::Run;
use crate::base::extent::Extent;
use crate::filesystem::error::FilesystemError;
use crate::filesystem::face::{Segment, Source};

/// Segments that cover `range`, which lies within the file.
pub(super) fn segments(fork: &Fork<'_>, range: Extent) -> Result<Vec<Segment>, FilesystemError> {
    let log = fork.geometry().block_log;
    let (first, end) = (range.offset >> log, range.end().div_ceil(fork.geometry().block_bytes().into()));
    let mut segments = Vec::new();
    let mut next = range.offset;
    for run in fork.runs(first, end - first)? {
        let extent = Extent::new(run.file_block << log, run.blocks << log).intersect(&range);
        push(&mut segments, Extent::between(next, extent.offset), Source::Hole);
        push(&mut segments, extent, source(&run, extent.offset - (run.file_block << log)));
        next = extent.end();
    }
    push(&mut segments, Extent::between(next, range.end()), Source::Hole);
    Ok(segments)
}

fn source(run: &Run, skip: u64) -> Source {
    if run.unwritten { Source::Unwritten(run.byte + skip) } else { Source::Disk(run.byte + skip) }
}

fn push(segments: &mut Vec<Segment>, extent: Extent, source: Source) {
    if !extent.is_empty() {
        segments.push(Segment { extent, source });
    }
}
