//! XFS with parts of it lost.
//!
//! ```text
//!   superblock, what most copies agree on, that of the log, or what is concluded ─► put in its place
//!     ─► log replayed as far as it can be ─► the usual reader, except that
//!     inode      is read by its place, without asking a tree          scan     finds inodes where the trees are lost, too
//!     map        has lost stretches instead of errors                 names    and strays find names without a whole directory
//!     older      finds inodes and directory blocks in the log
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use super::inode_core::Core;
use super::log::Older;
use super::{Xfs, map, recovery, superblock};
use crate::base::extent::Extent;
use crate::base::io::ReadAt;
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::face::Segment;
use crate::filesystem::fields::Fields;
use crate::filesystem::inode::{Inode, InodeNumber};
use crate::filesystem::overlay::{Overlaid, Overlay, Patch};
use crate::filesystem::wreck::{FoundEntry, Scanned, StrayBlock, Wreck};

mod conclusion;
mod drawn;
mod election;
mod free_blocks;
mod indexed;
mod logged;
mod names;
mod plausible;
mod root;
mod scan;
mod spot;
mod strays;
mod testimony;
mod votes;

use election::Elected;
use indexed::Broken;
use spot::is_metadata;

/// Inodes of the filesystem itself, where the superblock names them: real-time bitmap and summary, and three quotas.
const BITMAP_AT: usize = 64;
const SUMMARY_AT: usize = 72;
const QUOTAS_AT: [usize; 2] = [160, 168];
const PROJECT_QUOTA_AT: usize = 232;

/// What a reader of a damaged volume knows besides.
#[derive(Debug)]
pub(super) struct Salvage {
    damage: Vec<FilesystemError>,
    agreeing_superblocks: u32,
    /// Inodes that no directory may name.
    hidden: BTreeSet<u64>,
    /// What the log still has, once somebody has asked.
    older: OnceLock<Option<Older>>,
    /// Directory blocks that were found broken until now.
    broken: Broken,
}

impl Salvage {
    /// A reason not to believe what is called free.
    pub(super) fn doubt(&self) -> Option<String> {
        self.damage.first().map(|damage| format!("parts of the filesystem are lost: {damage}"))
    }
}

impl Xfs {
    /// Opens what is left.
    pub(in crate::filesystem) fn salvage(source: Arc<dyn ReadAt>) -> Result<Self, FilesystemError> {
        let elected = election::elect(&source)?;
        Self::salvage_by(source, elected)
    }

    /// Opens what is left of a volume by the superblock of an earlier state of it.
    pub(in crate::filesystem) fn salvage_as(source: Arc<dyn ReadAt>, earlier: &dyn ReadAt) -> Result<Self, FilesystemError> {
        let elected = election::of_earlier(earlier)?;
        Self::salvage_by(source, elected)
    }

    fn salvage_by(source: Arc<dyn ReadAt>, elected: Elected) -> Result<Self, FilesystemError> {
        let source = if elected.damage.is_empty() { source } else { with_superblock(source, &elected.bytes) };
        let superblock = superblock::read(&source)?;
        let hidden = hidden(&elected, &superblock)?;
        let recovered = recovery::replay_what_is_left(&source, &superblock);
        let mut damage = elected.damage;
        damage.extend(recovered.view.stale().map(|reason| lost(Object::Journal, reason.to_owned())));
        if source.size() < superblock.geometry.bytes() {
            let reason = format!("the source ends at byte {}, the volume at {}", source.size(), superblock.geometry.bytes());
            damage.push(lost(Object::Superblock, reason));
        }
        let salvage =
            Salvage { damage, agreeing_superblocks: elected.agreeing, hidden, older: OnceLock::new(), broken: Broken::default() };
        let replayed = Self::after_replay(Arc::clone(&source), recovered);
        // A log that garbles the superblock is not applied at all.
        let xfs = replayed.or_else(|error| Self::after_replay(source, recovery::not_replayed(&error)))?;
        Ok(Self { salvage: Some(salvage), disk: xfs.disk.mending(), ..xfs })
    }

    /// An inode by its place, whatever the trees say.
    pub(super) fn inode_in_place(&self, number: InodeNumber) -> Result<Inode, FilesystemError> {
        let absent = || FilesystemError::NotFound { path: format!("inode {}", number.0) };
        let place = self.disk.geometry().inode(number.0).ok_or_else(absent)?;
        let inode = Core::read(&self.disk, number.0, place.byte)?.into_inode()?.ok_or_else(absent)?;
        plausible::check(&inode, self.disk.geometry()).map(|()| inode)
    }

    /// Where the bytes of a file come from, with lost stretches where nobody knows.
    pub(super) fn map_around(&self, file: &Inode, range: Extent) -> Vec<Segment> {
        match self.data(file, Object::Map) {
            Ok(fork) => map::segments_around(&fork, range, self.volume.size()),
            Err(error) => vec![map::lost_segment(range, &error)],
        }
    }

    fn logged(&self) -> Option<&Older> {
        let index = || Older::of(self.volume.source(), self.superblock.log.as_ref()?, &self.superblock.log_facts());
        self.salvage.as_ref()?.older.get_or_init(index).as_ref()
    }

    fn older_copy(&self, number: InodeNumber) -> Option<Inode> {
        let salvage = self.salvage.as_ref()?;
        let raw = self.logged()?.inode(number.0)?;
        let geometry = self.disk.geometry();
        let place = geometry.inode(number.0)?;
        let inode = Core::parse(geometry, number.0, place.byte, raw).ok()?.into_inode().ok()??;
        let is_shown = !salvage.hidden.contains(&number.0) && !is_metadata(&inode, self.superblock.features.metadata_directory);
        (is_shown && plausible::check(&inode, geometry).is_ok()).then_some(inode)
    }
}

/// The volume with another first sector.
fn with_superblock(source: Arc<dyn ReadAt>, sector: &[u8]) -> Arc<dyn ReadAt> {
    let mut overlay = Overlay::new(u32::try_from(sector.len()).unwrap_or(u32::MAX));
    overlay.replace(0, Patch::Bytes(Arc::from(sector)));
    Arc::new(Overlaid::new(source, overlay))
}

/// Inodes that no directory may name. Copies need not know the first two; mkfs makes them right behind the root directory.
fn hidden(elected: &Elected, superblock: &superblock::Superblock) -> Result<BTreeSet<u64>, FilesystemError> {
    let fields = Fields::new(&elected.bytes, Object::Superblock, 0);
    let geometry = &superblock.geometry;
    let exists = |number: &u64| geometry.inode(*number).is_some();
    let mut hidden = BTreeSet::new();
    if !superblock.features.metadata_directory {
        for (at, usual) in [(BITMAP_AT, superblock.root + 1), (SUMMARY_AT, superblock.root + 2)] {
            hidden.insert(Some(fields.be64(at)?).filter(exists).unwrap_or(usual));
        }
    }
    let project = geometry.crc.then_some(PROJECT_QUOTA_AT);
    for at in QUOTAS_AT.into_iter().chain(project) {
        hidden.extend(Some(fields.be64(at)?).filter(exists));
    }
    hidden.remove(&superblock.root);
    Ok(hidden)
}

fn lost(object: Object, reason: String) -> FilesystemError {
    FilesystemError::Lost { object, reason }
}

impl Wreck for Xfs {
    fn damage(&self) -> &[FilesystemError] {
        self.salvage.as_ref().map_or(&[], |salvage| &salvage.damage)
    }

    fn mended(&self) -> Vec<FilesystemError> {
        self.disk.mended()
    }

    fn agreeing_superblocks(&self) -> u32 {
        self.salvage.as_ref().map_or(1, |salvage| salvage.agreeing_superblocks)
    }

    fn scan(&self, from: u64, visit: &mut dyn FnMut(Scanned) -> ControlFlow<()>) -> Result<(), FilesystemError> {
        let none = BTreeSet::new();
        scan::show(self, self.salvage.as_ref().map_or(&none, |salvage| &salvage.hidden), from, visit)
    }

    fn older(&self, number: InodeNumber) -> Option<Inode> {
        self.older_copy(number)
    }

    fn names(&self, directory: &Inode, visit: &mut dyn FnMut(FoundEntry) -> ControlFlow<()>) {
        names::show(self, directory, visit);
    }

    fn directory_key(&self, _directory: &Inode) -> Option<u64> {
        None
    }

    fn strays(&self, within: Extent, visit: &mut dyn FnMut(StrayBlock) -> ControlFlow<()>) -> Result<(), FilesystemError> {
        strays::show(self, within, visit)
    }

    fn older_strays(&self, visit: &mut dyn FnMut(StrayBlock) -> ControlFlow<()>) {
        let mut confirmed = match &self.salvage {
            Some(salvage) => indexed::confirmed(self, &salvage.broken),
            None => BTreeMap::new(),
        };
        let mut flow = ControlFlow::Continue(());
        if let Some(log) = self.logged() {
            logged::show(self, log, &mut |stray| {
                let also = confirmed.remove(&stray.at);
                flow = visit(logged::with(stray, also));
                flow
            });
        }
        let _seen_enough = flow.is_continue() && confirmed.into_values().try_for_each(visit).is_break();
    }
}
