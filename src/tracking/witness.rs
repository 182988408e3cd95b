//! The witness: the kernel's own count of sectors written, against which the programs' count is held.

use super::layout::Regime;

/// What the two counts say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Witness {
    /// By how much the programs' count is ahead, in sectors, as the smallest difference that was seen. It never changes while no write
    /// is missed; its value means nothing, since the kernel began to count earlier.
    Ahead(i64),
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

impl<K: FnMut() -> Option<u64>, O: FnMut() -> Option<u64>, P: FnMut()> Counts<K, O, P> {
    /// Compares them until a difference `is_enough`, or there were so many that the smallest must be right.
    pub(super) fn compare(mut self, is_enough: impl Fn(Witness) -> bool) -> Witness {
        let mut smallest = Witness::Busy;
        for _ in 0..ROWS {
            smallest = match (smallest, self.row()) {
                (_, Witness::Silent) => return Witness::Silent,
                (Witness::Ahead(least), Witness::Ahead(ahead)) => Witness::Ahead(least.min(ahead)),
                (Witness::Busy, ahead) => ahead,
                (known, _) => known,
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
        let mut smallest: Option<i64> = None;
        let mut quiet = 0;
        for _ in 0..MOST_TRIES {
            let (Some(before), Some(counted), Some(after)) = ((self.kernel)(), (self.ours)(), (self.kernel)()) else {
                return Witness::Silent;
            };
            if before != after {
                continue;
            }
            let ahead = counted.wrapping_sub(before).cast_signed();
            smallest = Some(smallest.map_or(ahead, |least| least.min(ahead)));
            quiet += 1;
            if quiet == QUIET_SAMPLES {
                break;
            }
        }
        smallest.map_or(Witness::Busy, Witness::Ahead)
    }
}

/// True when nothing was missed between two looks. Requests are counted when they complete, by both sides; bios when they begin, so
/// that those on their way now may be counted by us alone.
pub(super) fn holds(regime: Regime, earlier: Witness, now: Witness) -> bool {
    match (earlier, now) {
        (Witness::Ahead(earlier), Witness::Ahead(now)) => match regime {
            Regime::Requests => now == earlier,
            Regime::Bios => now >= earlier,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Compares to the end.
    fn compare(kernel: impl FnMut() -> Option<u64>, ours: impl FnMut() -> Option<u64>) -> Witness {
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
        assert_eq!(compare(|| Some(10), || Some(7)), Witness::Ahead(-3));
    }

    #[test]
    fn a_write_between_the_two_counts_is_waited_out() {
        let mut looks = 0;
        let ours = || {
            looks += 1;
            Some(if looks % 3 == 0 { 100 } else { 108 })
        };
        assert_eq!(compare(|| Some(40), ours), Witness::Ahead(60));
    }

    #[test]
    fn a_write_whose_completion_lost_its_processor_is_waited_out() {
        // It goes on during the third pause.
        let pauses = Cell::new(0);
        let kernel = || Some(if pauses.get() < 3 { 32 } else { 40 });
        let counts = Counts { kernel, ours: || Some(100), pause: || pauses.set(pauses.get() + 1) };
        assert_eq!(counts.compare(|seen| seen == Witness::Ahead(60)), Witness::Ahead(60));
        assert_eq!(pauses.get(), 3, "and no longer than that");
    }

    #[test]
    fn a_missed_write_shows_in_either_regime() {
        use Regime::{Bios, Requests};
        use Witness::{Ahead, Busy, Silent};
        for (regime, earlier, now, expected) in [
            (Requests, Ahead(5), Ahead(5), true),
            (Requests, Ahead(5), Ahead(-3), false),
            (Requests, Ahead(5), Ahead(13), false),
            (Bios, Ahead(5), Ahead(5), true),
            (Bios, Ahead(5), Ahead(13), true),
            (Bios, Ahead(5), Ahead(4), false),
            (Bios, Ahead(5), Busy, false),
            (Requests, Silent, Ahead(5), false),
            (Requests, Silent, Silent, false),
        ] {
            assert_eq!(holds(regime, earlier, now), expected, "{regime:?} {earlier:?} {now:?}");
        }
    }
}
