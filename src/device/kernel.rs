//! The few kernel calls that have no safe wrapper: block-device ioctls, direct-I/O alignment, priorities.
#![expect(unsafe_code, reason = "ioctl, statx, ioprio_set and setpriority exist only as raw calls")]

use nix::errno::Errno;
use nix::libc;
use nix::request_code_none;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;

/// The ioctl numbers of `linux/fs.h` and `linux/blkzoned.h`; the macros make one function each.
mod raw {
    use super::{libc, request_code_none};

    nix::ioctl_read!(size_bytes, 0x12, 114, u64);
    nix::ioctl_read_bad!(logical_block, request_code_none!(0x12, 104), libc::c_int);
    nix::ioctl_read_bad!(physical_block, request_code_none!(0x12, 123), libc::c_uint);
    nix::ioctl_read_bad!(read_only, request_code_none!(0x12, 94), libc::c_int);
    nix::ioctl_read!(zone_sectors, 0x12, 132, u32);
    nix::ioctl_readwrite!(freeze, b'X', 119, libc::c_int);
    nix::ioctl_readwrite!(thaw, b'X', 120, libc::c_int);
    nix::ioctl_write_ptr_bad!(zero_out, request_code_none!(0x12, 127), [u64; 2]);
}

/// Size of a block device in bytes.
pub(super) fn device_bytes(device: &File) -> io::Result<u64> {
    let mut out = 0;
    // SAFETY: the kernel writes one u64 into `out`, which outlives the call.
    unsafe { raw::size_bytes(device.as_raw_fd(), &raw mut out) }?;
    Ok(out)
}

/// The smallest unit the device reads and writes, in bytes.
pub(super) fn logical_block(device: &File) -> io::Result<u32> {
    let mut out = 0;
    // SAFETY: the kernel writes one int into `out`, which outlives the call.
    unsafe { raw::logical_block(device.as_raw_fd(), &raw mut out) }?;
    u32::try_from(out).map_err(|_| Errno::EINVAL.into())
}

/// The unit the device writes without reading first, in bytes.
pub(super) fn physical_block(device: &File) -> io::Result<u32> {
    let mut out = 0;
    // SAFETY: the kernel writes one unsigned int into `out`, which outlives the call.
    unsafe { raw::physical_block(device.as_raw_fd(), &raw mut out) }?;
    Ok(out)
}

/// True when the kernel refuses writes to the device.
pub(super) fn is_read_only(device: &File) -> io::Result<bool> {
    let mut out = 0;
    // SAFETY: the kernel writes one int into `out`, which outlives the call.
    unsafe { raw::read_only(device.as_raw_fd(), &raw mut out) }?;
    Ok(out != 0)
}

/// Zone length in 512-byte sectors; zero on a conventional device.
pub(super) fn zone_sectors(device: &File) -> io::Result<u32> {
    let mut out = 0;
    // SAFETY: the kernel writes one u32 into `out`, which outlives the call.
    unsafe { raw::zone_sectors(device.as_raw_fd(), &raw mut out) }?;
    Ok(out)
}

/// Writes out what the filesystem of `directory` holds back, and holds every writer until it is thawed.
pub(super) fn freeze(directory: &File) -> io::Result<()> {
    let mut unused = 0;
    // SAFETY: the kernel ignores the argument, which outlives the call.
    unsafe { raw::freeze(directory.as_raw_fd(), &raw mut unused) }?;
    Ok(())
}

/// Lets writers go on. `InvalidInput` when it was not frozen.
pub(super) fn thaw(directory: &File) -> io::Result<()> {
    let mut unused = 0;
    // SAFETY: the kernel ignores the argument, which outlives the call.
    unsafe { raw::thaw(directory.as_raw_fd(), &raw mut unused) }?;
    Ok(())
}

/// Makes a range of a block device read back as zeros. Both numbers must be multiples of the logical block.
pub(super) fn zero_out(device: &File, offset: u64, length: u64) -> io::Result<()> {
    let range = [offset, length];
    // SAFETY: the kernel reads two u64 from `range`, which outlives the call.
    unsafe { raw::zero_out(device.as_raw_fd(), &raw const range) }?;
    Ok(())
}

/// The alignment in bytes that direct I/O on this file needs, the larger of memory and offset; `None` when the kernel does not say.
pub(super) fn direct_alignment(file: &File) -> Option<u32> {
    let mut out = MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: the empty path is a NUL-terminated literal, and the kernel writes one statx into `out`, which outlives the call.
    let failed =
        unsafe { libc::statx(file.as_raw_fd(), c"".as_ptr(), libc::AT_EMPTY_PATH, libc::STATX_DIOALIGN, out.as_mut_ptr()) };
    Errno::result(failed).ok()?;
    // SAFETY: it was zeroed, zero is a valid value of every field, and the kernel has since filled it.
    let out = unsafe { out.assume_init() };
    let alignment = out.stx_dio_mem_align.max(out.stx_dio_offset_align);
    (out.stx_mask & libc::STATX_DIOALIGN != 0 && alignment != 0).then_some(alignment)
}

/// `IOPRIO_CLASS_IDLE` in the place where a submission carries it: served when nobody else wants the disk.
pub(super) const IDLE_IO_PRIORITY: u16 = 3 << 13;

/// Gives the calling thread's I/O the idle class.
pub(super) fn set_idle_io_class() -> io::Result<()> {
    const WHO_PROCESS: libc::c_int = 1;
    const CALLING_THREAD: libc::c_int = 0;
    // SAFETY: three integers; the kernel touches no memory of ours.
    let failed =
        unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, CALLING_THREAD, libc::c_int::from(IDLE_IO_PRIORITY as i16)) };
    Errno::result(failed)?;
    Ok(())
}

/// Sets the calling thread's nice value.
pub(super) fn set_nice(nice: i32) -> io::Result<()> {
    // SAFETY: three integers; the kernel touches no memory of ours. On Linux "process 0" is the calling thread alone.
    let failed = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
    Errno::result(failed)?;
    Ok(())
}
