//! Making a range read back as zeros by the cheapest way that is sure to, and saying honestly which way it was.

use std::io;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::unistd::{Whence, lseek};

use super::super::file::DeviceFile;
use super::super::geometry::SourceKind;
use super::super::kernel;
use super::super::memory::PAGE_BYTES;
use super::{Target, whole_units};
use crate::base::extent::Extent;
use crate::base::io::{IoError, Zeroed};

/// The longest range handed to the kernel at once: a call for a whole disk could not be stopped for minutes.
const STEP_BYTES: u64 = 128 * 1024 * 1024;
/// Zeros written at once where the kernel has no better way.
const ZERO_BYTES: u64 = 256 * 1024;
static ZEROS: AlignedZeros = AlignedZeros([0; ZERO_BYTES as usize]);

/// Aligned, so that direct writes need no copy.
#[repr(align(4096))]
struct AlignedZeros([u8; ZERO_BYTES as usize]);

pub(super) fn zero(target: &Target, extent: Extent) -> Result<Zeroed, IoError> {
    let failed = |source| IoError::Os { act: "zero", extent, source };
    let mut how = Zeroed::Deallocated;
    for step in extent.cut(STEP_BYTES) {
        let done = match target.device.geometry().kind {
            SourceKind::File => zero_in_file(target, step),
            SourceKind::BlockDevice => zero_on_device(target, step),
        };
        if done.map_err(failed)? == Zeroed::Written {
            how = Zeroed::Written;
        }
    }
    Ok(how)
}

fn zero_in_file(target: &Target, extent: Extent) -> io::Result<Zeroed> {
    if is_hole(&target.device, extent)? || punch(&target.device, extent)? {
        return Ok(Zeroed::Deallocated);
    }
    write_zeros(target, extent)?;
    Ok(Zeroed::Written)
}

fn zero_on_device(target: &Target, extent: Extent) -> io::Result<Zeroed> {
    // Whole pages, so that the page cache, through which the edges go, shares no page with what is punched.
    let middle = whole_units(extent, (PAGE_BYTES as u64).max(target.device.alignment()));
    if middle.is_empty() {
        write_zeros(target, extent)?;
        return Ok(Zeroed::Written);
    }
    let edges = [Extent::between(extent.offset, middle.offset), Extent::between(middle.end(), extent.end())];
    for edge in edges {
        write_zeros(target, edge)?;
    }
    if punch(&target.device, middle)? {
        let is_whole = edges.iter().all(Extent::is_empty);
        return Ok(if is_whole { Zeroed::Deallocated } else { Zeroed::Written });
    }
    kernel::zero_out(target.device.buffered(), middle.offset, middle.length)?;
    Ok(Zeroed::Written)
}

/// True when no byte of `extent` is allocated.
fn is_hole(device: &DeviceFile, extent: Extent) -> io::Result<bool> {
    let offset = i64::try_from(extent.offset).map_err(io::Error::other)?;
    match lseek(device.buffered(), offset, Whence::SeekData) {
        Ok(data) => Ok(u64::try_from(data).is_ok_and(|data| data >= extent.end())),
        Err(Errno::ENXIO) => Ok(true),
        Err(e) => Err(e.into()),
    }
}

/// Makes a hole; false when that is not possible here.
///
/// The kernel promises that a punched range reads back as zeros, on files and on block devices alike: a device that only discards,
/// without that promise, refuses this call.
fn punch(device: &DeviceFile, extent: Extent) -> io::Result<bool> {
    let (Ok(offset), Ok(length)) = (i64::try_from(extent.offset), i64::try_from(extent.length)) else { return Ok(false) };
    let how = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    match fallocate(device.buffered(), how, offset, length) {
        Ok(()) => Ok(true),
        Err(Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EINVAL) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

fn write_zeros(target: &Target, extent: Extent) -> io::Result<()> {
    for piece in extent.cut(ZERO_BYTES) {
        target.write_pieces(piece, &ZEROS.0[..piece.length as usize])?;
    }
    Ok(())
}
