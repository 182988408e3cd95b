//! Metadata as it is read: bytes of a view of the volume, with the geometry that gives them meaning.

use std::sync::Arc;

use super::geometry::Geometry;
use super::seal::Seal;
use crate::base::io::ReadAt;
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::mend::Mended;

/// The longest piece of metadata: the largest block, directory block and sector.
const LONGEST_BYTES: u32 = 64 << 10;

/// One view of a volume: as it lies, or after replay.
#[derive(Debug)]
pub(super) struct Disk {
    source: Arc<dyn ReadAt>,
    geometry: Geometry,
    /// What was mended, if flipped bits are to be.
    mended: Option<Mended>,
}

impl Disk {
    /// A view through `source`.
    pub(super) fn new(source: Arc<dyn ReadAt>, geometry: Geometry) -> Self {
        Self { source, geometry, mended: None }
    }

    /// The same, with flipped bits put right where a checksum names them.
    pub(super) fn mending(self) -> Self {
        Self { mended: Some(Mended::default()), ..self }
    }

    /// What was mended until now.
    pub(super) fn mended(&self) -> Vec<FilesystemError> {
        self.mended.as_ref().map(Mended::list).unwrap_or_default()
    }

    /// Puts a flipped bit right in what was read from byte `at`, if this view mends.
    pub(super) fn mend(&self, object: Object, at: u64, seal: &Seal, bytes: &mut [u8]) {
        if let Some(mended) = self.mended.as_ref().filter(|_| self.geometry.crc)
            && seal.mend(bytes)
        {
            mended.note(object, at);
        }
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
