//! XFS, versions 4 and 5, read as the kernel would show it after recovery.
//!
//! ```text
//!   superblock ─► geometry ─► log replayed ─► the superblock again, as replay left it
//!        inode number ─► inode tree of its group (is it in use?) ─► inode ─► forks
//!             data fork ─► directory | link | runs of a file        attribute fork ─► attributes
//! ```

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::allocation::Allocation;
use super::cache::{Cached, METADATA_CACHE_BYTES};
use super::error::{FilesystemError, Object};
use super::face::{Entry, Filesystem, Identity, Segment, Xattr};
use super::inode::{FileKind, Inode, InodeNumber};
use super::overlay::{Overlaid, Overlay};
use super::view::View;
use crate::base::extent::{Extent, ExtentSet};
use crate::base::io::ReadAt;

mod acl;
mod attributes;
mod directory;
mod disk;
mod features;
mod fork;
mod found;
mod free;
mod geometry;
mod group;
mod inode_core;
mod inode_tree;
mod link;
mod log;
mod map;
mod recovery;
mod remote;
mod run;
mod seal;
mod superblock;
mod tree;
mod wreck;

use disk::Disk;
use fork::Fork;
use inode_core::Core;
use recovery::Recovered;
use superblock::Superblock;
use wreck::Salvage;

/// An XFS volume.
#[derive(Debug)]
pub struct Xfs {
    identity: Identity,
    superblock: Superblock,
    view: View,
    /// The volume after replay: content is read from here.
    volume: Arc<Overlaid>,
    /// The same, through the cache: metadata is read from here.
    disk: Disk,
    /// Inodes whose mapping the log leaves half changed.
    uncertain: BTreeSet<u64>,
    /// For a volume of which parts are lost.
    salvage: Option<Salvage>,
}

impl Xfs {
    /// Reads the superblock, and replays the log in memory.
    pub fn open(source: Arc<dyn ReadAt>) -> Result<Self, FilesystemError> {
        let on_disk = superblock::read(&source)?;
        let recovered = recovery::replay(&source, &on_disk)?;
        Self::after_replay(source, recovered)
    }

    /// The volume as replay leaves it, by its superblock of then.
    fn after_replay(source: Arc<dyn ReadAt>, recovered: Recovered) -> Result<Self, FilesystemError> {
        let volume = Arc::new(Overlaid::new(source, recovered.overlay));
        let cached: Arc<dyn ReadAt> = Arc::new(Cached::new(Arc::clone(&volume) as Arc<dyn ReadAt>, METADATA_CACHE_BYTES));
        let superblock = superblock::read(&cached)?;
        Ok(Self {
            identity: superblock.identity(),
            view: recovered.view,
            volume,
            disk: Disk::new(cached, superblock.geometry.clone()),
            superblock,
            uncertain: recovered.uncertain,
            salvage: None,
        })
    }

    fn overlay(&self) -> &Overlay {
        self.volume.overlay()
    }

    /// The fork that holds an inode's content.
    fn data<'a>(&'a self, inode: &'a Inode, object: fn(u64) -> Object) -> Result<Fork<'a>, FilesystemError> {
        self.certain(inode.number)?;
        Fork::data(&self.disk, inode, object)
    }

    /// Refuses an inode whose mapping the kernel would first have to finish changing.
    fn certain(&self, number: InodeNumber) -> Result<(), FilesystemError> {
        if !self.uncertain.contains(&number.0) {
            return Ok(());
        }
        let feature = "a change of its block map (BUI or XMI) that the log leaves unfinished".to_owned();
        Err(FilesystemError::Unsupported { object: Object::Inode(number.0), feature })
    }
}

impl Filesystem for Xfs {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn view(&self) -> &View {
        &self.view
    }

    fn volume(&self) -> &dyn ReadAt {
        &*self.volume
    }

    fn root(&self) -> InodeNumber {
        InodeNumber(self.superblock.root)
    }

    fn inode(&self, number: InodeNumber) -> Result<Inode, FilesystemError> {
        if self.salvage.is_some() {
            return self.inode_in_place(number);
        }
        let absent = || FilesystemError::NotFound { path: format!("inode {}", number.0) };
        let place = self.disk.geometry().inode(number.0).ok_or_else(absent)?;
        if !inode_tree::is_in_use(&self.disk, place)? {
            return Err(absent());
        }
        Core::read(&self.disk, number.0, place.byte)?.into_inode()?.ok_or_else(absent)
    }

    fn list(&self, directory: &Inode, visit: &mut dyn FnMut(Entry) -> ControlFlow<()>) -> Result<(), FilesystemError> {
        if !directory.is_directory() {
            return Err(FilesystemError::NotADirectory { path: format!("inode {}", directory.number.0) });
        }
        directory::list(&self.data(directory, Object::Directory)?, directory.size, visit)
    }

    fn map(&self, file: &Inode, range: Extent) -> Result<Vec<Segment>, FilesystemError> {
        let range = range.intersect(&Extent::new(0, file.size));
        if range.is_empty() || file.kind != FileKind::Regular {
            return Ok(Vec::new());
        }
        if self.salvage.is_some() {
            return Ok(self.map_around(file, range));
        }
        let fork = self.data(file, Object::Map)?;
        map::segments(&fork, range)
    }

    fn link_target(&self, link: &Inode) -> Result<Vec<u8>, FilesystemError> {
        if link.kind != FileKind::Symlink {
            return Err(FilesystemError::corrupt(Object::Link(link.number.0), 0, "it is no symbolic link"));
        }
        link::target(&self.data(link, Object::Link)?, link.size)
    }

    fn xattrs(&self, inode: &Inode) -> Result<Vec<Xattr>, FilesystemError> {
        self.certain(inode.number)?;
        match Fork::attributes(&self.disk, inode)? {
            Some(fork) => attributes::read(&fork),
            None => Ok(Vec::new()),
        }
    }

    fn allocation(&self) -> Allocation {
        free::allocation(self)
    }

    fn inode_location(&self, number: InodeNumber) -> Option<Extent> {
        let geometry = self.disk.geometry();
        Some(Extent::new(geometry.inode(number.0)?.byte, geometry.inode_bytes.into()))
    }

    fn replayed(&self) -> ExtentSet {
        let unit_bytes = u64::from(self.overlay().unit_bytes());
        self.overlay().units().map(|unit| Extent::new(unit.saturating_mul(unit_bytes), unit_bytes)).collect()
    }
}
