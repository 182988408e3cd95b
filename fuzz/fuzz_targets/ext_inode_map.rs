//! Inodes of ext, their extent trees and their indirect blocks.
#![no_main]

use icecore_fuzz::run;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| run("ext_inode_map", input));
