//! Directories of ext: inodes, blocks of names, blocks of an index.
#![no_main]

use icecore_fuzz::run;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| run("ext_directory", input));
