//! How much of a file or block device the page cache holds.
#![expect(unsafe_code, reason = "cachestat exists only as a raw call")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::libc;

/// The number of the call on every architecture; the libc crate does not have it everywhere.
const SYS_CACHESTAT: libc::c_long = 451;

#[repr(C)]
#[derive(Default)]
struct CacheStat {
    cached: u64,
    dirty: u64,
    writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

/// Pages of `file` in the page cache. Needs Linux 6.5.
pub fn cached_pages(file: &File) -> io::Result<u64> {
    const TO_THE_END: u64 = 0;
    let range = [0_u64, TO_THE_END];
    let mut out = CacheStat::default();
    // SAFETY: the kernel reads two u64 from `range` and writes five into `out`; both outlive the call.
    let failed = unsafe { libc::syscall(SYS_CACHESTAT, file.as_raw_fd(), range.as_ptr(), &raw mut out, 0) };
    Errno::result(failed)?;
    Ok(out.cached)
}
