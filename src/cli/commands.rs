//! One file per command: plain settings in, an outcome out.

pub(super) mod backup;
pub(super) mod backup_files;
pub(super) mod cat;
pub(super) mod check;
pub(super) mod check_volume;
pub(super) mod cp;
pub(super) mod demo;
pub(super) mod diff;
pub(super) mod doctor;
pub(super) mod find;
pub(super) mod forget;
pub(super) mod history;
pub(super) mod init;
pub(super) mod key;
pub(super) mod ls;
pub(super) mod manual;
pub(super) mod points;
pub(super) mod prune;
pub(super) mod restore;
pub(super) mod salvage;
pub(super) mod stat;
pub(super) mod track;

use std::fs;
use std::num::NonZero;
use std::thread;

/// Threads for work on the processor: one a core.
fn default_workers() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// The machine's name, as points, leases and labels mention it.
fn host_name() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").map_or_else(|_| "unknown".to_owned(), |name| name.trim().to_owned())
}
