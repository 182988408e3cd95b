//! Giving way: fewer reads at once when reads take longer than they recently could.
//!
//! Latency that grows while the load is ours alone means that a queue builds up somewhere, and everybody stands in it. So the number
//! of reads under way grows by one per round trip while they come back quickly, and is halved when they do not.

use std::time::Duration;

use super::Admission;

/// The longest read when gentle: a neighbour's small read waits behind one of these, not behind a whole window.
pub(super) const PIECE_BYTES: u64 = 128 * 1024;
/// The most reads under way when gentle. Four doubled a neighbour's 99th percentile; two did so less, in runs too noisy to settle it.
pub(super) const MOST_IN_FLIGHT: u32 = 2;
/// Slower than this many times the best counts as crowded.
const CROWDED: u32 = 2;
/// Differences below this are noise of the scheduler.
const NOISE: Duration = Duration::from_micros(150);
/// The best latency is that of the last one to two of these, so that a device that has become slower for good is believed.
const MEMORY: Duration = Duration::from_secs(2);

/// The bound on reads under way, and what it learns from.
#[derive(Debug)]
pub(super) struct Gentle {
    /// In thousandths of a read, so that growth can be gradual.
    depth_milli: u64,
    most_milli: u64,
    best: RecentBest,
    /// Until then the reads that come back began before the last reduction, and say nothing about it.
    settled_at: Duration,
    /// No read begins before this.
    rest_until: Duration,
}

impl Gentle {
    pub(super) fn new(most: u32) -> Self {
        let most_milli = u64::from(most.max(1)) * 1000;
        let (settled_at, rest_until) = (Duration::ZERO, Duration::ZERO);
        Self { depth_milli: 1000, most_milli, best: RecentBest::default(), settled_at, rest_until }
    }

    pub(super) fn depth(&self) -> usize {
        (self.depth_milli / 1000) as usize
    }

    pub(super) fn admission(&self, now: Duration) -> Admission {
        let rest = self.rest_until.saturating_sub(now);
        if rest.is_zero() { Admission::Now } else { Admission::After(rest) }
    }

    pub(super) fn completed(&mut self, latency: Duration, now: Duration) {
        let best = self.best.update(latency, now);
        if latency <= best * CROWDED + NOISE {
            let growth = 1_000_000 / self.depth_milli.max(1000);
            self.depth_milli = (self.depth_milli + growth).min(self.most_milli);
        } else if now >= self.settled_at {
            self.give_way(latency, now);
        }
    }

    fn give_way(&mut self, latency: Duration, now: Duration) {
        if self.depth_milli < 2000 {
            // One read at a time is still too much: leave a gap as long as the crowd made us wait, within reason.
            self.rest_until = now + latency.min(LONGEST_REST);
        }
        self.depth_milli = (self.depth_milli / 2).max(1000);
        self.settled_at = now + latency;
    }
}

/// A crowd may be there to stay; a backup must still finish.
const LONGEST_REST: Duration = Duration::from_micros(500);

/// The lowest latency of this period and of the one before.
#[derive(Debug, Default)]
struct RecentBest {
    current: Option<Duration>,
    previous: Option<Duration>,
    period_ends: Duration,
}

impl RecentBest {
    fn update(&mut self, latency: Duration, now: Duration) -> Duration {
        if now >= self.period_ends {
            self.previous = self.current.take();
            self.period_ends = now + MEMORY;
        }
        let current = self.current.map_or(latency, |best| best.min(latency));
        self.current = Some(current);
        self.previous.map_or(current, |previous| previous.min(current))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds one completion per millisecond, with a latency that may depend on the depth; returns the depth at the end.
    fn simulate(gentle: &mut Gentle, from_ms: u64, count: u64, latency: impl Fn(u64) -> Duration) -> usize {
        for step in 0..count {
            let depth = gentle.depth() as u64;
            gentle.completed(latency(depth), Duration::from_millis(from_ms + step));
        }
        gentle.depth()
    }

    const QUICK: Duration = Duration::from_micros(200);
    const SLOW: Duration = Duration::from_millis(20);

    #[test]
    fn it_starts_with_one_read_and_grows_to_its_bound_while_reads_are_quick() {
        let mut gentle = Gentle::new(4);
        assert_eq!(gentle.depth(), 1);
        assert_eq!(simulate(&mut gentle, 0, 100, |_| QUICK), 4);
    }

    #[test]
    fn slow_reads_bring_it_down_to_one_and_quick_ones_up_again() {
        let mut gentle = Gentle::new(4);
        simulate(&mut gentle, 0, 100, |_| QUICK);
        assert_eq!(simulate(&mut gentle, 100, 100, |_| SLOW), 1);
        assert_eq!(simulate(&mut gentle, 200, 100, |_| QUICK), 4);
    }

    #[test]
    fn one_slow_round_is_punished_once() {
        let mut gentle = Gentle::new(4);
        simulate(&mut gentle, 0, 100, |_| QUICK);
        let now = Duration::from_millis(100);
        (0..4).for_each(|_| gentle.completed(SLOW, now));
        assert_eq!(gentle.depth(), 2);
    }

    #[test]
    fn a_device_that_has_become_slower_for_good_is_believed_after_a_while() {
        let mut gentle = Gentle::new(4);
        simulate(&mut gentle, 0, 100, |_| QUICK);
        assert_eq!(simulate(&mut gentle, 100, 1000, |_| SLOW), 1, "not at once");
        assert_eq!(simulate(&mut gentle, 1100, 6000, |_| SLOW), 4, "but in the end");
    }

    #[test]
    fn a_single_read_that_is_still_too_slow_rests_for_a_bounded_time() {
        let mut gentle = Gentle::new(1);
        gentle.completed(QUICK, Duration::ZERO);
        let now = Duration::from_millis(1);
        gentle.completed(Duration::from_secs(1), now);
        assert_eq!(gentle.admission(now), Admission::After(LONGEST_REST));
        assert_eq!(gentle.admission(now + LONGEST_REST), Admission::Now);
    }
}
