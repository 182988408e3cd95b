//! The face that every filesystem shows: inodes, names, data, attributes, free space.

use std::fmt;
use std::ops::ControlFlow;

use super::allocation::Allocation;
use super::error::{FilesystemError, Object};
use super::inode::{FileKind, Inode, InodeNumber};
use super::view::View;
use crate::base::extent::{Extent, ExtentSet};
use crate::base::io::ReadAt;

/// Which filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// ext2: no journal.
    Ext2,
    /// ext3: a journal, no extents.
    Ext3,
    /// ext4.
    Ext4,
    /// XFS.
    Xfs,
    /// A tree of files that was taken from any mounted filesystem.
    FileTree,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ext2 => "ext2",
            Self::Ext3 => "ext3",
            Self::Ext4 => "ext4",
            Self::Xfs => "XFS",
            Self::FileTree => "file tree",
        })
    }
}

/// What a filesystem says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Which one.
    pub kind: Kind,
    /// Its UUID as 16 bytes.
    pub uuid: [u8; 16],
    /// Its label; bytes, for nobody promises an encoding.
    pub label: Vec<u8>,
    /// Bytes in a block.
    pub block_bytes: u32,
    /// Bytes that it covers; the source may be longer.
    pub size: u64,
}

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name: 1 to 255 bytes, without NUL and slash. Never `.` or `..`.
    pub name: Vec<u8>,
    /// The inode it leads to.
    pub inode: InodeNumber,
}

/// An extended attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Xattr {
    /// The whole name as `getfattr` shows it, such as `user.note` or `system.posix_acl_access`.
    pub name: Vec<u8>,
    /// The value as `getxattr` returns it. POSIX ACLs are in the form of that call, not of the disk.
    pub value: Vec<u8>,
}

/// Where a run of a file's bytes comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// It lies from this byte of the filesystem on.
    Disk(u64),
    /// Nothing was ever written: zeros, and a hole.
    Hole,
    /// Reserved, not written: zeros, whatever lies there. The byte of the filesystem where the reservation begins.
    Unwritten(u64),
    /// The bytes lie in metadata. At most 64 KiB.
    Inline(Vec<u8>),
    /// Nobody knows where they lie: the part of the map that would say so is lost. Only a [`Wreck`](super::Wreck) shows this.
    Lost(String),
}

/// A run of a file's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Which bytes of the file.
    pub extent: Extent,
    /// Where they come from.
    pub source: Source,
}

/// A filesystem, read in the state that [`Filesystem::view`] names.
pub trait Filesystem: Send + Sync + fmt::Debug {
    /// What it says of itself.
    fn identity(&self) -> &Identity;

    /// Whether answers are what the kernel would show.
    fn view(&self) -> &View;

    /// The volume after replay: what [`Source::Disk`] points into.
    fn volume(&self) -> &dyn ReadAt;

    /// The root directory.
    fn root(&self) -> InodeNumber;

    /// One inode that is in use. A free one, and one that is only waiting to be deleted, is [`FilesystemError::NotFound`].
    fn inode(&self, number: InodeNumber) -> Result<Inode, FilesystemError>;

    /// Shows each name of a directory once, in the order on disk. A directory that is encrypted is [`FilesystemError::Encrypted`].
    fn list(&self, directory: &Inode, visit: &mut dyn FnMut(Entry) -> ControlFlow<()>) -> Result<(), FilesystemError>;

    /// The entry with exactly these bytes as its name.
    fn lookup(&self, directory: &Inode, name: &[u8]) -> Result<Option<Entry>, FilesystemError> {
        let mut found = None;
        self.list(directory, &mut |entry| {
            if entry.name == name {
                found = Some(entry);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }

    /// Where the bytes of `range` come from: ascending, without gaps, covering `range` up to the file's size. Bounded by the blocks
    /// in `range`, so callers ask for a few MiB at a time.
    fn map(&self, file: &Inode, range: Extent) -> Result<Vec<Segment>, FilesystemError>;

    /// The target of a symbolic link, at most 4096 bytes.
    fn link_target(&self, link: &Inode) -> Result<Vec<u8>, FilesystemError>;

    /// All extended attributes, sorted by name.
    fn xattrs(&self, inode: &Inode) -> Result<Vec<Xattr>, FilesystemError>;

    /// What is free, by the rules that make it safe to leave it out of a backup.
    fn allocation(&self) -> Allocation;

    /// Where an inode lies, in bytes of the filesystem. `None` where that cannot be told without reading.
    fn inode_location(&self, _number: InodeNumber) -> Option<Extent> {
        None
    }

    /// The bytes whose meaning replay changed: whoever compares two states of a volume counts them as changed.
    fn replayed(&self) -> ExtentSet {
        ExtentSet::new()
    }

    /// Fills `out` with the file's bytes from `offset` on, and says how many there were: fewer only at the end of the file.
    fn read(&self, file: &Inode, offset: u64, out: &mut [u8]) -> Result<usize, FilesystemError> {
        if file.kind == FileKind::Regular && file.encrypted {
            return Err(FilesystemError::Encrypted { object: Object::Inode(file.number.0) });
        }
        let range = Extent::new(offset, out.len() as u64).intersect(&Extent::new(0, file.size));
        let mut left = out;
        let mut filled = 0;
        for segment in self.map(file, range)? {
            let length = usize::try_from(segment.extent.length).unwrap_or(usize::MAX).min(left.len());
            let (piece, rest) = left.split_at_mut(length);
            self.fill(file, &segment.source, piece)?;
            filled += length;
            left = rest;
        }
        Ok(filled)
    }

    /// Fills `out` from the beginning of a segment's source.
    fn fill(&self, file: &Inode, source: &Source, out: &mut [u8]) -> Result<(), FilesystemError> {
        match source {
            Source::Hole | Source::Unwritten(_) => out.fill(0),
            Source::Inline(bytes) => {
                let have = bytes.len().min(out.len());
                out[..have].copy_from_slice(&bytes[..have]);
                out[have..].fill(0);
            }
            Source::Lost(reason) => {
                return Err(FilesystemError::Lost { object: Object::Map(file.number.0), reason: reason.clone() });
            }
            Source::Disk(at) => self
                .volume()
                .read_at(*at, out)
                .map_err(|source| FilesystemError::Io { object: Object::Inode(file.number.0), source })?,
        }
        Ok(())
    }
}
