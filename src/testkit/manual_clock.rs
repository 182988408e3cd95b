//! A clock that only moves when told to, or when somebody sleeps on it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::base::clock::{Clock, Timestamp};

/// Simulated time for one test; share it through an `Arc`. Sleeping costs no real time: it moves both clocks.
#[derive(Debug)]
pub struct ManualClock(Mutex<Times>);

#[derive(Debug)]
struct Times {
    wall: Timestamp,
    monotonic: Duration,
    slept: Vec<Duration>,
}

impl ManualClock {
    /// A clock whose wall time is `wall` and whose monotonic count is zero.
    #[must_use]
    pub fn new(wall: Timestamp) -> Self {
        Self(Mutex::new(Times { wall, monotonic: Duration::ZERO, slept: Vec::new() }))
    }

    /// Lets `by` pass.
    pub fn advance(&self, by: Duration) {
        self.times().pass(by);
    }

    /// Sets the wall clock, as an operator or a time server would; the monotonic count does not notice.
    pub fn jump_to(&self, wall: Timestamp) {
        self.times().wall = wall;
    }

    /// Every sleep so far, in order.
    #[must_use]
    pub fn slept(&self) -> Vec<Duration> {
        self.times().slept.clone()
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for ManualClock {
    /// Starts on 2026-01-01, because a time of zero hides arithmetic mistakes.
    fn default() -> Self {
        Self::new(Timestamp(1_767_225_600_000))
    }
}

impl Times {
    fn pass(&mut self, by: Duration) {
        self.wall = self.wall.plus(by);
        self.monotonic += by;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.times().wall
    }

    fn monotonic(&self) -> Duration {
        self.times().monotonic
    }

    fn sleep(&self, duration: Duration) {
        let mut times = self.times();
        times.pass(duration);
        times.slept.push(duration);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleeping_moves_both_clocks_and_a_jump_moves_only_the_wall() {
        let clock = ManualClock::new(Timestamp(1_000));
        clock.sleep(Duration::from_millis(5));
        assert_eq!((clock.now(), clock.monotonic()), (Timestamp(1_005), Duration::from_millis(5)));
        clock.jump_to(Timestamp(3));
        assert_eq!((clock.now(), clock.monotonic()), (Timestamp(3), Duration::from_millis(5)));
        assert_eq!(clock.slept(), [Duration::from_millis(5)]);
    }
}
