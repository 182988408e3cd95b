//! Seams for tests: simulated time and randomness, real servers and devices that clean up after themselves. Never shipped.

pub mod album;
pub mod cache;
pub mod contents;
pub mod crash_image;
pub mod csi_server;
pub mod damage;
pub mod dice;
pub mod differential;
pub mod exercise;
pub mod exercise_wreck;
pub mod fuzz_target;
pub mod guarded;
pub mod image;
pub mod lockstep;
pub mod loop_device;
pub mod manual_clock;
pub mod model_filesystem;
pub mod patched;
pub mod refusal;
pub mod s3_server;
pub mod seeded_entropy;
pub mod stamped;
pub mod toy_disk;
pub mod toy_filesystem;
pub mod tree;
pub mod trial;
pub mod turnstile;
pub mod volume;

use std::env;

/// Says why a test cannot run here. On CI, where everything must be there, that is a failure.
///
/// # Panics
/// When the variable `CI` is `true`.
pub fn skip(reason: &str) {
    assert!(env::var("CI").as_deref() != Ok("true"), "on CI every test must run, but: {reason}");
    #[expect(clippy::print_stderr, reason = "the one who runs the tests must see what was left out")]
    {
        eprintln!("skipped: {reason}");
    }
}
