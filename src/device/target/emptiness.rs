//! Does a target hold data that an overwrite would lose?

use std::io;

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

use super::super::error::DeviceError;
use super::super::file::DeviceFile;
use super::super::geometry::SourceKind;
use crate::base::extent::{Extent, ExtentSet};
use crate::base::io::{IoError, ReadAt};

/// Read whole at either end of a device: partition tables, superblocks and their copies live there.
const EDGE_BYTES: u64 = 1024 * 1024;
/// Looks taken in between, evenly spread.
const SAMPLES: u64 = 64;
/// Length of each look.
const SAMPLE_BYTES: u64 = 64 * 1024;

/// An error when something that is not zero is found. A device is sampled, so a sparse one may pass with data on it; a file is not.
pub(super) fn refuse_data(device: &DeviceFile) -> Result<(), DeviceError> {
    let found = match device.geometry().kind {
        SourceKind::File => first_data(device),
        SourceKind::BlockDevice => first_non_zero(device),
    };
    match found.map_err(|e| DeviceError::os("look for data on", device.path(), e))? {
        Some(at) => Err(DeviceError::HoldsData { path: device.path().to_path_buf(), at }),
        None => Ok(()),
    }
}

/// Where a file's first allocated bytes are.
fn first_data(device: &DeviceFile) -> io::Result<Option<u64>> {
    match lseek(device.buffered(), 0, Whence::SeekData) {
        Ok(at) => Ok(u64::try_from(at).ok()),
        Err(Errno::ENXIO) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

fn first_non_zero(device: &DeviceFile) -> io::Result<Option<u64>> {
    let mut buffer = vec![0; SAMPLE_BYTES as usize];
    for sample in samples(device.size()).as_slice() {
        for piece in sample.cut(SAMPLE_BYTES) {
            let bytes = &mut buffer[..piece.length as usize];
            device.read_at(piece.offset, bytes).map_err(into_io)?;
            if let Some(at) = bytes.iter().position(|byte| *byte != 0) {
                return Ok(Some(piece.offset + at as u64));
            }
        }
    }
    Ok(None)
}

fn samples(size: u64) -> ExtentSet {
    let whole = Extent::new(0, size);
    let stride = (size / SAMPLES).next_multiple_of(SAMPLE_BYTES).max(SAMPLE_BYTES);
    let between = (0..SAMPLES).map(|number| Extent::new(number.saturating_mul(stride), SAMPLE_BYTES));
    let edges = [Extent::new(0, EDGE_BYTES), Extent::between(size.saturating_sub(EDGE_BYTES), size)];
    edges.into_iter().chain(between).map(|extent| extent.intersect(&whole)).collect()
}

fn into_io(error: IoError) -> io::Error {
    match error {
        IoError::Os { source, .. } => source,
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_cover_both_ends_and_stay_within_the_device() {
        for size in [0, 1, 4096, EDGE_BYTES, 3 * EDGE_BYTES + 512, 1 << 30, 1 << 40] {
            let set = samples(size);
            assert!(set.as_slice().last().is_none_or(|last| last.end() == size), "{size}");
            assert!(set.as_slice().first().is_none_or(|first| first.offset == 0), "{size}");
            assert!(set.bytes() <= 2 * EDGE_BYTES + SAMPLES * SAMPLE_BYTES, "{size}");
        }
        assert!(samples(1 << 40).count() > 60, "a large device is looked at in many places");
    }
}
