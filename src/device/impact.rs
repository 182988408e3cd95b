//! Stepping back for the neighbours: the calling thread's claim on disk and processor.

use std::io;

use super::kernel;

/// The lowest claim on the processor.
const LOWEST_NICE: i32 = 19;

/// Puts the calling thread's I/O in the idle class and its processor time behind everybody else's.
///
/// Threads started later by the calling thread inherit both; threads that run already do not.
pub fn lower_priority() -> io::Result<()> {
    kernel::set_idle_io_class()?;
    kernel::set_nice(LOWEST_NICE)
}

/// The same as a courtesy: a sandbox that refuses it does not stop a read.
pub(super) fn lower_priority_if_allowed() {
    let _kept_its_priority = lower_priority();
}
