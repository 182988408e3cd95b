//! Inodes of XFS and the trees of their block maps.
#![no_main]

use icecore_fuzz::run;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| run("xfs_inode_map", input));
