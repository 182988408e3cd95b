//! Blocks of a file of which nobody knows where they lie, and why.

use std::mem::take;
use std::ops::Range;

use crate::filesystem::error::FilesystemError;

/// Lost blocks, in no order, none twice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Losses {
    ranges: Vec<(Range<u64>, String)>,
}

impl Losses {
    /// Adds blocks, if there are any. What follows on the last ones shares their reason: that of the first is enough to find the place.
    pub(super) fn add(&mut self, blocks: Range<u64>, error: &FilesystemError) {
        match self.ranges.last_mut() {
            _ if blocks.is_empty() => {}
            Some((last, _)) if last.end == blocks.start => last.end = blocks.end,
            _ => self.ranges.push((blocks, in_words(error))),
        }
    }

    /// Takes blocks out that are known after all.
    pub(super) fn remove(&mut self, known: &Range<u64>) {
        let cut = |(lost, reason): (Range<u64>, String)| {
            let before = lost.start..lost.end.min(known.start);
            let after = lost.start.max(known.end)..lost.end;
            [(before, reason.clone()), (after, reason)]
        };
        let ranges = take(&mut self.ranges);
        self.ranges = ranges.into_iter().flat_map(cut).filter(|(range, _)| !range.is_empty()).collect();
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Range<u64>, &str)> {
        self.ranges.iter().map(|(range, reason)| (range, reason.as_str()))
    }
}

/// An error of a device keeps its cause one level down, and a reason is one line.
fn in_words(error: &FilesystemError) -> String {
    match error {
        FilesystemError::Io { source, .. } => format!("{error}: {source}"),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filesystem::error::Object;

    #[test]
    fn what_is_known_after_all_is_lost_no_more() {
        let mut losses = Losses::default();
        let error = FilesystemError::corrupt(Object::Map(12), 4096, "first");
        losses.add(10..20, &error);
        losses.add(20..30, &FilesystemError::corrupt(Object::Map(12), 8192, "second"));
        losses.add(40..50, &error);
        losses.remove(&(15..18));
        losses.remove(&(45..60));
        losses.remove(&(30..40));
        let left: Vec<_> = losses.iter().map(|(range, reason)| (range.clone(), reason.contains("first"))).collect();
        assert_eq!(left, [(10..15, true), (18..30, true), (40..45, true)]);
    }
}
