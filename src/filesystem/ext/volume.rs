//! The ground that everything stands on: a superblock, and checked access to blocks, descriptors and inode tables.

use std::sync::{Arc, Mutex, PoisonError};

use super::groups::Descriptor;
use super::superblock::Superblock;
use super::wreck::Merge;
use crate::base::extent::Extent;
use crate::base::io::ReadAt;
use crate::filesystem::cache::Cached;
use crate::filesystem::error::{FilesystemError, Object};

/// A volume, raw or after replay.
#[derive(Debug)]
pub(super) struct Volume {
    pub(super) superblock: Superblock,
    bytes: Arc<dyn ReadAt>,
    metadata: Cached,
    /// The group that was asked for last, and where its inode table begins: who asks for many inodes asks group by group.
    table: Mutex<Option<(u32, u64)>>,
    /// How descriptors are put together where parts of the volume are lost.
    pub(super) merge: Option<Merge>,
}

impl Volume {
    /// Reads the superblock, and keeps at most `cache_bytes` of metadata in memory.
    pub(super) fn open(bytes: Arc<dyn ReadAt>, cache_bytes: u64) -> Result<Self, FilesystemError> {
        let superblock = Superblock::read(&*bytes)?;
        Ok(Self::on(superblock, bytes, cache_bytes, None))
    }

    /// A volume of which parts are lost, by a superblock that was found or inferred.
    pub(super) fn of_wreck(superblock: Superblock, bytes: Arc<dyn ReadAt>, cache_bytes: u64) -> Self {
        let merge = Merge::new(&superblock);
        Self::on(superblock, bytes, cache_bytes, Some(merge))
    }

    fn on(superblock: Superblock, bytes: Arc<dyn ReadAt>, cache_bytes: u64, merge: Option<Merge>) -> Self {
        let metadata = Cached::new(Arc::clone(&bytes), cache_bytes);
        Self { superblock, bytes, metadata, table: Mutex::new(None), merge }
    }

    /// True when parts of the volume may be lost: then readers go around what is broken.
    pub(super) fn is_wreck(&self) -> bool {
        self.merge.is_some()
    }

    /// The bytes, not cached.
    pub(super) fn bytes(&self) -> &Arc<dyn ReadAt> {
        &self.bytes
    }

    pub(super) fn block_bytes(&self) -> u64 {
        u64::from(self.superblock.block_bytes)
    }

    /// The byte where a block begins. It may lie outside the volume.
    pub(super) fn place_of(&self, block: u64) -> u64 {
        block.saturating_mul(self.block_bytes())
    }

    /// Fills `out` with metadata of `object`.
    pub(super) fn read(&self, object: Object, at: u64, out: &mut [u8]) -> Result<(), FilesystemError> {
        self.metadata.read_at(at, out).map_err(|source| FilesystemError::Io { object, source })
    }

    /// One block of metadata: at most 64 KiB.
    pub(super) fn block(&self, object: Object, block: u64) -> Result<Vec<u8>, FilesystemError> {
        let mut out = vec![0; self.superblock.block_bytes as usize];
        self.read(object, self.place_of(block), &mut out)?;
        Ok(out)
    }

    /// True when `count` blocks from `first` on may hold what belongs to an inode.
    pub(super) fn holds(&self, first: u64, count: u64) -> bool {
        let end = first.checked_add(count);
        first > u64::from(self.superblock.first_data_block) && end.is_some_and(|end| end <= self.superblock.blocks)
    }

    /// The descriptor of a group, checked.
    pub(super) fn descriptor(&self, group: u32) -> Result<Descriptor, FilesystemError> {
        match &self.merge {
            Some(merge) => merge.descriptor(self, group),
            None => self.descriptor_at(group, self.superblock.descriptor_place(u64::from(group))),
        }
    }

    /// The copy of a group's descriptor that begins at byte `at`, checked.
    pub(super) fn descriptor_at(&self, group: u32, at: u64) -> Result<Descriptor, FilesystemError> {
        let mut bytes = vec![0; usize::from(self.superblock.descriptor_bytes)];
        self.read(Object::Group(group), at, &mut bytes)?;
        Descriptor::parse(&self.superblock, group, &bytes, at)
    }

    /// Where an inode lies.
    pub(super) fn inode_place(&self, number: u32) -> Result<Extent, FilesystemError> {
        let superblock = &self.superblock;
        let unknown = || FilesystemError::corrupt(Object::Inode(u64::from(number)), 0, "there is no inode of this number");
        let index = number.checked_sub(1).filter(|index| *index < superblock.inodes).ok_or_else(unknown)?;
        let table = self.inode_table(index / superblock.inodes_per_group)?;
        let offset = u64::from(index % superblock.inodes_per_group) * u64::from(superblock.inode_bytes);
        Ok(Extent::new(self.place_of(table) + offset, u64::from(superblock.inode_bytes)))
    }

    /// The first block of a group's inode table. Its descriptor is read and checked only if another group was asked for last.
    fn inode_table(&self, group: u32) -> Result<u64, FilesystemError> {
        let known = *self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, table)) = known.filter(|(of, _)| *of == group) {
            return Ok(table);
        }
        let table = self.descriptor(group)?.inode_table;
        *self.table.lock().unwrap_or_else(PoisonError::into_inner) = Some((group, table));
        Ok(table)
    }
}
