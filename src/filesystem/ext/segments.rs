//! Runs and losses as segments of bytes: without gaps, cut to what was asked for, and to where the source ends.

use std::ops::Range;

use super::losses::Losses;
use super::runs::Run;
use super::volume::Volume;
use crate::base::extent::Extent;
use crate::filesystem::face::{Segment, Source};

/// What stands for some blocks of a file.
enum Piece<'a> {
    Run(&'a Run),
    Lost(&'a str),
}

/// The segments of `range`: the space between runs and losses is holes.
pub(super) fn without_gaps(volume: &Volume, runs: &[Run], losses: &Losses, range: Extent) -> Vec<Segment> {
    let mut pieces: Vec<(Range<u64>, Piece<'_>)> = runs.iter().map(|run| (run.logical..run.end(), Piece::Run(run))).collect();
    pieces.extend(losses.iter().map(|(blocks, reason)| (blocks.clone(), Piece::Lost(reason))));
    pieces.sort_by_key(|(blocks, _)| blocks.start);
    let mut gapless = Gapless { volume, range, at: range.offset, segments: Vec::new() };
    pieces.iter().for_each(|(blocks, piece)| gapless.add(blocks, piece));
    gapless.fill_up_to(range.end());
    gapless.segments
}

struct Gapless<'a> {
    volume: &'a Volume,
    range: Extent,
    /// Where the next segment begins.
    at: u64,
    segments: Vec<Segment>,
}

impl Gapless<'_> {
    fn add(&mut self, blocks: &Range<u64>, piece: &Piece<'_>) {
        let whole = Extent::between(self.volume.place_of(blocks.start), self.volume.place_of(blocks.end));
        let extent = whole.intersect(&Extent::between(self.at, self.range.end()));
        if extent.is_empty() {
            return;
        }
        self.fill_up_to(extent.offset);
        match piece {
            Piece::Lost(reason) => self.push(extent, Source::Lost((*reason).to_owned())),
            Piece::Run(run) => {
                let place = self.volume.place_of(run.physical).saturating_add(extent.offset - whole.offset);
                if run.unwritten { self.push(extent, Source::Unwritten(place)) } else { self.push_data(extent, place) }
            }
        }
    }

    /// Of a volume that was cut off, what lies behind its end is lost.
    fn push_data(&mut self, extent: Extent, place: u64) {
        let size = self.volume.bytes().size();
        let there = if self.volume.is_wreck() { size.saturating_sub(place).min(extent.length) } else { extent.length };
        self.push(Extent::new(extent.offset, there), Source::Disk(place));
        let beyond = format!("it lies beyond the end of the image at byte {size}");
        self.push(Extent::between(extent.offset + there, extent.end()), Source::Lost(beyond));
    }

    fn fill_up_to(&mut self, end: u64) {
        self.push(Extent::between(self.at, end), Source::Hole);
    }

    fn push(&mut self, extent: Extent, source: Source) {
        if !extent.is_empty() {
            self.at = extent.end();
            self.segments.push(Segment { extent, source });
        }
    }
}
