//! ext2, ext3 and ext4: every generation of one design, read as the kernel would show it after recovery.
//!
//! ```text
//!   superblock ─► group descriptors ─► inode tables ─► inode ─┬─ map: extents | block pointers | inside the inode
//!        ▲                                                    └─ attributes: behind the inode | a block | other inodes
//!        └── read again through the journal's overlay
//! ```
//! What waits to be deleted needs no list of orphans: an inode without links is not in use, wherever it is listed, and what a file
//! has beyond its size is never shown.

mod acl;
mod attribute_entries;
mod attributes;
mod bitmap;
mod checksum;
mod content;
mod directory;
mod directory_block;
mod extents;
mod fast_names;
mod features;
mod flags;
mod free;
mod free_runs;
mod groups;
mod inline;
mod journal;
mod link;
mod losses;
mod name_hash;
mod pointers;
mod record;
mod recovery;
mod runs;
mod segments;
mod superblock;
mod times;
mod volume;
mod wreck;

use std::ops::ControlFlow;
use std::sync::Arc;

use super::allocation::Allocation;
use super::error::{FilesystemError, Object};
use super::face::{Entry, Filesystem, Identity, Segment, Xattr};
use super::inode::{Inode, InodeNumber};
use super::overlay::Overlaid;
use super::view::View;
use crate::base::extent::{Extent, ExtentSet};
use crate::base::io::ReadAt;
use journal::FastCommits;
use record::{BODY, BODY_BYTES, Record};
use recovery::{Recovered, recover};
use superblock::Superblock;
use volume::Volume;
use wreck::Remains;

/// The root directory has this number everywhere.
const ROOT: u32 = 2;

/// An ext2, ext3 or ext4 filesystem.
#[derive(Debug)]
pub struct Ext {
    identity: Identity,
    view: View,
    volume: Volume,
    raw: Volume,
    overlaid: Option<Arc<Overlaid>>,
    fast: FastCommits,
    journal: Vec<(u64, u64)>,
    error_recorded: bool,
    /// What was found in place of lost parts; nothing unless it was opened as a wreck.
    remains: Remains,
}

impl Ext {
    /// Opens a filesystem and replays its journal in memory.
    pub fn open(source: Arc<dyn ReadAt>) -> Result<Self, FilesystemError> {
        Ok(Self::new(recover(&source)?, Remains::default()))
    }

    fn new(recovered: Recovered, remains: Remains) -> Self {
        let Recovered { raw, volume, overlaid, fast, view, journal, error_recorded } = recovered;
        let identity = identity(&volume.superblock);
        Self { identity, view, volume, raw, overlaid, fast, journal, error_recorded, remains }
    }

    /// True when `source` begins as these filesystems do.
    pub(super) fn is_here(source: &dyn ReadAt) -> bool {
        let mut magic = [0; 2];
        source.read_at(superblock::PLACE + 56, &mut magic).is_ok() && u16::from_le_bytes(magic) == superblock::MAGIC
    }

    /// The bytes of an inode, verified, after replay and fast commits.
    fn raw_inode(&self, number: u32) -> Result<Vec<u8>, FilesystemError> {
        let place = self.volume.inode_place(number)?;
        let mut bytes = vec![0; usize::from(self.volume.superblock.inode_bytes)];
        self.volume.read(Object::Inode(u64::from(number)), place.offset, &mut bytes)?;
        if let Some(fast) = self.fast.inode(u64::from(number)) {
            rewrite(&mut bytes, fast);
            Record::new(number, &bytes, place.offset)?.verify_extra()?;
            return Ok(bytes);
        }
        self.volume.mend_inode(number, place.offset, &mut bytes);
        let record = Record::new(number, &bytes, place.offset)?;
        if record.is_blank() || self.is_never_used(number)? {
            return Err(not_in_use(number));
        }
        self.verify(&record)?;
        Ok(bytes)
    }

    /// Verifies an inode: in a wreck without checksums, by everything that must make sense.
    fn verify(&self, record: &Record<'_>) -> Result<(), FilesystemError> {
        let superblock = &self.volume.superblock;
        record.verify(superblock)?;
        if self.volume.is_wreck() && !superblock.has_inode_checksums() && record.links()? != 0 {
            return wreck::make_sense(record, &self.volume);
        }
        Ok(())
    }

    /// The record behind an inode that was handed out before.
    fn record_of<'a>(&self, inode: &'a Inode) -> Result<Record<'a>, FilesystemError> {
        let number = u32::try_from(inode.number.0).map_err(|_| not_in_use(u32::MAX))?;
        Record::new(number, &inode.raw, self.volume.inode_place(number)?.offset)
    }

    /// True for an inode in a part of its table that was never written. Where inodes have checksums, these tell.
    fn is_never_used(&self, number: u32) -> Result<bool, FilesystemError> {
        let superblock = &self.volume.superblock;
        if superblock.has_metadata_checksums() {
            return Ok(false);
        }
        let (group, index) = ((number - 1) / superblock.inodes_per_group, (number - 1) % superblock.inodes_per_group);
        let descriptor = self.volume.descriptor(group)?;
        let written = superblock.inodes_per_group.saturating_sub(descriptor.unused_inodes);
        Ok(descriptor.flags & groups::INODES_UNINITIALISED != 0 || index >= written)
    }

    fn named_inode(&self, number: u32) -> Result<Inode, FilesystemError> {
        let object = Object::Inode(u64::from(number));
        let place = self.volume.inode_place(number)?;
        if self.volume.superblock.is_hidden(number) {
            return Err(FilesystemError::corrupt(object, place.offset, "it is reserved, and no directory may name it"));
        }
        let bytes = self.raw_inode(number)?;
        self.decode(&Record::new(number, &bytes, place.offset)?)
    }

    /// A verified inode as others see it, if a directory may name it.
    fn decode(&self, record: &Record<'_>) -> Result<Inode, FilesystemError> {
        if record.links()? == 0 {
            return Err(not_in_use(record.number));
        }
        if record.has_flag(flags::EA_INODE)? {
            return Err(record.fields.corrupt("it holds an attribute, and no directory may name it"));
        }
        record.decode(&self.volume.superblock)
    }
}

/// Puts an inode of a fast commit over the one on disk. The map on disk stays, unless the content itself lies there.
fn rewrite(bytes: &mut [u8], fast: &[u8]) {
    let inline = fast.get(32..36).is_some_and(|word| word.iter().zip(flags::INLINE_DATA.to_le_bytes()).any(|(a, b)| a & b != 0));
    for (at, (to, from)) in bytes.iter_mut().zip(fast).enumerate() {
        if inline || !(BODY..BODY + BODY_BYTES).contains(&at) {
            *to = *from;
        }
    }
}

fn not_in_use(number: u32) -> FilesystemError {
    FilesystemError::NotFound { path: format!("inode {number}") }
}

fn identity(superblock: &Superblock) -> Identity {
    Identity {
        kind: superblock.features.kind(),
        uuid: superblock.uuid,
        label: superblock.label.clone(),
        block_bytes: superblock.block_bytes,
        size: superblock.size(),
    }
}

impl Filesystem for Ext {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn view(&self) -> &View {
        &self.view
    }

    fn volume(&self) -> &dyn ReadAt {
        &**self.volume.bytes()
    }

    fn root(&self) -> InodeNumber {
        InodeNumber(u64::from(ROOT))
    }

    fn inode(&self, number: InodeNumber) -> Result<Inode, FilesystemError> {
        let unknown = |_| FilesystemError::NotFound { path: format!("inode {}", number.0) };
        self.named_inode(u32::try_from(number.0).map_err(unknown)?)
    }

    fn list(&self, directory: &Inode, visit: &mut dyn FnMut(Entry) -> ControlFlow<()>) -> Result<(), FilesystemError> {
        self.names(directory, visit)
    }

    fn map(&self, file: &Inode, range: Extent) -> Result<Vec<Segment>, FilesystemError> {
        match self.segments(file, range) {
            Err(error) if self.volume.is_wreck() && !wreck::is_stop(&error) => Ok(wreck::all_lost(file, range, &error)),
            segments => segments,
        }
    }

    fn link_target(&self, link: &Inode) -> Result<Vec<u8>, FilesystemError> {
        self.target(link)
    }

    fn xattrs(&self, inode: &Inode) -> Result<Vec<Xattr>, FilesystemError> {
        self.attributes(inode)
    }

    fn allocation(&self) -> Allocation {
        self.free_space()
    }

    fn inode_location(&self, number: InodeNumber) -> Option<Extent> {
        self.volume.inode_place(u32::try_from(number.0).ok()?).ok()
    }

    fn replayed(&self) -> ExtentSet {
        let unit = self.volume.block_bytes();
        let overlaid = self.overlaid.iter().flat_map(|overlaid| overlaid.overlay().units());
        let blocks = overlaid.map(|block| Extent::new(block.saturating_mul(unit), unit));
        let inodes = self.fast.touched().filter_map(|number| self.inode_location(InodeNumber(number)));
        blocks.chain(inodes).collect()
    }
}
