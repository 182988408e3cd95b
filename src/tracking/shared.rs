//! Memory shared with the kernel: the words of a map, which programs set while we read.
#![expect(
    unsafe_code,
    reason = "the words of a map are reached by mapping it; copying a bitmap out by calls takes one call a line"
)]

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::AtomicU64;

use nix::libc::c_void;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// The words of a map. Both sides touch them only atomically, or a word at a time.
#[derive(Debug)]
pub(super) struct SharedWords {
    start: NonNull<c_void>,
    bytes: NonZeroUsize,
}

// SAFETY: the mapping belongs to this value alone and stays where it is until the value is dropped; any thread may use it.
unsafe impl Send for SharedWords {}
// SAFETY: a shared reference gives out atomics only.
unsafe impl Sync for SharedWords {}

impl SharedWords {
    /// Maps the first `words` words of a map that was made with `BPF_F_MMAPABLE` and is at least that long.
    pub(super) fn new(map: BorrowedFd<'_>, words: u64) -> io::Result<Self> {
        let bytes = words.checked_mul(8).and_then(|bytes| usize::try_from(bytes).ok()).and_then(NonZeroUsize::new);
        let bytes = bytes.ok_or(io::ErrorKind::InvalidInput)?;
        let (access, flags) = (ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED);
        // SAFETY: the kernel chooses the place, so nothing that exists is replaced. It refuses more than the map holds, and keeps the
        // map's memory for as long as it is mapped, whatever becomes of the file descriptor.
        let start = unsafe { mmap(None, bytes, access, flags, map, 0) }?;
        Ok(Self { start, bytes })
    }

    pub(super) fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is page-aligned, `bytes` long, a multiple of 8, initialised by the kernel, and lives as long as `self`.
        // An AtomicU64 may be changed by others at any time.
        unsafe { slice::from_raw_parts(self.start.as_ptr().cast::<AtomicU64>(), self.bytes.get() / 8) }
    }

    /// `None` past the end.
    pub(super) fn word(&self, index: u64) -> Option<&AtomicU64> {
        self.words().get(usize::try_from(index).ok()?)
    }
}

impl Drop for SharedWords {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this very length, and unmapped only here; no slice outlives `self`.
        let _only_fails_for_what_was_never_mapped = unsafe { munmap(self.start, self.bytes.get()) };
    }
}
