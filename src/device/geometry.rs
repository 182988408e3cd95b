//! What a device or image looks like from outside: size, block lengths, zones.

use std::fs::{self, File, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use nix::sys::stat::{major, minor};

use super::error::DeviceError;
use super::kernel;

/// What kind of thing holds the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// A block device.
    BlockDevice,
    /// A regular file holding an image.
    File,
}

/// How the device is divided into zones. Host-managed zones never get this far: opening refuses them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zoned {
    /// Not at all.
    Conventional,
    /// It has zones, but takes writes anywhere.
    HostAware,
}

/// Size and block lengths of an opened device or image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// What kind of thing it is.
    pub kind: SourceKind,
    /// Size in bytes.
    pub size: u64,
    /// The smallest unit of reading and writing, in bytes. For a file, what direct I/O on it needs.
    pub logical_block: u32,
    /// The unit written without a read before it, in bytes.
    pub physical_block: u32,
    /// The kernel refuses writes.
    pub read_only: bool,
    /// Zones.
    pub zoned: Zoned,
}

/// For files on filesystems that do not say: every filesystem in use takes pages.
const FALLBACK_ALIGNMENT: u32 = 4096;

/// Measures what `file`, opened from `path`, is.
pub(super) fn measure(path: &Path, file: &File) -> Result<Geometry, DeviceError> {
    let metadata = file.metadata().map_err(|e| DeviceError::os("measure", path, e))?;
    if metadata.file_type().is_block_device() {
        measure_device(path, file, &metadata)
    } else if metadata.is_file() {
        Ok(measure_file(file, &metadata))
    } else {
        Err(DeviceError::WrongKind { path: path.to_path_buf() })
    }
}

fn measure_device(path: &Path, file: &File, metadata: &Metadata) -> Result<Geometry, DeviceError> {
    let failed = |e| DeviceError::os("measure", path, e);
    Ok(Geometry {
        kind: SourceKind::BlockDevice,
        size: kernel::device_bytes(file).map_err(failed)?,
        logical_block: kernel::logical_block(file).map_err(failed)?,
        physical_block: kernel::physical_block(file).map_err(failed)?,
        read_only: kernel::is_read_only(file).map_err(failed)?,
        zoned: zones(path, file, metadata.rdev())?,
    })
}

fn measure_file(file: &File, metadata: &Metadata) -> Geometry {
    let alignment = kernel::direct_alignment(file).unwrap_or(FALLBACK_ALIGNMENT);
    Geometry {
        kind: SourceKind::File,
        size: metadata.len(),
        logical_block: alignment,
        physical_block: alignment,
        read_only: metadata.mode() & 0o222 == 0,
        zoned: Zoned::Conventional,
    }
}

fn zones(path: &Path, file: &File, number: u64) -> Result<Zoned, DeviceError> {
    let model = zone_model(number);
    let length = kernel::zone_sectors(file).unwrap_or(0);
    parse_zones(model.as_deref(), length).ok_or_else(|| DeviceError::HostManagedZones { path: path.to_path_buf() })
}

/// A partition has no queue of its own; its disk, one folder up, has.
fn zone_model(number: u64) -> Option<String> {
    let device = format!("/sys/dev/block/{}:{}", major(number), minor(number));
    ["queue/zoned", "../queue/zoned"].iter().find_map(|place| fs::read_to_string(format!("{device}/{place}")).ok())
}

/// `None` for zones that the host must manage. Without a model, any zone length counts as managed.
fn parse_zones(model: Option<&str>, zone_sectors: u32) -> Option<Zoned> {
    match (model.map(str::trim), zone_sectors) {
        (Some("none"), _) | (None, 0) => Some(Zoned::Conventional),
        (Some("host-aware"), _) => Some(Zoned::HostAware),
        (Some(_) | None, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_zones_that_the_host_must_manage_are_refused() {
        for (model, sectors, expected) in [
            (Some("none\n"), 0, Some(Zoned::Conventional)),
            (Some("host-aware\n"), 524_288, Some(Zoned::HostAware)),
            (Some("host-managed\n"), 524_288, None),
            (None, 0, Some(Zoned::Conventional)),
            (None, 524_288, None),
        ] {
            assert_eq!(parse_zones(model, sectors), expected, "{model:?} {sectors}");
        }
    }
}
