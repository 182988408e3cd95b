//! Where a file's bytes come from: its runs, and the holes between them.

use super::fork::Fork;
use super::found::{Found, Span};
use super::geometry::Geometry;
use super::run::Run;
use crate::base::extent::Extent;
use crate::filesystem::error::FilesystemError;
use crate::filesystem::face::{Segment, Source};

/// Segments that cover `range`, which lies within the file.
pub(super) fn segments(fork: &Fork<'_>, range: Extent) -> Result<Vec<Segment>, FilesystemError> {
    let (first, count) = blocks(fork, range);
    let runs = fork.runs(first, count)?;
    let pieces = runs.iter().map(|run| of_run(run, fork.geometry(), range));
    Ok(with_holes(pieces, range))
}

/// The same of a file whose map is broken in places, or leads to bytes that a source of `size` bytes does not have: these are lost.
pub(super) fn segments_around(fork: &Fork<'_>, range: Extent, size: u64) -> Vec<Segment> {
    let (first, count) = blocks(fork, range);
    let found = fork.runs_around(first, count);
    let mut pieces: Vec<Segment> = found.runs.iter().map(|run| of_run(run, fork.geometry(), range)).collect();
    pieces.extend(lost(&found, fork.geometry(), range));
    pieces.sort_by_key(|piece| piece.extent.offset);
    let covering = with_holes(pieces.into_iter(), range);
    covering.into_iter().flat_map(|segment| within_source(segment, size)).collect()
}

/// A segment of which nothing is known.
pub(super) fn lost_segment(extent: Extent, why: &FilesystemError) -> Segment {
    Segment { extent, source: Source::Lost(why.to_string()) }
}

fn blocks(fork: &Fork<'_>, range: Extent) -> (u64, u64) {
    let first = range.offset >> fork.geometry().block_log;
    (first, range.end().div_ceil(fork.geometry().block_bytes().into()) - first)
}

fn of_run(run: &Run, geometry: &Geometry, range: Extent) -> Segment {
    let start = run.file_block << geometry.block_log;
    let extent = Extent::new(start, run.blocks << geometry.block_log).intersect(&range);
    let byte = run.byte + (extent.offset - start);
    Segment { extent, source: if run.unwritten { Source::Unwritten(byte) } else { Source::Disk(byte) } }
}

fn lost<'a>(found: &'a Found, geometry: &'a Geometry, range: Extent) -> impl Iterator<Item = Segment> + use<'a> {
    let bytes = |span: Span| {
        // Within what was asked for, so that no shift loses a bit.
        let (first, end) = (span.first.max(found.wanted.first), span.end.min(found.wanted.end));
        Extent::new(first << geometry.block_log, (end - first) << geometry.block_log)
    };
    found.lost.iter().map(move |unmapped| lost_segment(bytes(unmapped.span).intersect(&range), &unmapped.error))
}

/// Ascending segments, and holes between them and around them.
fn with_holes(pieces: impl Iterator<Item = Segment>, range: Extent) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut next = range.offset;
    for piece in pieces {
        let end = piece.extent.end();
        push(&mut segments, Segment { extent: Extent::between(next, piece.extent.offset), source: Source::Hole });
        push(&mut segments, piece);
        next = end;
    }
    push(&mut segments, Segment { extent: Extent::between(next, range.end()), source: Source::Hole });
    segments
}

/// What of a segment a source of `size` bytes has, and the rest.
fn within_source(segment: Segment, size: u64) -> Vec<Segment> {
    let Source::Disk(at) = segment.source else { return vec![segment] };
    let there = size.saturating_sub(at).min(segment.extent.length);
    let cut = segment.extent.offset + there;
    let gone = Source::Lost(format!("byte {} of the volume, where the source ends at byte {size}", at + there));
    let mut parts = Vec::new();
    push(&mut parts, Segment { extent: Extent::between(segment.extent.offset, cut), source: Source::Disk(at) });
    push(&mut parts, Segment { extent: Extent::between(cut, segment.extent.end()), source: gone });
    parts
}

fn push(segments: &mut Vec<Segment>, segment: Segment) {
    if !segment.extent.is_empty() {
        segments.push(segment);
    }
}
