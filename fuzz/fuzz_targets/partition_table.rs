//! Partition tables: GPT, MBR and chains of logical partitions.
#![no_main]

use icecore_fuzz::run;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| run("partition_table", input));
