//! What the system says of a file without reading it.

use rustix::fs::{FileType as RawType, Statx, StatxFlags, StatxTimestamp};

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileType {
    /// Bytes.
    Regular,
    /// Names.
    Directory,
    /// A path.
    Symlink,
    /// A character device: major and minor number.
    CharacterDevice(u32, u32),
    /// A block device: major and minor number.
    BlockDevice(u32, u32),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// A time as file systems keep it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Moment {
    /// Seconds since 1970; negative before.
    pub seconds: i64,
    /// Nanoseconds after that second.
    pub nanoseconds: u32,
}

/// One look at a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// What it is; nothing for what Linux does not know.
    pub kind: Option<FileType>,
    /// Permission bits.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Names that lead to it.
    pub links: u32,
    /// Length in bytes.
    pub size: u64,
    /// Space taken, in units of 512 bytes.
    pub sectors: u64,
    /// Last read.
    pub accessed: Moment,
    /// Last change of the content.
    pub modified: Moment,
    /// Last change of the inode.
    pub changed: Moment,
    /// When it was made, where that is kept.
    pub created: Option<Moment>,
    /// The device of its filesystem.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
    /// The mount that it was reached through, where the system says so.
    pub mount: Option<u64>,
}

/// Shorter files are not asked for holes in space that they do take.
const RESERVED_BYTES: u64 = 64 << 10;

/// What is asked for.
pub(super) const WANTED: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME).union(StatxFlags::MNT_ID);

impl Facts {
    pub(super) fn new(raw: &Statx) -> Self {
        let known = StatxFlags::from_bits_retain(raw.stx_mask);
        let special = (raw.stx_rdev_major, raw.stx_rdev_minor);
        Self {
            kind: file_type(raw.stx_mode, special),
            mode: raw.stx_mode & 0o7777,
            uid: raw.stx_uid,
            gid: raw.stx_gid,
            links: raw.stx_nlink,
            size: raw.stx_size,
            sectors: raw.stx_blocks,
            accessed: moment(&raw.stx_atime),
            modified: moment(&raw.stx_mtime),
            changed: moment(&raw.stx_ctime),
            created: known.contains(StatxFlags::BTIME).then(|| moment(&raw.stx_btime)),
            device: u64::from(raw.stx_dev_major) << 32 | u64::from(raw.stx_dev_minor),
            inode: raw.stx_ino,
            mount: known.contains(StatxFlags::MNT_ID).then_some(raw.stx_mnt_id),
        }
    }

    /// The same from the call as the ring makes it.
    pub(super) fn of_ring(raw: &libc::statx) -> Self {
        let known = StatxFlags::from_bits_retain(raw.stx_mask);
        let time = |raw: &libc::statx_timestamp| Moment { seconds: raw.tv_sec, nanoseconds: raw.tv_nsec };
        Self {
            kind: file_type(raw.stx_mode, (raw.stx_rdev_major, raw.stx_rdev_minor)),
            mode: raw.stx_mode & 0o7777,
            uid: raw.stx_uid,
            gid: raw.stx_gid,
            links: raw.stx_nlink,
            size: raw.stx_size,
            sectors: raw.stx_blocks,
            accessed: time(&raw.stx_atime),
            modified: time(&raw.stx_mtime),
            changed: time(&raw.stx_ctime),
            created: known.contains(StatxFlags::BTIME).then(|| time(&raw.stx_btime)),
            device: u64::from(raw.stx_dev_major) << 32 | u64::from(raw.stx_dev_minor),
            inode: raw.stx_ino,
            mount: known.contains(StatxFlags::MNT_ID).then_some(raw.stx_mnt_id),
        }
    }

    /// True for a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.kind == Some(FileType::Directory)
    }

    /// True if nothing says that the file changed between two looks.
    #[must_use]
    pub fn held_still(&self, later: &Self) -> bool {
        let state = |facts: &Self| (facts.kind, facts.inode, facts.device, facts.size, facts.modified, facts.changed);
        state(self) == state(later)
    }

    /// True if the file may have holes worth asking for: it takes less space than it is long, as compressed ones do, too, or it is long
    /// enough that space may have been reserved for what was never written.
    #[must_use]
    pub fn may_be_sparse(&self) -> bool {
        self.size >= RESERVED_BYTES || self.sectors.saturating_mul(512) < self.size
    }
}

fn file_type(mode: u16, (major, minor): (u32, u32)) -> Option<FileType> {
    Some(match RawType::from_raw_mode(mode.into()) {
        RawType::RegularFile => FileType::Regular,
        RawType::Directory => FileType::Directory,
        RawType::Symlink => FileType::Symlink,
        RawType::CharacterDevice => FileType::CharacterDevice(major, minor),
        RawType::BlockDevice => FileType::BlockDevice(major, minor),
        RawType::Fifo => FileType::Fifo,
        RawType::Socket => FileType::Socket,
        _ => return None,
    })
}

fn moment(time: &StatxTimestamp) -> Moment {
    Moment { seconds: time.tv_sec, nanoseconds: time.tv_nsec }
}
