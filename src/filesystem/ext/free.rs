//! What is free: every doubt about a group, or about the volume, keeps it from being left out of a backup.

use std::ops::Range;

use super::Ext;
use super::bitmap::Bitmap;
use super::checksum::crc32c;
use super::free_runs::FreeRuns;
use super::groups::{BLOCKS_UNINITIALISED, Descriptor};
use super::volume::Volume;
use crate::base::extent::{Extent, ExtentSet};
use crate::filesystem::allocation::{Allocation, Doubt};
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::fields::sums_agree;

/// With more groups in doubt than this, the volume is.
const MAX_DOUBTS: usize = 1000;

impl Ext {
    /// What no file, no metadata and no journal uses, on disk and after replay.
    pub(super) fn free_space(&self) -> Allocation {
        let size = self.volume.bytes().size();
        let metadata = match self.doubt() {
            Some(reason) => return Allocation::doubtful(size, reason),
            None => self.metadata_blocks(),
        };
        match metadata {
            Ok(metadata) => self.free_of_groups(&metadata, size),
            Err(error) => Allocation::doubtful(size, error.to_string()),
        }
    }

    /// Why no bitmap of this volume can be believed.
    fn doubt(&self) -> Option<String> {
        let superblock = &self.volume.superblock;
        if !self.remains.damage.is_empty() {
            return Some("parts of it are lost".to_owned());
        }
        if let Some(reason) = self.view.stale() {
            return Some(reason.to_owned());
        }
        if let Some(feature) = superblock.features.unmapped() {
            return Some(format!("the feature {feature} is not known"));
        }
        let raw = &self.raw.superblock;
        let because = [
            (superblock.has_errors() || raw.has_errors() || self.error_recorded, "the kernel noted errors: it wants e2fsck"),
            (!superblock.was_unmounted(), "it was not unmounted, and no journal tells what is missing: it wants e2fsck"),
            (superblock.size() > self.volume.bytes().size(), "the file system is longer than its device"),
        ];
        because.into_iter().find(|(holds, _)| *holds).map(|(_, reason)| reason.to_owned())
    }

    /// Blocks that are in use whatever a bitmap says. Extents count blocks here.
    pub(super) fn metadata_blocks(&self) -> Result<ExtentSet, FilesystemError> {
        let superblock = &self.volume.superblock;
        let mut used = vec![Extent::new(superblock.multi_mount_block, 1)];
        used.extend(self.journal.iter().map(|(first, count)| Extent::new(*first, *count)));
        for group in 0..superblock.group_count() {
            let descriptor = self.volume.descriptor(group_number(group)?)?;
            used.extend([
                Extent::new(superblock.first_block_of(group), superblock.leading_metadata_blocks(group)),
                Extent::new(descriptor.block_bitmap, 1),
                Extent::new(descriptor.inode_bitmap, 1),
                Extent::new(descriptor.inode_table, superblock.inode_table_blocks()),
            ]);
        }
        Ok(used.into_iter().collect())
    }

    fn free_of_groups(&self, metadata: &ExtentSet, size: u64) -> Allocation {
        let superblock = &self.volume.superblock;
        let (mut free, mut doubts) = (FreeRuns::default(), Vec::new());
        let added: ExtentSet = self.fast.used_blocks().map(|(first, count)| Extent::new(first, count)).collect();
        for group in 0..superblock.group_count() {
            let place = superblock.first_block_of(group)..superblock.end_of(group);
            match self.group_bitmap(group, &place, metadata, &added) {
                Ok(bitmap) => bitmap.runs().for_each(|run| free.push(self.bytes_of(&run, &place))),
                Err(error) => doubts.push(Doubt { extent: self.bytes_of_blocks(&place), reason: error.to_string() }),
            }
            if doubts.len() > MAX_DOUBTS {
                return Allocation::doubtful(size, format!("more than {MAX_DOUBTS} block groups are in doubt"));
            }
        }
        Allocation { free: free.into_set(), doubts }
    }

    fn bytes_of(&self, clusters: &Range<u32>, group: &Range<u64>) -> Extent {
        let cluster = u64::from(self.volume.superblock.cluster_blocks);
        let (start, end) = (u64::from(clusters.start) * cluster, u64::from(clusters.end) * cluster);
        self.bytes_of_blocks(&(group.start + start..(group.start + end).min(group.end)))
    }

    fn bytes_of_blocks(&self, blocks: &Range<u64>) -> Extent {
        Extent::between(self.volume.place_of(blocks.start), self.volume.place_of(blocks.end))
    }

    /// The clusters of a group that are in use, on disk or after replay.
    fn group_bitmap(
        &self,
        group: u64,
        place: &Range<u64>,
        metadata: &ExtentSet,
        added: &ExtentSet,
    ) -> Result<Bitmap, FilesystemError> {
        let number = group_number(group)?;
        let descriptor = self.volume.descriptor(number)?;
        let mut bitmap = self.believed(number, &descriptor, place, metadata)?;
        self.within(added, place).for_each(|clusters| bitmap.take(&clusters));
        if let Some(raw) = self.raw_bitmap(number, &descriptor, place)? {
            bitmap.unite(&raw);
        }
        Ok(bitmap)
    }

    /// The bitmap after replay, once everything known about the group agrees with it.
    fn believed(
        &self,
        number: u32,
        descriptor: &Descriptor,
        place: &Range<u64>,
        metadata: &ExtentSet,
    ) -> Result<Bitmap, FilesystemError> {
        let at = self.volume.place_of(descriptor.block_bitmap);
        let wrong = |what: &str| Err(FilesystemError::corrupt(Object::Group(number), at, what));
        let written = descriptor.flags & BLOCKS_UNINITIALISED == 0;
        let mut bitmap = match written {
            true => read_bitmap(&self.volume, number, descriptor, self.clusters(place))?,
            false => Bitmap::all_free(self.clusters(place)),
        };
        for clusters in self.within(metadata, place) {
            if written && bitmap.is_any_free(&clusters) {
                return wrong("its block bitmap calls metadata free");
            }
            bitmap.take(&clusters);
        }
        if bitmap.free() != descriptor.free_clusters {
            let counted = bitmap.free();
            return wrong(&format!("its block bitmap has {counted} free, its descriptor says {}", descriptor.free_clusters));
        }
        Ok(bitmap)
    }

    /// The bitmap as it lies on disk, if replay changed it or its descriptor. Nobody vouches for it: it can only add to what is used.
    fn raw_bitmap(&self, number: u32, descriptor: &Descriptor, place: &Range<u64>) -> Result<Option<Bitmap>, FilesystemError> {
        let Some(overlaid) = &self.overlaid else { return Ok(None) };
        let block_bytes = self.volume.block_bytes();
        let home = self.volume.superblock.descriptor_place(u64::from(number)) / block_bytes;
        let patched = |block: u64| overlaid.overlay().patch(block).is_some();
        if !patched(descriptor.block_bitmap) && !patched(home) {
            return Ok(None);
        }
        if self.raw.descriptor(number).is_ok_and(|raw| raw.flags & BLOCKS_UNINITIALISED != 0) {
            return Ok(None);
        }
        let bytes = self.raw.block(Object::Group(number), descriptor.block_bitmap)?;
        Ok(Some(Bitmap::new(&bytes, self.clusters(place))))
    }

    fn clusters(&self, place: &Range<u64>) -> u32 {
        let clusters = (place.end - place.start).div_ceil(u64::from(self.volume.superblock.cluster_blocks));
        u32::try_from(clusters).unwrap_or(u32::MAX)
    }

    /// The clusters of a group that a set of blocks touches.
    fn within<'a>(&self, set: &'a ExtentSet, place: &Range<u64>) -> impl Iterator<Item = Range<u64>> + use<'a> {
        let (start, end) = (place.start, place.end);
        let cluster = u64::from(self.volume.superblock.cluster_blocks);
        let first = set.as_slice().partition_point(|extent| extent.end() <= start);
        let touching = set.as_slice().get(first..).unwrap_or_default().iter().take_while(move |extent| extent.offset < end);
        touching.map(move |extent| {
            let (from, to) = (extent.offset.max(start) - start, extent.end().min(end) - start);
            from / cluster..to.div_ceil(cluster)
        })
    }
}

fn group_number(group: u64) -> Result<u32, FilesystemError> {
    u32::try_from(group).map_err(|_| FilesystemError::corrupt(Object::Superblock, 0, "it has too many groups"))
}

/// Reads a bitmap and compares its checksum.
fn read_bitmap(volume: &Volume, number: u32, descriptor: &Descriptor, count: u32) -> Result<Bitmap, FilesystemError> {
    let superblock = &volume.superblock;
    let object = Object::Group(number);
    let bytes = volume.block(object, descriptor.block_bitmap)?;
    if superblock.has_metadata_checksums() {
        let bits = superblock.blocks_per_group / superblock.cluster_blocks;
        let computed = crc32c(superblock.seed, bytes.get(..bits as usize / 8).unwrap_or_default());
        let kept = if superblock.descriptor_bytes >= 64 { computed } else { computed & 0xFFFF };
        if !sums_agree(descriptor.block_bitmap_checksum, kept) {
            let at = volume.place_of(descriptor.block_bitmap);
            return Err(FilesystemError::corrupt(object, at, "the checksum of its block bitmap does not match"));
        }
    }
    Ok(Bitmap::new(&bytes, count))
}
