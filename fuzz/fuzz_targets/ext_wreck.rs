//! Small images of ext2, ext3 and ext4, opened as wrecks.
#![no_main]

use icecore_fuzz::run;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| run("ext_wreck", input));
