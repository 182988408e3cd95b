//! The fast commits behind the journal of ext4.
#![no_main]

use icecore_fuzz::run;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| run("ext_fast_commit", input));
