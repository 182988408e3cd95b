//! How hard to read: a rate limit, and a bound on reads under way that gives way to neighbours. Pure logic, told the time.

use std::time::Duration;

pub(super) use bucket::Admission;
use bucket::TokenBucket;
use gentle::Gentle;
pub(super) use solitude::DiskCounters;
use solitude::Solitude;

mod bucket;
mod gentle;
mod solitude;

/// How hard to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pace {
    /// As fast as the source gives, up to 4 MiB under way.
    #[default]
    Full,
    /// Few and short reads, fewer when they get slower, as long as somebody else uses the device; full speed on a block device that
    /// nobody else uses. Call [`super::impact::lower_priority`] on the reading thread as well.
    Gentle,
}

/// More bytes than this under way gain nothing, and ruin the neighbours' latency (74 ms against 4 ms at the 99th percentile).
const FULL_BYTES_IN_FLIGHT: u64 = 4 * 1024 * 1024;

/// What a pacer obeys.
#[derive(Debug, Clone, Copy)]
pub(super) struct PacerOptions {
    pub(super) pace: Pace,
    pub(super) limit_bytes_per_second: Option<u64>,
    pub(super) window_bytes: u64,
    pub(super) most_in_flight: Option<u32>,
}

/// Decides when the next read may go, and how long it may be.
#[derive(Debug)]
pub(super) struct Pacer {
    bucket: Option<TokenBucket>,
    gentle: Option<Gentle>,
    solitude: Solitude,
    window_bytes: u64,
    most_in_flight: u32,
}

impl Pacer {
    pub(super) fn new(options: &PacerOptions) -> Self {
        let bound = options.most_in_flight.unwrap_or(u32::MAX).max(1);
        let most = (FULL_BYTES_IN_FLIGHT / options.window_bytes.max(1)).clamp(1, 64) as u32;
        let gentle = match options.pace {
            Pace::Full => None,
            Pace::Gentle => Some(Gentle::new(bound.min(gentle::MOST_IN_FLIGHT))),
        };
        let bucket = options.limit_bytes_per_second.map(TokenBucket::new);
        let solitude = Solitude::default();
        Self { bucket, gentle, solitude, window_bytes: options.window_bytes, most_in_flight: most.min(bound) }
    }

    /// The most reads that are ever under way at once.
    pub(super) fn most_in_flight(&self) -> u32 {
        self.most_in_flight
    }

    /// Reads that may be under way at `now`. At least one.
    pub(super) fn depth(&self, now: Duration) -> usize {
        self.giving_way(now).map_or(self.most_in_flight as usize, Gentle::depth)
    }

    /// The longest single read at `now`, in bytes.
    pub(super) fn piece_bytes(&self, now: Duration) -> u64 {
        self.giving_way(now).map_or(self.window_bytes, |_| self.window_bytes.min(gentle::PIECE_BYTES))
    }

    /// The bound to obey at `now`: none at full pace, and none while nobody else is there.
    fn giving_way(&self, now: Duration) -> Option<&Gentle> {
        self.gentle.as_ref().filter(|_| !self.solitude.is_alone(now))
    }

    /// The disk's counters are these at `now`.
    pub(super) fn look(&mut self, counters: DiskCounters, now: Duration) {
        self.solitude.look(counters, now);
    }

    /// Whether a read may begin at `now`.
    pub(super) fn admission(&self, now: Duration) -> Admission {
        let by_rate = self.bucket.as_ref().map_or(Admission::Now, |bucket| bucket.admission(now));
        let by_rest = self.giving_way(now).map_or(Admission::Now, |gentle| gentle.admission(now));
        by_rate.later(by_rest)
    }

    /// A read of `bytes` begins at `now`.
    pub(super) fn spend(&mut self, bytes: u64, now: Duration) {
        self.solitude.began(bytes);
        if let Some(bucket) = &mut self.bucket {
            bucket.spend(bytes, now);
        }
    }

    /// A read of `bytes` has come back at `now`, after `latency`.
    pub(super) fn completed(&mut self, bytes: u64, latency: Duration, now: Duration) {
        self.solitude.ended(bytes);
        // Only reads of the gentle length tell how much longer they take than they could.
        if let Some(gentle) = &mut self.gentle
            && bytes == self.window_bytes.min(gentle::PIECE_BYTES)
        {
            gentle.completed(latency, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1024;

    fn options(pace: Pace, window_kib: u64) -> PacerOptions {
        PacerOptions { pace, limit_bytes_per_second: None, window_bytes: window_kib * KIB, most_in_flight: None }
    }

    #[test]
    fn full_pace_keeps_four_mebibytes_under_way_whatever_the_window() {
        for (window_kib, depth) in [(64, 64), (256, 16), (1024, 4)] {
            assert_eq!(Pacer::new(&options(Pace::Full, window_kib)).depth(Duration::ZERO), depth, "{window_kib} KiB");
        }
    }

    #[test]
    fn a_bound_on_reads_under_way_holds_at_either_pace() {
        for pace in [Pace::Full, Pace::Gentle] {
            let mut pacer = Pacer::new(&PacerOptions { most_in_flight: Some(1), ..options(pace, 256) });
            for at in 1..1000 {
                let now = Duration::from_millis(at);
                pacer.completed(pacer.piece_bytes(now), Duration::from_micros(50), now);
                assert_eq!(pacer.depth(now), 1, "{pace:?}");
            }
        }
    }

    #[test]
    fn a_gentle_reader_is_quick_alone_and_gives_way_as_soon_as_somebody_writes() {
        let mut pacer = Pacer::new(&options(Pace::Gentle, 256));
        let look = |pacer: &mut Pacer, writes, at| pacer.look(DiskCounters { read_bytes: 0, writes }, Duration::from_millis(at));
        look(&mut pacer, 9, 0);
        look(&mut pacer, 9, 300);
        let now = Duration::from_millis(300);
        assert_eq!((pacer.depth(now), pacer.piece_bytes(now)), (16, 256 * KIB));
        look(&mut pacer, 10, 320);
        let now = Duration::from_millis(320);
        assert_eq!((pacer.depth(now), pacer.piece_bytes(now)), (1, 128 * KIB));
    }

    #[test]
    fn a_limit_holds_at_any_pace() {
        let limited = PacerOptions { limit_bytes_per_second: Some(1024 * KIB), ..options(Pace::Full, 256) };
        let mut pacer = Pacer::new(&limited);
        let (mut now, mut read) = (Duration::ZERO, 0);
        while now < Duration::from_secs(10) {
            match pacer.admission(now) {
                Admission::Now => {
                    pacer.spend(256 * KIB, now);
                    read += 256 * KIB;
                }
                Admission::After(delay) => now += delay,
            }
        }
        assert!((10_000 * KIB..=10_800 * KIB).contains(&read), "{read}");
    }
}
