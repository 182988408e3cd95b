//! Extended attributes of ext, in inodes and in blocks.
#![no_main]

use icecore_fuzz::run;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| run("ext_attributes", input));
