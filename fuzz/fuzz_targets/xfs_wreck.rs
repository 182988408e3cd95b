//! Everything of XFS, read as a wreck.
#![no_main]

use icecore_fuzz::run;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| run("xfs_wreck", input));
