//! Metadata as it is read: bytes of a view of the volume, with the geometry that gives them meaning.

use std::sync::Arc;

use super::geometry::Geometry;
use crate::base::io::ReadAt;
use crate::filesystem::error::{FilesystemError, Object};

/// The longest piece of metadata: the largest block, directory block and sector.
const LONGEST_BYTES: u32 = 64 << 10;

/// One view of a volume: as it lies, or after replay.
#[derive(Debug)]
pub(super) struct Disk {
    source: Arc<dyn ReadAt>,
    geometry: Geometry,
}

impl Disk {
    /// A view through `source`.
    pub(super) fn new(source: Arc<dyn ReadAt>, geometry: Geometry) -> Self {
        Self { source, geometry }
    }

    /// What numbers mean here.
    pub(super) fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// `length` bytes of `object` from byte `at`.
    pub(super) fn read(&self, object: Object, at: u64, length: u32) -> Result<Vec<u8>, FilesystemError> {
        if length > LONGEST_BYTES {
            return Err(FilesystemError::TooLarge { object, limit: LONGEST_BYTES.into() });
        }
        let mut bytes = vec![0; length as usize];
        self.source.read_at(at, &mut bytes).map_err(|source| FilesystemError::Io { object, source })?;
        Ok(bytes)
    }

    /// One block.
    pub(super) fn block(&self, object: Object, at: u64) -> Result<Vec<u8>, FilesystemError> {
        self.read(object, at, self.geometry.block_bytes())
    }
}
