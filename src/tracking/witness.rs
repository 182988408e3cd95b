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

/// Quiet moments to look for: in some of them a write is just between the two counts.
const QUIET_SAMPLES: u32 = 16;
/// A try takes some ten microseconds.
const MOST_TRIES: u32 = 3_000;

/// Reads both counts until there were enough moments in which the kernel's count stood still.
pub(super) fn compare(mut kernel: impl FnMut() -> Option<u64>, mut ours: impl FnMut() -> Option<u64>) -> Witness {
    let mut smallest: Option<i64> = None;
    let mut quiet = 0;
    for _ in 0..MOST_TRIES {
        let (Some(before), Some(counted), Some(after)) = (kernel(), ours(), kernel()) else { return Witness::Silent };
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
    use super::*;

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
