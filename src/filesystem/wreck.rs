//! The face of a damaged filesystem: what scanning finds when the usual ways are gone, and what vouches for each find.
//!
//! A wreck is a [`Filesystem`] that answers for single inodes without asking structures that may be lost: the geometry comes from
//! whichever copy is whole, an inode vouches for itself, and a map shows what is missing as [`Source::Lost`](super::Source::Lost)
//! instead of failing. Its own directories are only a part of the names that can be found; whoever pieces a tree together asks for
//! [`Wreck::names`] and [`Wreck::strays`].

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use super::error::FilesystemError;
use super::ext::Ext;
use super::face::Filesystem;
use super::inode::{Inode, InodeNumber};
use super::xfs::Xfs;
use crate::base::extent::{Extent, ExtentSet};
use crate::base::io::ReadAt;

/// What vouches for something that was found. Later ones vouch for less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Proof {
    /// Its checksum, or that of the block it stands in.
    Checksum,
    /// Its checksum, after the one bit was turned that the checksum itself names.
    Mended,
    /// There are no checksums here, or the one that is here cannot be computed any more; everything about it makes sense.
    Plausible,
    /// It is a copy from the journal or log: it was right once, and may be older than what was lost.
    OlderCopy,
}

/// An inode that was found in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundInode {
    /// The inode. It has links, and is not waiting to be deleted.
    pub inode: Inode,
    /// What vouches for it.
    pub proof: Proof,
    /// Whether the structures that account for inodes call it used; `None` where they are lost.
    pub in_use: Option<bool>,
}

/// What a scan meets.
#[derive(Debug)]
pub enum Scanned {
    /// An inode.
    Inode(FoundInode),
    /// Inodes that cannot be read: one that contradicts its checksum, or a stretch whose place is unreadable or unknown.
    Lost {
        /// Their numbers.
        inodes: Range<u64>,
        /// Why.
        error: FilesystemError,
    },
}

/// A name that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundName {
    /// The name: 1 to 255 bytes, without NUL and slash. Never `.` or `..`.
    pub name: Vec<u8>,
    /// The inode it leads to.
    pub inode: InodeNumber,
    /// Whether that is a directory, where the entry says so.
    pub is_directory: Option<bool>,
}

/// What is found in a directory.
#[derive(Debug)]
pub enum FoundEntry {
    /// A name.
    Name(FoundName),
    /// The directory that holds this one.
    Parent(InodeNumber),
    /// A part of the directory that cannot be read: names may be missing.
    Lost(FilesystemError),
}

/// A directory block that was found by its looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StrayBlock {
    /// Where it begins, in bytes of the filesystem.
    pub at: u64,
    /// The directory that the block says it belongs to.
    pub directory: Option<InodeNumber>,
    /// What all blocks of one directory share, see [`Wreck::directory_key`].
    pub key: Option<u64>,
    /// The directory that holds this one, where the block says so.
    pub parent: Option<InodeNumber>,
    /// Its names; around an entry that cannot be.
    pub names: Vec<FoundName>,
    /// What vouches for them.
    pub proof: Proof,
}

/// A filesystem of which parts are lost.
pub trait Wreck: Filesystem {
    /// What had to be replaced by copies or by inference before anything could be read, and what is wrong with the journal.
    fn damage(&self) -> &[FilesystemError];

    /// What was read with one bit turned, until now: it was flipped, and its checksum says which one it is. The first hundred thousand.
    fn mended(&self) -> Vec<FilesystemError> {
        Vec::new()
    }

    /// How many copies of the superblock agree with the geometry that was chosen, the first one included.
    fn agreeing_superblocks(&self) -> u32;

    /// Shows every inode from number `from` on that could be in use, ascending, and every gap. Inodes that no directory may name
    /// (the journal, quotas) are not shown. Ends early when `visit` breaks.
    fn scan(&self, from: u64, visit: &mut dyn FnMut(Scanned) -> ControlFlow<()>) -> Result<(), FilesystemError>;

    /// The youngest older copy of a lost inode that the journal or log still holds.
    fn older(&self, number: InodeNumber) -> Option<Inode>;

    /// True when what lies in its place says that the inode was deleted or freed. Where nothing lies, or something broken, it does not.
    fn was_freed(&self, _number: InodeNumber) -> bool {
        false
    }

    /// Bytes of the volume that no file can have, because the filesystem keeps tables, bitmaps or its journal there.
    fn own_structures(&self) -> ExtentSet {
        ExtentSet::new()
    }

    /// True when the blocks of a file may rightly belong to other such files too.
    fn may_share(&self, _file: &Inode) -> bool {
        false
    }

    /// Shows what a directory holds, around everything in it that is broken.
    fn names(&self, directory: &Inode, visit: &mut dyn FnMut(FoundEntry) -> ControlFlow<()>);

    /// What all blocks of this directory share and those of no other do, if there is such a thing besides [`StrayBlock::directory`].
    fn directory_key(&self, directory: &Inode) -> Option<u64>;

    /// Shows the directory blocks among the blocks of `within`, ascending; copies in the journal are not among them. Whose they are, and
    /// whether they are stale, is for the caller to find out.
    fn strays(&self, within: Extent, visit: &mut dyn FnMut(StrayBlock) -> ControlFlow<()>) -> Result<(), FilesystemError>;

    /// Shows what is known of lost directory blocks but does not stand in their place as it should: the youngest copy that the journal or
    /// log still holds, which has the proof of an older copy; and what of a broken block, met by [`Self::names`] before, the index of its
    /// directory confirms. Such names fill what is open, and stand against no other.
    fn older_strays(&self, _visit: &mut dyn FnMut(StrayBlock) -> ControlFlow<()>) {}
}

/// Opens what is left of a filesystem. Fails only when no superblock and no copy of one can be found or inferred.
pub fn salvage(source: Arc<dyn ReadAt>) -> Result<Box<dyn Wreck>, FilesystemError> {
    let xfs = Xfs::salvage(Arc::clone(&source)).map(|wreck| Box::new(wreck) as Box<dyn Wreck>);
    // Looking for another filesystem, of which nothing stands where it should, takes reading the whole volume.
    if xfs.as_ref().is_ok_and(|xfs| xfs.agreeing_superblocks() > 1) && !Ext::is_here(&*source) {
        return xfs;
    }
    let ext = Ext::salvage(Arc::clone(&source)).map(|wreck| Box::new(wreck) as Box<dyn Wreck>);
    match (xfs, ext) {
        // A volume can carry copies of what was on it before.
        (Ok(xfs), Ok(ext)) if xfs.agreeing_superblocks() > ext.agreeing_superblocks() => Ok(xfs),
        (_, Ok(ext)) => Ok(ext),
        (Ok(xfs), Err(_)) => Ok(xfs),
        (Err(_), Err(error)) => match super::detect::open(source) {
            // What the usual reader says names the feature or the reason.
            Err(usual) => Err(usual),
            Ok(_) => Err(error),
        },
    }
}

/// Opens what is left of a volume of which no superblock is, by that of an earlier state. Whether it is one is for the caller to know.
pub fn salvage_as(source: Arc<dyn ReadAt>, earlier: &dyn ReadAt) -> Result<Box<dyn Wreck>, FilesystemError> {
    match Xfs::salvage_as(Arc::clone(&source), earlier) {
        Ok(wreck) => Ok(Box::new(wreck)),
        Err(_) => Ok(Box::new(Ext::salvage_as(source, earlier)?)),
    }
}
