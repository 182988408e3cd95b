//! An opened device or image for reading: direct where the system allows it, through a bounce buffer where the caller is unaligned.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::libc;

use super::error::DeviceError;
use super::geometry::{self, Geometry};
use super::memory::{AlignedBuffer, PAGE_BYTES};
use super::mounts::Mounted;
use super::relatives;
use crate::base::extent::Extent;
use crate::base::io::{IoError, ReadAt};

/// How to open a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SourceOptions {
    /// Read it even while it is mounted read-write; the copy is crash-consistent at best, and the caller records that.
    pub live: bool,
}

/// An opened block device or image file. Reading it changes nothing, the page cache least of all.
#[derive(Debug)]
pub struct DeviceFile {
    path: PathBuf,
    /// With `O_DIRECT`, unless the filesystem refused.
    direct: Option<File>,
    /// Through the page cache: for tails that are not whole blocks, and for everything where direct I/O is refused.
    buffered: File,
    geometry: Geometry,
    mounted: Mounted,
}

/// Opens a block device or an image file for reading.
///
/// Refuses a device that is mounted read-write (itself, a partition, a volume on it, or a loop device over it), unless
/// [`SourceOptions::live`] is set. Mounts in namespaces that this process cannot see are not found.
pub fn open(path: &Path, options: &SourceOptions) -> Result<DeviceFile, DeviceError> {
    let device = DeviceFile::open_with(path, OpenOptions::new().read(true))?;
    match &device.mounted {
        Mounted::ReadWrite(mount_point) if !options.live => {
            Err(DeviceError::MountedReadWrite { path: path.to_path_buf(), mount_point: mount_point.clone() })
        }
        Mounted::No | Mounted::ReadOnly(_) | Mounted::ReadWrite(_) => Ok(device),
    }
}

/// The longest piece an unaligned read is bounced through, in bytes.
const BOUNCE_BYTES: u64 = 256 * 1024;
/// The largest logical block that Linux supports, in bytes; windows are never shorter.
const LARGEST_BLOCK: u64 = 64 * 1024;

impl DeviceFile {
    /// Opens twice, buffered and direct, in the mode of `how`.
    pub(super) fn open_with(path: &Path, how: &OpenOptions) -> Result<Self, DeviceError> {
        let os = |e| DeviceError::os("open", path, e);
        // Without O_NONBLOCK, a pipe by this name would block the open for ever.
        let buffered = how.clone().custom_flags(libc::O_NONBLOCK).open(path).map_err(os)?;
        let geometry = geometry::measure(path, &buffered)?;
        let direct = match how.clone().custom_flags(libc::O_DIRECT).open(path) {
            Ok(file) => Some(file),
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => None,
            Err(e) => return Err(os(e)),
        };
        // Advice only: reads are large and go once over the volume, so read-ahead would bring in what nobody asked for.
        let _advice_refused = posix_fadvise(&buffered, 0, 0, PosixFadviseAdvice::POSIX_FADV_RANDOM);
        let mounted = relatives::mounted(&buffered).map_err(|e| DeviceError::os("find the mounts of", path, e))?;
        Ok(Self { path: path.to_path_buf(), direct, buffered, geometry, mounted })
    }

    /// What it was opened as.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Size and block lengths, as they were when it was opened.
    #[must_use]
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// How it was mounted when it was opened.
    #[must_use]
    pub fn mounted(&self) -> &Mounted {
        &self.mounted
    }

    /// False when the filesystem refuses direct I/O and the page cache stands between.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.direct.is_some()
    }

    pub(super) fn set_size(&mut self, size: u64) {
        self.geometry.size = size;
    }

    pub(super) fn buffered(&self) -> &File {
        &self.buffered
    }

    /// The file that engines read.
    pub(super) fn main(&self) -> &File {
        self.direct.as_ref().unwrap_or(&self.buffered)
    }

    /// What offsets and lengths on [`Self::main`] must be multiples of, in bytes.
    pub(super) fn alignment(&self) -> u64 {
        u64::from(self.geometry.logical_block).clamp(1, LARGEST_BLOCK)
    }

    /// Drops what reading `extent` left in the page cache; there is nothing to drop after direct reads.
    pub(super) fn forget(&self, extent: Extent) {
        if self.direct.is_some() {
            return;
        }
        if let (Ok(offset), Ok(length)) = (i64::try_from(extent.offset), i64::try_from(extent.length)) {
            // Advice only: a refusal costs memory, not truth.
            let _advice_refused = posix_fadvise(&self.buffered, offset, length, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
        }
    }

    /// One read through the page cache, for what direct I/O cannot do. May be short at the end.
    pub(super) fn read_buffered(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        self.buffered.read_at(out, offset)
    }

    fn read_aligned(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match self.main().read_exact_at(out, offset) {
            // Direct I/O refuses the last bytes of a device that is not whole blocks.
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) && self.is_direct() => self.buffered.read_exact_at(out, offset),
            other => other,
        }
    }

    /// Reads through aligned memory, as much at a time as [`BOUNCE_BYTES`].
    fn read_bounced(&self, extent: Extent, out: &mut [u8]) -> io::Result<()> {
        let alignment = self.alignment();
        let longest = extent.align_outward(alignment).length.min(BOUNCE_BYTES);
        let mut bounce = AlignedBuffer::new(longest as usize).ok_or(io::ErrorKind::OutOfMemory)?;
        let mut rest = out;
        for piece in extent.cut(BOUNCE_BYTES) {
            let (now, later) = rest.split_at_mut(piece.length as usize);
            let span = piece.align_outward(alignment);
            let head = (piece.offset - span.offset) as usize;
            let end = head + now.len();
            self.fill_bounce(&mut bounce.bytes_mut()[..span.length as usize], span.offset, end)?;
            now.copy_from_slice(&bounce.bytes()[head..end]);
            rest = later;
        }
        Ok(())
    }

    /// Fills at least the first `needed` bytes of `bounce`; what lies beyond the end of a file is not needed.
    fn fill_bounce(&self, bounce: &mut [u8], offset: u64, needed: usize) -> io::Result<()> {
        let alignment = self.alignment() as usize;
        let mut done = 0;
        while done < needed {
            let at = offset + done as u64;
            let count = match self.main().read_at(&mut bounce[done..], at) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {
                    return self.buffered.read_exact_at(&mut bounce[done..needed], at);
                }
                other => other?,
            };
            let next = done + count - count % alignment;
            if done + count >= needed {
                return Ok(());
            }
            if next == done {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            done = next;
        }
        Ok(())
    }
}

impl ReadAt for DeviceFile {
    fn size(&self) -> u64 {
        self.geometry.size
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
        let extent = Extent { offset, length: out.len() as u64 };
        check_range(extent, self.geometry.size)?;
        let alignment = self.alignment();
        let is_aligned = offset.is_multiple_of(alignment)
            && extent.length.is_multiple_of(alignment)
            && (out.as_ptr() as usize).is_multiple_of(PAGE_BYTES);
        let outcome = match (self.is_direct(), is_aligned) {
            (false, _) => self.buffered.read_exact_at(out, offset),
            (true, true) => self.read_aligned(offset, out),
            (true, false) => self.read_bounced(extent, out),
        };
        self.forget(extent);
        outcome.map_err(|source| IoError::Os { act: "read", extent, source })
    }
}

/// An error unless `extent` lies within `size`.
pub(super) fn check_range(extent: Extent, size: u64) -> Result<(), IoError> {
    match extent.offset.checked_add(extent.length) {
        Some(end) if end <= size => Ok(()),
        Some(_) | None => Err(IoError::OutOfRange { extent, size }),
    }
}
