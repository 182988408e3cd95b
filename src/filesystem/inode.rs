//! Inodes: what a file is, apart from its names and its bytes.

/// The number of an inode in its filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InodeNumber(pub u64);

/// What an inode is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// Bytes.
    Regular,
    /// Names.
    Directory,
    /// A path.
    Symlink,
    /// A character device.
    CharacterDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// A moment since 1970-01-01T00:00:00Z, as file systems keep it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FileTime {
    /// Seconds; negative before 1970.
    pub seconds: i64,
    /// Nanoseconds after that second, below 1,000,000,000.
    pub nanoseconds: u32,
}

/// An inode, verified as far as its filesystem allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inode {
    /// Its number.
    pub number: InodeNumber,
    /// Changes when the number is used again.
    pub generation: u32,
    /// What it is.
    pub kind: FileKind,
    /// Permission bits with setuid, setgid and sticky: the lowest twelve bits of the mode.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Names that lead here.
    pub links: u32,
    /// Length of the content in bytes.
    pub size: u64,
    /// Space taken, in units of 512 bytes, as `stat` shows it.
    pub sectors: u64,
    /// Last read.
    pub accessed: FileTime,
    /// Last change of the content.
    pub modified: FileTime,
    /// Last change of the inode.
    pub changed: FileTime,
    /// When it was made, where that is kept.
    pub created: Option<FileTime>,
    /// True when names (of a directory) or content (of a file, a link) are encrypted by the filesystem itself.
    pub encrypted: bool,
    /// The inode as it lies on disk, after replay: its own filesystem reads the rest from here. At most 64 KiB.
    pub(super) raw: Box<[u8]>,
}

impl Inode {
    /// An inode that lies in no filesystem: a stand-in for a lost one, or a model.
    #[must_use]
    pub fn made_up(number: InodeNumber, kind: FileKind, mode: u16) -> Self {
        let (accessed, modified, changed) = Default::default();
        Self {
            number,
            generation: 0,
            kind,
            mode,
            uid: 0,
            gid: 0,
            links: 1,
            size: 0,
            sectors: 0,
            accessed,
            modified,
            changed,
            created: None,
            encrypted: false,
            raw: Box::default(),
        }
    }

    /// True for a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.kind == FileKind::Directory
    }
}
