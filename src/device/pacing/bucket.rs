//! A token bucket: an average rate, with a short burst after a pause.

use std::time::Duration;

/// Whether a read may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Admission {
    /// It may.
    Now,
    /// It may after this long.
    After(Duration),
}

impl Admission {
    /// The stricter of two.
    pub(super) fn later(self, other: Self) -> Self {
        match (self, other) {
            (Self::Now, only) | (only, Self::Now) => only,
            (Self::After(a), Self::After(b)) => Self::After(a.max(b)),
        }
    }
}

/// How much rate a pause saves up. Longer bursts would show as stalls in the neighbours.
const BURST: Duration = Duration::from_millis(100);

/// Keeps one number: when all that was spent will have been paid for.
///
/// A read may begin while the debt is below the burst, whatever its length, so that a rate far below one read per second still moves.
#[derive(Debug)]
pub(super) struct TokenBucket {
    bytes_per_second: u64,
    paid_at: Duration,
}

impl TokenBucket {
    pub(super) fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1), paid_at: Duration::ZERO }
    }

    pub(super) fn admission(&self, now: Duration) -> Admission {
        let debt = self.paid_at.saturating_sub(now);
        if debt < BURST { Admission::Now } else { Admission::After(debt - BURST + Duration::from_nanos(1)) }
    }

    pub(super) fn spend(&mut self, bytes: u64, now: Duration) {
        self.paid_at = self.paid_at.max(now).saturating_add(self.price(bytes));
    }

    /// Rounded up, so that rounding never beats the limit.
    fn price(&self, bytes: u64) -> Duration {
        let nanos = (u128::from(bytes) * 1_000_000_000).div_ceil(u128::from(self.bytes_per_second));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_for(bucket: &mut TokenBucket, from: Duration, until: Duration, bytes: u64) -> u64 {
        let (mut now, mut read) = (from, 0);
        while now < until {
            match bucket.admission(now) {
                Admission::Now => {
                    bucket.spend(bytes, now);
                    read += bytes;
                }
                Admission::After(delay) => now += delay,
            }
        }
        read
    }

    #[test]
    fn the_average_keeps_to_the_rate_for_any_read_length() {
        for bytes in [1, 512, 4096, 262_144, 1_048_576] {
            let mut bucket = TokenBucket::new(1_000_000);
            let read = read_for(&mut bucket, Duration::ZERO, Duration::from_secs(20), bytes);
            assert!(read >= 20_000_000, "{bytes}: {read} is below the limit");
            assert!(read <= 20_000_000 + 100_000 + 2 * bytes, "{bytes}: {read} is above the limit");
        }
    }

    #[test]
    fn a_long_pause_saves_up_no_more_than_the_burst() {
        let mut bucket = TokenBucket::new(1_000_000);
        bucket.spend(1, Duration::ZERO);
        let hour = Duration::from_secs(3600);
        let read = read_for(&mut bucket, hour, hour + Duration::from_nanos(1), 1000);
        assert!(read <= 101_000, "{read}");
    }

    #[test]
    fn a_rate_below_one_read_per_second_still_moves() {
        let mut bucket = TokenBucket::new(1000);
        assert_eq!(read_for(&mut bucket, Duration::ZERO, Duration::from_secs(1000), 262_144), 4 * 262_144);
    }

    #[test]
    fn nothing_overflows_at_the_extremes() {
        let mut bucket = TokenBucket::new(0);
        bucket.spend(u64::MAX, Duration::MAX);
        assert_eq!(bucket.admission(Duration::MAX), Admission::Now);
        assert!(matches!(bucket.admission(Duration::ZERO), Admission::After(_)));
    }
}
