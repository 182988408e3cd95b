//! Telling whether anybody else uses the device: nobody is harmed by full speed on a device that is ours alone.
//!
//! ```text
//!   sectors read by others since the start  =  what the disk counts  -  what came back to us  -  what came back and we have not seen
//! ```
//! The last term lies between nothing and all that is under way, so each look at the counters bounds the others' reads from both
//! sides. When the lower bound passes an earlier upper bound, somebody has read in between. Writes are never ours.

use std::time::Duration;

/// What the disk has counted since it appeared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::device) struct DiskCounters {
    /// Bytes read by anybody.
    pub(in crate::device) read_bytes: u64,
    /// Writes, discards and flushes by anybody.
    pub(in crate::device) writes: u64,
}

/// So long must nobody else have been seen. A neighbour with ten requests a second is missed for that long once in twelve times.
const QUIET_FOR: Duration = Duration::from_millis(250);

/// What is known of the others.
#[derive(Debug, Default)]
pub(super) struct Solitude {
    /// Our bytes that have come back, and those that have not.
    own_done: u64,
    own_under_way: u64,
    last: Option<DiskCounters>,
    /// The least upper bound of the others' reads seen since somebody was last noticed; read counters begin anywhere.
    others_at_most: Option<i128>,
    quiet_since: Option<Duration>,
}

impl Solitude {
    pub(super) fn began(&mut self, bytes: u64) {
        self.own_under_way = self.own_under_way.saturating_add(bytes);
    }

    pub(super) fn ended(&mut self, bytes: u64) {
        self.own_under_way = self.own_under_way.saturating_sub(bytes);
        self.own_done = self.own_done.saturating_add(bytes);
    }

    /// Takes note of the counters at `now`.
    pub(super) fn look(&mut self, counters: DiskCounters, now: Duration) {
        let at_most = i128::from(counters.read_bytes) - i128::from(self.own_done);
        let at_least = at_most - i128::from(self.own_under_way);
        let wrote = self.last.is_none_or(|last| last.writes != counters.writes);
        let read = self.others_at_most.is_none_or(|bound| at_least > bound);
        self.last = Some(counters);
        if wrote || read {
            self.others_at_most = Some(at_most);
            self.quiet_since = Some(now);
        } else {
            self.others_at_most = self.others_at_most.map(|bound| bound.min(at_most));
        }
    }

    /// True when nobody else has been seen for long enough.
    pub(super) fn is_alone(&self, now: Duration) -> bool {
        self.quiet_since.is_some_and(|since| now.saturating_sub(since) >= QUIET_FOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A disk that we read steadily and `others` use as the row says, looked at every 20 ms; when we believe to be alone.
    fn alone_after(others: impl Fn(u32) -> (u64, u64)) -> Vec<bool> {
        let mut solitude = Solitude::default();
        let mut counters = DiskCounters { read_bytes: 777, writes: 5 };
        (0..60u32)
            .map(|tick| {
                let now = MS * (tick * 20);
                // What is under way depends on what we believe.
                let under_way = if solitude.is_alone(now) { 4 << 20 } else { 256 << 10 };
                solitude.began(under_way);
                // Half of it came back, and we have seen a quarter.
                counters.read_bytes += under_way / 2;
                solitude.ended(under_way / 4);
                let (read, writes) = others(tick);
                counters.read_bytes += read;
                counters.writes += writes;
                solitude.look(counters, now);
                counters.read_bytes += under_way / 2;
                solitude.ended(under_way - under_way / 4);
                solitude.is_alone(now)
            })
            .collect()
    }

    #[test]
    fn a_quiet_device_is_ours_after_a_quarter_of_a_second() {
        let alone = alone_after(|_| (0, 0));
        assert!(alone[..12].iter().all(|alone| !alone));
        assert!(alone[13..].iter().all(|alone| *alone));
    }

    #[test]
    fn one_write_ends_the_solitude_at_once() {
        let alone = alone_after(|tick| (0, u64::from(tick == 30)));
        assert!(alone[29] && !alone[30] && !alone[41] && alone[44]);
    }

    #[test]
    fn steady_small_reads_keep_us_gentle() {
        // 2,000 reads of 4 KiB a second.
        let alone = alone_after(|_| (40 * 4096, 0));
        assert!(alone.iter().all(|alone| !alone), "{alone:?}");
    }

    #[test]
    fn small_reads_that_begin_while_we_are_at_full_speed_are_noticed_within_a_second() {
        let alone = alone_after(|tick| (if tick < 20 { 0 } else { 40 * 4096 }, 0));
        assert!(alone[19] && !alone[50..].contains(&true), "{alone:?}");
    }

    #[test]
    fn nobody_is_alone_before_the_first_look() {
        assert!(!Solitude::default().is_alone(Duration::from_secs(9)));
    }
}
