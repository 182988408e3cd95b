//! The superblock and the group descriptors of ext.
#![no_main]

use icecore_fuzz::run;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| run("ext_superblock", input));
