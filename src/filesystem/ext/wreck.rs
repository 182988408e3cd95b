//! ext2, ext3 and ext4 with parts of it lost: every structure is taken from whichever copy is whole, and an inode vouches for itself.
//!
//! ```text
//!   superblock: the first ► copies at their places ► any copy ► inferred from what inodes and directories say
//!   descriptor: the first ► copies in other groups ► where this layout puts it, if inodes lie there
//!   inode:      its checksum, or everything about it makes sense ► an older copy in the journal
//!   names:      blocks whose checksum fits, or entries that lead exactly to the end of their block
//! ```

mod agreement;
mod backwards;
mod bitmap;
mod copies;
mod descriptors;
mod entries;
mod index;
mod inference;
mod layout;
mod lookout;
mod mend;
mod names;
mod older;
mod plausible;
mod probe;
mod scan;
mod stray;
mod superblocks;
mod testimony;
mod witnesses;

use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use super::journal::LoggedBlocks;
use super::recovery::{RAW_CACHE_BYTES, recover_from};
use super::superblock::Superblock;
use super::volume::Volume;
use super::{Ext, checksum};
use crate::base::extent::{Extent, ExtentSet};
use crate::base::io::{IoError, ReadAt};
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::face::{Segment, Source};
use crate::filesystem::inode::{Inode, InodeNumber};
use crate::filesystem::overlay::Overlaid;
use crate::filesystem::wreck::{FoundEntry, Scanned, StrayBlock, Wreck};

pub(super) use descriptors::Merge;
pub(super) use plausible::make_sense;

/// What was found in place of lost parts.
#[derive(Debug, Default)]
pub(super) struct Remains {
    pub(super) damage: Vec<FilesystemError>,
    agreeing_superblocks: u32,
    /// Blocks without checksums of which flipped bits were put right.
    flipped: Vec<(u64, String)>,
    /// Blocks that the journal still holds, collected when they are first asked for.
    logged: OnceLock<LoggedBlocks>,
}

/// How the superblock to go by is found.
type FindSuperblock<'a> = dyn Fn(&Arc<dyn ReadAt>) -> Result<superblocks::Found, FilesystemError> + 'a;

impl Ext {
    /// Opens what is left.
    pub(in crate::filesystem) fn salvage(source: Arc<dyn ReadAt>) -> Result<Self, FilesystemError> {
        Self::salvaged(source, &superblocks::find)
    }

    /// Opens what is left of a volume by the superblock of an earlier state of it.
    pub(in crate::filesystem) fn salvage_as(source: Arc<dyn ReadAt>, earlier: &dyn ReadAt) -> Result<Self, FilesystemError> {
        Self::salvaged(source, &|_| superblocks::of_earlier(earlier))
    }

    fn salvaged(source: Arc<dyn ReadAt>, find: &FindSuperblock<'_>) -> Result<Self, FilesystemError> {
        let wreck = Self::opened_as_wreck(Arc::clone(&source), find)?;
        let (overlay, flipped) = wreck.flipped_blocks();
        if flipped.is_empty() {
            return Ok(wreck);
        }
        let mut wreck = Self::opened_as_wreck(Arc::new(Overlaid::new(source, overlay)), find)?;
        wreck.remains.flipped = flipped;
        Ok(wreck)
    }

    fn opened_as_wreck(source: Arc<dyn ReadAt>, find: &FindSuperblock<'_>) -> Result<Self, FilesystemError> {
        let found = find(&source)?;
        let raw = Volume::of_wreck(found.superblock.clone(), Arc::clone(&source), RAW_CACHE_BYTES);
        let open = |bytes: Arc<dyn ReadAt>, cache_bytes| {
            // Replay may bring back the first superblock, and that one is younger than any copy.
            let replayed = Superblock::read(&*bytes).ok().filter(|replayed| copies::are_of_one_volume(replayed, &found.superblock));
            Ok(Volume::of_wreck(replayed.unwrap_or_else(|| found.superblock.clone()), bytes, cache_bytes))
        };
        let recovered = recover_from(raw, &source, found.need, &open)?;
        let mut damage = found.damage;
        damage.extend(descriptors::replaced(&recovered.volume));
        let stale = recovered.view.stale().map(str::to_owned);
        damage.extend(stale.map(|reason| FilesystemError::Lost { object: Object::Journal, reason }));
        let remains = Remains { damage, agreeing_superblocks: found.agreeing, ..Remains::default() };
        Ok(Self::new(recovered, remains))
    }
}

impl Wreck for Ext {
    fn damage(&self) -> &[FilesystemError] {
        &self.remains.damage
    }

    fn mended(&self) -> Vec<FilesystemError> {
        let by_checksum = self.volume.merge.as_ref().map(|merge| merge.mended.list()).unwrap_or_default();
        let by_journal = self.remains.flipped.iter();
        let by_journal = by_journal.map(|(at, what)| FilesystemError::corrupt(Object::Journal, *at, what.clone()));
        by_journal.chain(by_checksum).collect()
    }

    fn agreeing_superblocks(&self) -> u32 {
        self.remains.agreeing_superblocks
    }

    fn scan(&self, from: u64, visit: &mut dyn FnMut(Scanned) -> ControlFlow<()>) -> Result<(), FilesystemError> {
        self.scan_tables(from, visit)
    }

    fn older(&self, number: InodeNumber) -> Option<Inode> {
        self.logged_inode(u32::try_from(number.0).ok()?)
    }

    fn own_structures(&self) -> ExtentSet {
        let bytes = |blocks: &Extent| Extent::between(self.volume.place_of(blocks.offset), self.volume.place_of(blocks.end()));
        self.metadata_blocks().map(|blocks| blocks.as_slice().iter().map(bytes).collect()).unwrap_or_default()
    }

    fn names(&self, directory: &Inode, visit: &mut dyn FnMut(FoundEntry) -> ControlFlow<()>) {
        let _stopped = self.names_around_damage(directory, visit);
    }

    fn directory_key(&self, directory: &Inode) -> Option<u64> {
        let superblock = &self.volume.superblock;
        let number = u32::try_from(directory.number.0).ok()?;
        superblock.has_metadata_checksums().then(|| u64::from(checksum::inode_seed(superblock.seed, number, directory.generation)))
    }

    fn strays(&self, within: Extent, visit: &mut dyn FnMut(StrayBlock) -> ControlFlow<()>) -> Result<(), FilesystemError> {
        self.look_for_strays(within, visit)
    }

    fn older_strays(&self, visit: &mut dyn FnMut(StrayBlock) -> ControlFlow<()>) {
        self.logged_strays(visit);
    }
}

/// A map of which nothing is known.
pub(super) fn all_lost(file: &Inode, range: Extent, error: &FilesystemError) -> Vec<Segment> {
    let extent = range.intersect(&Extent::new(0, file.size));
    let lost = Segment { extent, source: Source::Lost(error.to_string()) };
    if extent.is_empty() { Vec::new() } else { vec![lost] }
}

/// True when somebody wants the work to end: that is no damage to go around.
pub(super) fn is_stop(error: &FilesystemError) -> bool {
    matches!(error, FilesystemError::Io { source: IoError::Cancelled, .. })
}
