//! The witness: the kernel's own count of sectors written, against which the programs' counts are held.
//!
//! There are two of them, one at either end of a request, and either is enough: if all completions were seen with what had been recorded
//! when they were issued, or if all that was issued was seen, then all of it was marked. A kernel can leave out a run of a program
//! without saying so, some ten in a million completions; it hardly does both for one request.

use super::layout::{Regime, Tally};

/// What the two counts say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Witness {
    /// By how much the programs' counts are ahead, in sectors, as the smallest differences that were seen. They never become smaller
    /// unless something is missed; their values mean nothing, since the kernel began to count earlier.
    Ahead {
        /// What was counted when it was completed, or of bio disks when it was queued.
        completed: i64,
        /// What was counted when it was issued; what is on its way is ahead. Of bio disks it means nothing.
        issued: i64,
    },
    /// Writes came so quickly that the counts could never be read at one moment.
    Busy,
    /// The kernel does not count.
    Silent,
}

/// Quiet moments to look for in a row: in some of them a write is just between the two counts.
const QUIET_SAMPLES: u32 = 16;
/// A try takes some ten microseconds.
const MOST_TRIES: u32 = 3_000;
/// Rows with a pause between them. Whoever completes a write counts it for us and then for the kernel, and may lose its processor in
/// between, to this very process: then all samples of a row are too high.
const ROWS: u32 = 40;

/// Both counts, and a pause that lets others run.
pub(super) struct Counts<K, O, P> {
    pub(super) kernel: K,
    pub(super) ours: O,
    pub(super) pause: P,
}

impl<K: FnMut() -> Option<u64>, O: FnMut() -> Option<Tally>, P: FnMut()> Counts<K, O, P> {
    /// Compares them until a difference `is_enough`, or there were so many that the smallest must be right.
    pub(super) fn compare(mut self, is_enough: impl Fn(Witness) -> bool) -> Witness {
        let mut smallest = Witness::Busy;
        for _ in 0..ROWS {
            smallest = match self.row() {
                Witness::Silent => return Witness::Silent,
                row => smallest.least(row),
            };
            if is_enough(smallest) {
                break;
            }
            (self.pause)();
        }
        smallest
    }

    /// Reads both counts until there were enough moments in which the kernel's count stood still.
    fn row(&mut self) -> Witness {
        let mut smallest = Witness::Busy;
        let mut quiet = 0;
        for _ in 0..MOST_TRIES {
            let (Some(before), Some(counted), Some(after)) = ((self.kernel)(), (self.ours)(), (self.kernel)()) else {
                return Witness::Silent;
            };
            if before != after {
                continue;
            }
            let [completed, issued] = counted.map(|sectors| sectors.wrapping_sub(before).cast_signed());
            smallest = smallest.least(Witness::Ahead { completed, issued });
            quiet += 1;
            if quiet == QUIET_SAMPLES {
                break;
            }
        }
        smallest
    }
}

impl Witness {
    /// The smaller differences of both.
    fn least(self, other: Self) -> Self {
        match (self, other) {
            (Self::Ahead { completed: a, issued: b }, Self::Ahead { completed: c, issued: d }) => {
                Self::Ahead { completed: a.min(c), issued: b.min(d) }
            }
            (known @ Self::Ahead { .. }, _) => known,
            (_, other) => other,
        }
    }
}

/// True when nothing was missed between two looks. Bios are counted when they begin, so that those on their way now may be counted by
/// us alone; requests at both ends, of which one must agree.
pub(super) fn holds(regime: Regime, earlier: Witness, now: Witness) -> bool {
    match (earlier, now) {
        (Witness::Ahead { completed, issued }, Witness::Ahead { completed: completed_now, issued: issued_now }) => match regime {
            Regime::Requests => completed_now == completed || issued_now == issued,
            Regime::Bios => completed_now >= completed,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn ahead(completed: i64, issued: i64) -> Witness {
        Witness::Ahead { completed, issued }
    }

    /// Compares to the end.
    fn compare(kernel: impl FnMut() -> Option<u64>, mut ours: impl FnMut() -> Option<u64>) -> Witness {
        let ours = || ours().map(|count| [count, count + 1]);
        Counts { kernel, ours, pause: || {} }.compare(|_| false)
    }

    #[test]
    fn counts_are_compared_only_while_the_kernels_stands_still() {
        let mut stat = 0;
        let busy = compare(
            || {
                stat += 1;
                Some(stat)
            },
            || Some(1_000),
        );
        assert_eq!(busy, Witness::Busy);
        assert_eq!(compare(|| None, || Some(1)), Witness::Silent);
        assert_eq!(compare(|| Some(1), || None), Witness::Silent);
        assert_eq!(compare(|| Some(10), || Some(7)), ahead(-3, -2));
    }

    #[test]
    fn a_write_between_the_two_counts_is_waited_out() {
        let mut looks = 0;
        let ours = || {
            looks += 1;
            Some(if looks % 3 == 0 { 100 } else { 108 })
        };
        assert_eq!(compare(|| Some(40), ours), ahead(60, 61));
    }

    #[test]
    fn a_write_whose_completion_lost_its_processor_is_waited_out() {
        // It goes on during the third pause.
        let pauses = Cell::new(0);
        let kernel = || Some(if pauses.get() < 3 { 32 } else { 40 });
        let counts = Counts { kernel, ours: || Some([100, 100]), pause: || pauses.set(pauses.get() + 1) };
        assert_eq!(counts.compare(|seen| seen == ahead(60, 60)), ahead(60, 60));
        assert_eq!(pauses.get(), 3, "and no longer than that");
    }

    #[test]
    fn a_missed_write_shows_in_either_regime() {
        use Regime::{Bios, Requests};
        use Witness::{Busy, Silent};
        for (regime, earlier, now, expected) in [
            (Requests, ahead(5, 9), ahead(5, 9), true),
            // Completions were not seen, but all that was issued.
            (Requests, ahead(5, 9), ahead(-3, 9), true),
            // There never was a moment without a write on its way, but all completions were seen.
            (Requests, ahead(5, 9), ahead(5, 137), true),
            (Requests, ahead(5, 9), ahead(-3, 1), false),
            (Requests, ahead(5, 9), ahead(-3, 17), false),
            (Requests, ahead(5, 9), ahead(13, 17), false),
            (Bios, ahead(5, 0), ahead(5, 0), true),
            (Bios, ahead(5, 0), ahead(13, 0), true),
            (Bios, ahead(5, 0), ahead(4, 0), false),
            (Bios, ahead(5, 0), Busy, false),
            (Requests, Silent, ahead(5, 9), false),
            (Requests, Silent, Silent, false),
        ] {
            assert_eq!(holds(regime, earlier, now), expected, "{regime:?} {earlier:?} {now:?}");
        }
    }
}
