//! Runs of blocks: what a map says, in the order of the file.

use std::ops::Range;

use crate::filesystem::error::FilesystemError;

/// Is told which blocks of a file a broken part of its map stood for. An error ends the search; a reader that goes around what is
/// broken takes a note and returns none.
pub(super) type OnLoss<'a> = &'a mut dyn FnMut(Range<u64>, FilesystemError) -> Result<(), FilesystemError>;

/// Blocks of a file that lie together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// The first block, counted in the file.
    pub(super) logical: u64,
    pub(super) count: u64,
    /// The first block, counted in the volume.
    pub(super) physical: u64,
    /// Reserved, and to be read as zeros.
    pub(super) unwritten: bool,
}

impl Run {
    /// The first block of the file after the run.
    pub(super) fn end(&self) -> u64 {
        self.logical.saturating_add(self.count)
    }

    /// The part of the run that lies in `wanted`.
    pub(super) fn within(&self, wanted: &Range<u64>) -> Option<Self> {
        let (start, end) = (self.logical.max(wanted.start), self.end().min(wanted.end));
        (start < end).then(|| Self {
            logical: start,
            count: end - start,
            physical: self.physical + (start - self.logical),
            ..*self
        })
    }

    /// True when `next` goes on where this run ends, in the file and on the volume.
    fn continues_in(&self, next: &Self) -> bool {
        self.end() == next.logical && self.physical + self.count == next.physical && self.unwritten == next.unwritten
    }
}

/// Appends a run, joined with the last one where it goes on.
pub(super) fn push(runs: &mut Vec<Run>, run: Run) {
    match runs.last_mut() {
        Some(last) if last.continues_in(&run) => last.count += run.count,
        _ => runs.push(run),
    }
}

/// Takes `hole` out of the runs.
pub(super) fn punch(runs: &mut Vec<Run>, hole: &Range<u64>) {
    let kept = runs.iter().flat_map(|run| [run.within(&(0..hole.start)), run.within(&(hole.end..u64::MAX))]);
    *runs = kept.flatten().collect();
}

/// Puts a run in place of whatever was there.
pub(super) fn replace(runs: &mut Vec<Run>, run: Run) {
    punch(runs, &(run.logical..run.end()));
    let at = runs.partition_point(|other| other.logical < run.logical);
    runs.insert(at, run);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(logical: u64, count: u64, physical: u64) -> Run {
        Run { logical, count, physical, unwritten: false }
    }

    #[test]
    fn runs_that_go_on_are_joined() {
        let mut runs = Vec::new();
        push(&mut runs, run(0, 4, 100));
        push(&mut runs, run(4, 4, 104));
        push(&mut runs, run(8, 1, 200));
        push(&mut runs, run(10, 1, 201));
        push(&mut runs, Run { unwritten: true, ..run(11, 1, 202) });
        assert_eq!(runs, [run(0, 8, 100), run(8, 1, 200), run(10, 1, 201), Run { unwritten: true, ..run(11, 1, 202) }]);
    }

    #[test]
    fn a_later_run_stands_in_place_of_what_was_there() {
        let mut runs = vec![run(0, 10, 100), run(20, 10, 300)];
        replace(&mut runs, run(5, 20, 500));
        assert_eq!(runs, [run(0, 5, 100), run(5, 20, 500), run(25, 5, 305)]);
        punch(&mut runs, &(2..7));
        assert_eq!(runs, [run(0, 2, 100), run(7, 18, 502), run(25, 5, 305)]);
        punch(&mut runs, &(0..100));
        assert_eq!(runs, []);
    }
}
