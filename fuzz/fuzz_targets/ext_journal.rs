//! The journal of ext3 and ext4, with transactions to replay.
#![no_main]

use icecore_fuzz::run;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| run("ext_journal", input));
