//! A restore's target: opened only after proof that nobody uses it and nothing on it is lost unasked.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use nix::libc;

use super::error::DeviceError;
use super::file::{DeviceFile, check_range};
use super::geometry::SourceKind;
use super::memory::{AlignedBuffer, PAGE_BYTES};
use super::mounts::Mounted;
use crate::base::extent::Extent;
use crate::base::io::{IoError, ReadAt, WriteAt, Zeroed};

mod emptiness;
mod zeroing;

/// What a target must hold, and what the caller allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetOptions {
    /// Size of the volume in bytes. A file is made exactly this long; a device may be longer and keeps its tail.
    pub size: u64,
    /// Overwrite what is there.
    pub force: bool,
    /// Make a file where there is nothing.
    pub create: bool,
}

/// A block device or regular file to write a volume to, and to read it back from. Usable from several threads at once, as long as
/// they write different bytes.
///
/// It holds the device, or a lock on the file, against others until it is dropped.
#[derive(Debug)]
pub struct Target {
    device: DeviceFile,
    /// The exclusive claim; writing goes through the others.
    _claim: File,
}

impl Target {
    /// Opens a target for writing, once it is proven unused and large enough, and empty unless forced.
    ///
    /// Nothing is changed when this fails, except that a file that was not there may have been made, empty.
    pub fn open(path: &Path, options: &TargetOptions) -> Result<Self, DeviceError> {
        let mut how = OpenOptions::new();
        how.read(true).write(true).create(options.create && may_create(path));
        let mut device = DeviceFile::open_with(path, &how).map_err(|e| refine(e, path))?;
        refuse_mounted(&device)?;
        let claim = match device.geometry().kind {
            SourceKind::BlockDevice => claim_device(&device, options.size)?,
            SourceKind::File => claim_file(&device)?,
        };
        if !options.force {
            emptiness::refuse_data(&device)?;
        }
        if device.geometry().kind == SourceKind::File {
            device.buffered().set_len(options.size).map_err(|e| DeviceError::os("set the size of", path, e))?;
            device.set_size(options.size);
        }
        Ok(Self { device, _claim: claim })
    }

    /// What was opened.
    #[must_use]
    pub fn device(&self) -> &DeviceFile {
        &self.device
    }

    /// Direct for whole pages from aligned or bounced memory, through the page cache for the edges.
    ///
    /// Edges are cut at pages, not at blocks: the page cache writes whole pages back, and must never hold one that is also written
    /// directly.
    fn write_pieces(&self, extent: Extent, data: &[u8]) -> io::Result<()> {
        let unit = (PAGE_BYTES as u64).max(self.device.alignment());
        let middle = whole_units(extent, unit);
        if !self.device.is_direct() || middle.is_empty() {
            return self.device.buffered().write_all_at(data, extent.offset);
        }
        let (head, rest) = data.split_at((middle.offset - extent.offset) as usize);
        let (body, tail) = rest.split_at(middle.length as usize);
        self.device.buffered().write_all_at(head, extent.offset)?;
        self.write_direct(middle.offset, body)?;
        self.device.buffered().write_all_at(tail, middle.end())
    }

    fn write_direct(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if (data.as_ptr() as usize).is_multiple_of(PAGE_BYTES) {
            return self.device.main().write_all_at(data, offset);
        }
        let mut bounce = AlignedBuffer::new(data.len().min(BOUNCE_BYTES)).ok_or(io::ErrorKind::OutOfMemory)?;
        for (number, piece) in data.chunks(BOUNCE_BYTES).enumerate() {
            let aligned = &mut bounce.bytes_mut()[..piece.len()];
            aligned.copy_from_slice(piece);
            self.device.main().write_all_at(aligned, offset + (number * BOUNCE_BYTES) as u64)?;
        }
        Ok(())
    }
}

/// The longest piece that unaligned memory is copied through, in bytes; a multiple of every block length.
const BOUNCE_BYTES: usize = 1024 * 1024;

/// The whole units within `extent`; empty when there is none.
fn whole_units(extent: Extent, unit: u64) -> Extent {
    let start = extent.offset.checked_next_multiple_of(unit).unwrap_or(u64::MAX);
    Extent::between(start, extent.end() - extent.end() % unit)
}

impl ReadAt for Target {
    fn size(&self) -> u64 {
        self.device.size()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
        self.device.read_at(offset, out)
    }
}

impl WriteAt for Target {
    fn size(&self) -> u64 {
        self.device.size()
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), IoError> {
        let extent = Extent { offset, length: data.len() as u64 };
        check_range(extent, self.device.size())?;
        self.write_pieces(extent, data).map_err(|source| IoError::Os { act: "write", extent, source })
    }

    fn zero(&self, extent: Extent) -> Result<Zeroed, IoError> {
        check_range(extent, self.device.size())?;
        zeroing::zero(self, extent)
    }

    fn sync(&self) -> Result<(), IoError> {
        let extent = Extent::new(0, self.device.size());
        // Both handles lead to one inode: this writes its cached pages and flushes the device below.
        self.device.buffered().sync_data().map_err(|source| IoError::Os { act: "sync", extent, source })
    }
}

/// A mistyped device name must not become a file in memory that swallows the restore.
fn may_create(path: &Path) -> bool {
    !path.starts_with("/dev") || path.starts_with("/dev/shm")
}

fn refuse_mounted(device: &DeviceFile) -> Result<(), DeviceError> {
    match device.mounted() {
        Mounted::No => Ok(()),
        Mounted::ReadOnly(mount_point) | Mounted::ReadWrite(mount_point) => {
            Err(DeviceError::TargetMounted { path: device.path().to_path_buf(), mount_point: mount_point.clone() })
        }
    }
}

/// The kernel grants one exclusive claim on a disk and its partitions; mounts, swap and volume managers hold it in every namespace.
fn claim_device(device: &DeviceFile, needed: u64) -> Result<File, DeviceError> {
    let path = device.path().to_path_buf();
    let geometry = device.geometry();
    if geometry.read_only {
        return Err(DeviceError::ReadOnly { path });
    }
    if geometry.size < needed {
        return Err(DeviceError::TooSmall { path, size: geometry.size, needed });
    }
    let claim = OpenOptions::new().read(true).custom_flags(libc::O_EXCL).open(&path);
    claim.map_err(|e| refine(DeviceError::os("claim", &path, e), &path))
}

fn claim_file(device: &DeviceFile) -> Result<File, DeviceError> {
    let os = |e| DeviceError::os("lock", device.path(), e);
    let claim = device.buffered().try_clone().map_err(os)?;
    match claim.try_lock() {
        Ok(()) => Ok(claim),
        Err(TryLockError::WouldBlock) => Err(DeviceError::InUse { path: device.path().to_path_buf() }),
        Err(TryLockError::Error(e)) => Err(os(e)),
    }
}

/// Names the refusals that a user can act on.
fn refine(error: DeviceError, path: &Path) -> DeviceError {
    let path = path.to_path_buf();
    match error {
        DeviceError::Os { source, .. } if source.raw_os_error() == Some(libc::EBUSY) => DeviceError::InUse { path },
        DeviceError::Os { source, .. } if source.kind() == io::ErrorKind::ReadOnlyFilesystem => DeviceError::ReadOnly { path },
        DeviceError::Os { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => DeviceError::ReadOnly { path },
        other => other,
    }
}
