//! Random choices that a seed replays, and the loop over seeds that names the one that failed.

use std::env;
use std::ops::Range;
use std::thread;

use crate::base::entropy::Entropy;
use crate::testkit::seeded_entropy::SeededEntropy;

/// The variable that replays one seed instead of all.
pub const SEED_VARIABLE: &str = "ICECORE_TEST_SEED";

/// Draws for one seed.
#[derive(Debug)]
pub struct Dice(SeededEntropy);

impl Dice {
    /// The draws of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(SeededEntropy::new(seed ^ 0x1ce_d1ce))
    }

    /// A number below `limit`; zero when there is none.
    pub fn below(&self, limit: u64) -> u64 {
        self.0.u64().unwrap_or_default() % limit.max(1)
    }

    /// An index of a list of `length`.
    pub fn index(&self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or_default()
    }

    /// A number in `range`.
    pub fn within(&self, range: Range<u64>) -> u64 {
        range.start + self.below(range.end.saturating_sub(range.start))
    }

    /// True in so many of a thousand draws.
    pub fn chance(&self, per_mille: u64) -> bool {
        self.below(1_000) < per_mille
    }
}

/// Runs `run` for the seeds of `range`, or for the one that the environment names, and prints the seed of a run that fails.
pub fn each_seed(range: Range<u64>, mut run: impl FnMut(u64)) {
    let asked = env::var(SEED_VARIABLE).ok().and_then(|text| text.parse().ok());
    let seeds = asked.map_or(range, |seed: u64| seed..seed + 1);
    for seed in seeds {
        let _named = Named(seed);
        run(seed);
    }
}

struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if thread::panicking() {
            #[expect(clippy::print_stderr, reason = "whoever sees a random test fail must be able to repeat it")]
            {
                eprintln!("failed with seed {0}; replay it with {SEED_VARIABLE}={0}", self.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_stay_inside_their_bounds_and_repeat() {
        let draw = |seed| {
            let dice = Dice::new(seed);
            (0..100).map(|_| dice.within(5..9)).collect::<Vec<_>>()
        };
        assert!(draw(1).iter().all(|number| (5..9).contains(number)));
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert_eq!(Dice::new(1).below(0), 0);
    }
}
