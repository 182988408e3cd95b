//! Which frames to read together: one ranged get for neighbours in a pack.

use std::ops::Range;

use super::format::node::FrameRef;

/// Reading this many unneeded bytes costs less than another request.
const MAX_GAP_BYTES: u64 = 64 << 10;
/// One request asks for no more than this, which bounds the memory of whoever reads.
const MAX_READ_BYTES: u64 = 4 << 20;

/// Frames that one ranged get brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReadGroup {
    /// The frames, by place; all in the same pack.
    pub(crate) frames: Vec<FrameRef>,
    /// What to ask for, in bytes from the start of the pack.
    pub(crate) range: Range<u64>,
}

/// Sorts frames by place and joins those that lie near each other. Duplicates are read once.
pub(crate) fn group_reads(mut frames: Vec<FrameRef>) -> Vec<ReadGroup> {
    frames.sort_unstable_by_key(|frame| (frame.pack, frame.offset, frame.slot));
    frames.dedup();
    let mut groups: Vec<ReadGroup> = Vec::new();
    for frame in frames {
        let range = place(&frame);
        match groups.last_mut().filter(|group| joins(group, &frame, &range)) {
            Some(group) => {
                group.range.end = group.range.end.max(range.end);
                group.frames.push(frame);
            }
            None => groups.push(ReadGroup { frames: vec![frame], range }),
        }
    }
    groups
}

/// Where a frame is said to lie.
pub(crate) fn place(frame: &FrameRef) -> Range<u64> {
    let start = u64::from(frame.offset);
    start..start + u64::from(frame.stored)
}

fn joins(group: &ReadGroup, frame: &FrameRef, range: &Range<u64>) -> bool {
    group.frames.last().is_some_and(|last| last.pack == frame.pack)
        && range.start <= group.range.end + MAX_GAP_BYTES
        && range.end.max(group.range.end) - group.range.start <= MAX_READ_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::ids::PackId;

    fn frame(pack: u8, offset: u32, stored: u32) -> FrameRef {
        FrameRef { pack: PackId([pack; 16]), slot: offset, offset, stored }
    }

    fn ranges(frames: Vec<FrameRef>) -> Vec<Range<u64>> {
        group_reads(frames).into_iter().map(|group| group.range).collect()
    }

    #[test]
    fn neighbours_are_read_together_and_strangers_apart() {
        assert_eq!(ranges(vec![frame(1, 100, 50), frame(1, 0, 100), frame(1, 0, 100)]), vec![Range { start: 0, end: 150 }]);
        assert_eq!(ranges(vec![frame(1, 0, 10), frame(1, 70_000, 10)]), [0..10, 70_000..70_010]);
        assert_eq!(ranges(vec![frame(1, 0, 10), frame(2, 10, 10)]), [0..10, 10..20]);
    }

    #[test]
    fn no_read_is_longer_than_the_bound_unless_one_frame_is() {
        let frames: Vec<_> = (0..64).map(|i| frame(1, i * 262_144, 262_144)).collect();
        let groups = group_reads(frames);
        assert_eq!(groups.len(), 4);
        assert!(groups.iter().all(|g| g.range.end - g.range.start == MAX_READ_BYTES));
        assert_eq!(ranges(vec![frame(1, 0, u32::MAX)]), vec![Range { start: 0, end: u64::from(u32::MAX) }]);
    }
}
