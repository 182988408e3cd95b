//! The part of the cellar that the targets need.

pub mod exercise;
pub mod exercise_wreck;
pub mod fuzz_target;
pub mod patched;
