//! How hard to read: a rate limit, and a bound on reads under way that gives way to neighbours. Pure logic, told the time.

use std::time::Duration;

pub(super) use bucket::Admission;
use bucket::TokenBucket;
use gentle::Gentle;

mod bucket;
mod gentle;

/// How hard to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pace {
    /// As fast as the source gives, up to 4 MiB under way.
    #[default]
    Full,
    /// Few and short reads, fewer when they get slower. Call [`super::impact::lower_priority`] on the reading thread as well.
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
    piece_bytes: u64,
    most_in_flight: u32,
}

impl Pacer {
    pub(super) fn new(options: &PacerOptions) -> Self {
        let bound = options.most_in_flight.unwrap_or(u32::MAX).max(1);
        let (most, piece_bytes, gentle) = match options.pace {
            Pace::Full => ((FULL_BYTES_IN_FLIGHT / options.window_bytes.max(1)).clamp(1, 64) as u32, options.window_bytes, None),
            Pace::Gentle => (
                gentle::MOST_IN_FLIGHT,
                options.window_bytes.min(gentle::PIECE_BYTES),
                Some(Gentle::new(bound.min(gentle::MOST_IN_FLIGHT))),
            ),
        };
        let bucket = options.limit_bytes_per_second.map(TokenBucket::new);
        Self { bucket, gentle, piece_bytes, most_in_flight: most.min(bound) }
    }

    /// The most reads that are ever under way at once.
    pub(super) fn most_in_flight(&self) -> u32 {
        self.most_in_flight
    }

    /// Reads that may be under way now. At least one.
    pub(super) fn depth(&self) -> usize {
        self.gentle.as_ref().map_or(self.most_in_flight as usize, Gentle::depth)
    }

    /// The longest single read, in bytes.
    pub(super) fn piece_bytes(&self) -> u64 {
        self.piece_bytes
    }

    /// Whether a read may begin at `now`.
    pub(super) fn admission(&self, now: Duration) -> Admission {
        let by_rate = self.bucket.as_ref().map_or(Admission::Now, |bucket| bucket.admission(now));
        let by_rest = self.gentle.as_ref().map_or(Admission::Now, |gentle| gentle.admission(now));
        by_rate.later(by_rest)
    }

    /// A read of `bytes` begins at `now`.
    pub(super) fn spend(&mut self, bytes: u64, now: Duration) {
        if let Some(bucket) = &mut self.bucket {
            bucket.spend(bytes, now);
        }
    }

    /// A read of `bytes` has come back at `now`, after `latency`.
    pub(super) fn completed(&mut self, bytes: u64, latency: Duration, now: Duration) {
        if let Some(gentle) = &mut self.gentle
            && bytes == self.piece_bytes
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
            assert_eq!(Pacer::new(&options(Pace::Full, window_kib)).depth(), depth, "{window_kib} KiB");
        }
    }

    #[test]
    fn a_bound_on_reads_under_way_holds_at_either_pace() {
        for pace in [Pace::Full, Pace::Gentle] {
            let mut pacer = Pacer::new(&PacerOptions { most_in_flight: Some(1), ..options(pace, 256) });
            for at in 1..1000 {
                pacer.completed(pacer.piece_bytes(), Duration::from_micros(50), Duration::from_millis(at));
                assert_eq!(pacer.depth(), 1, "{pace:?}");
            }
        }
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
