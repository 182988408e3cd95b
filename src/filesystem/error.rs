//! What can go wrong while reading a filesystem, and which object on disk it was.

use std::fmt;

use crate::base::io::IoError;
use thiserror::Error;

/// A thing on disk that a message names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Object {
    /// The superblock.
    Superblock,
    /// Descriptor, bitmap or table of a block group (ext) or allocation group (XFS).
    Group(u32),
    /// An inode.
    Inode(u64),
    /// A node of the map from an inode's bytes to blocks.
    Map(u64),
    /// A directory block of an inode.
    Directory(u64),
    /// Extended attributes of an inode.
    Attributes(u64),
    /// The target of a symbolic link.
    Link(u64),
    /// The journal (ext) or log (XFS).
    Journal,
    /// A partition table.
    PartitionTable,
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Superblock => write!(f, "superblock"),
            Self::Group(group) => write!(f, "group {group}"),
            Self::Inode(inode) => write!(f, "inode {inode}"),
            Self::Map(inode) => write!(f, "block map of inode {inode}"),
            Self::Directory(inode) => write!(f, "directory inode {inode}"),
            Self::Attributes(inode) => write!(f, "extended attributes of inode {inode}"),
            Self::Link(inode) => write!(f, "symbolic link inode {inode}"),
            Self::Journal => write!(f, "journal"),
            Self::PartitionTable => write!(f, "partition table"),
        }
    }
}

/// An answer that the filesystem could not give.
#[derive(Debug, Error)]
pub enum FilesystemError {
    /// The source failed below the filesystem.
    #[error("cannot read the {object}")]
    Io {
        /// What was being read.
        object: Object,
        /// How it failed.
        source: IoError,
    },
    /// Nothing known was found where a filesystem should begin.
    #[error("no known file system: {found}")]
    Unrecognised {
        /// What stands there instead, and what to try.
        found: String,
        /// The numbers of the partitions, if it is a disk with partitions.
        partitions: Vec<u32>,
    },
    /// A feature that this reader does not know. Guessing would show wrong bytes.
    #[error("{object} uses {feature}, which is not supported")]
    Unsupported {
        /// Where.
        object: Object,
        /// The feature by the name its own tools use.
        feature: String,
    },
    /// Bytes that contradict the format or their checksum.
    #[error("{object}, byte {at} of the volume: {what}")]
    Corrupt {
        /// Which object.
        object: Object,
        /// Where the object begins, in bytes of the filesystem.
        at: u64,
        /// What is wrong with it.
        what: String,
    },
    /// The path ends here.
    #[error("no such file: {path}")]
    NotFound {
        /// The path up to the missing name.
        path: String,
    },
    /// A path goes through something that is no directory.
    #[error("not a directory: {path}")]
    NotADirectory {
        /// The path up to it.
        path: String,
    },
    /// The content can only be had with a key that this reader does not have.
    #[error("{object} is encrypted by the file system")]
    Encrypted {
        /// Which.
        object: Object,
    },
    /// The part that would answer is lost.
    #[error("{object} is lost: {reason}")]
    Lost {
        /// Which.
        object: Object,
        /// How that is known.
        reason: String,
    },
    /// More memory than a reader may take.
    #[error("{object} needs more than the {limit} bytes of memory that a reader may take")]
    TooLarge {
        /// Which.
        object: Object,
        /// The bound.
        limit: u64,
    },
}

impl FilesystemError {
    /// Says what is wrong with `object`, which begins at byte `at`.
    pub fn corrupt(object: Object, at: u64, what: impl Into<String>) -> Self {
        Self::Corrupt { object, at, what: what.into() }
    }

    /// Says what stands where a filesystem should begin.
    pub fn unrecognised(found: impl Into<String>) -> Self {
        Self::Unrecognised { found: found.into(), partitions: Vec::new() }
    }
}
