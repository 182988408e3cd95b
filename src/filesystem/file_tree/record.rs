//! The record of an inode: its attributes, where its content lies, and where its names, link or attributes lie.

use super::layout::{FIRST_PLACE, RECORD_BYTES, RECORDS_FIRST};
use crate::base::bytes::{ByteReader, PutBytes, Truncated};
use crate::base::extent::Extent;
use crate::filesystem::inode::{FileKind, FileTime};

/// Bytes of a digest: enough that nobody finds two contents with one.
pub const DIGEST_BYTES: usize = 16;
/// The content could not be read.
const LOST: u8 = 1;
/// The file has holes, and the appendix says where its data is.
const SPARSE: u8 = 2;
/// The time of creation is known.
const CREATED: u8 = 4;
/// It changed whenever it was read.
const RESTLESS: u8 = 8;
const LENGTH: usize = RECORD_BYTES as usize;

/// What is kept of an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeRecord {
    /// What it is.
    pub kind: FileKind,
    /// Its content could not be read when the point was taken.
    pub lost: bool,
    /// Its appendix has a map of its data.
    pub sparse: bool,
    /// It changed whenever it was read.
    pub restless: bool,
    /// Permission bits.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Names that lead to it, as the source says.
    pub links: u32,
    /// Length of the content; of a directory, of its names here.
    pub size: u64,
    /// Space taken at the source, in units of 512 bytes.
    pub sectors: u64,
    /// Last change of the content.
    pub modified: FileTime,
    /// Last change of the inode.
    pub changed: FileTime,
    /// Last read.
    pub accessed: FileTime,
    /// When it was made.
    pub created: Option<FileTime>,
    /// Where the content begins, and how much room it has. Empty without content.
    pub content: Extent,
    /// Digest of packed content; zeros of longer one.
    pub content_digest: [u8; DIGEST_BYTES],
    /// Where its appendix lies: attributes, map of data, and names or link. Empty without one.
    pub appendix: Extent,
    /// Digest of the appendix.
    pub appendix_digest: [u8; DIGEST_BYTES],
    /// The source's number of its device.
    pub device: u64,
    /// The source's number of it.
    pub inode: u64,
}

impl TreeRecord {
    /// The 160 bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (kind, special) = kind_code(self.kind);
        let flag = |claim: bool, bit: u8| if claim { bit } else { 0 };
        let created = self.created.unwrap_or_default();
        let mut out = Vec::with_capacity(LENGTH);
        out.put_u8(kind);
        out.put_u8(
            flag(self.lost, LOST)
                | flag(self.sparse, SPARSE)
                | flag(self.created.is_some(), CREATED)
                | flag(self.restless, RESTLESS),
        );
        out.put_u16(self.mode);
        [self.uid, self.gid, self.links].into_iter().for_each(|number| out.put_u32(number));
        out.put_u64(self.size);
        out.put_u64(self.sectors);
        let times = [self.modified, self.changed, self.accessed, created];
        times.iter().for_each(|time| out.put(&time.seconds.to_le_bytes()));
        times.iter().for_each(|time| out.put_u32(time.nanoseconds));
        let place = special.unwrap_or((self.content.offset, self.content.length));
        out.put_u64(place.0);
        out.put_u64(place.1);
        out.put(&self.content_digest);
        out.put_u64(self.appendix.offset);
        out.put_u64(self.appendix.length);
        out.put(&self.appendix_digest);
        out.put_u64(self.device);
        out.put_u64(self.inode);
        out.resize(LENGTH, 0);
        out
    }

    /// Reads a record; nothing where no inode is. `Err` says what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, &'static str> {
        let mut reader = ByteReader::new(bytes);
        let fields = read_fields(&mut reader).map_err(|_| "it is cut short")?;
        let Fields {
            kind,
            flags,
            mode,
            owners: [uid, gid, links],
            size,
            sectors,
            seconds,
            nanoseconds,
            content,
            appendix,
            digests,
            source,
        } = fields;
        if kind == 0 {
            return Ok(None);
        }
        let time = |index: usize| {
            let nanoseconds = nanoseconds.get(index).copied().filter(|count| *count < 1_000_000_000)?;
            Some(FileTime { seconds: seconds.get(index).copied()?, nanoseconds })
        };
        let times = (|| Some((time(0)?, time(1)?, time(2)?, time(3)?)))();
        let (modified, changed, accessed, created) = times.ok_or("a time is none")?;
        let kind = parse_kind(kind, content).ok_or("it is of no known kind")?;
        let is_regular = kind == FileKind::Regular;
        let content = if is_regular { placed(content).ok_or("its content lies where none can be")? } else { Extent::new(0, 0) };
        let appendix = placed(appendix).ok_or("its appendix lies where none can be")?;
        if is_regular && size > content.length && flags & LOST == 0 {
            return Err("it is longer than its room");
        }
        Ok(Some(Self {
            kind,
            lost: flags & LOST != 0,
            sparse: flags & SPARSE != 0,
            restless: flags & RESTLESS != 0,
            mode: mode & 0xfff,
            uid,
            gid,
            links,
            size,
            sectors,
            modified,
            changed,
            accessed,
            created: (flags & CREATED != 0).then_some(created),
            content,
            content_digest: digests.0,
            appendix,
            appendix_digest: digests.1,
            device: source.0,
            inode: source.1,
        }))
    }

    /// True when the content shares chunks with others.
    #[must_use]
    pub fn is_packed(&self) -> bool {
        self.content_digest != [0; DIGEST_BYTES]
    }
}

struct Fields {
    kind: u8,
    flags: u8,
    mode: u16,
    owners: [u32; 3],
    size: u64,
    sectors: u64,
    seconds: [i64; 4],
    nanoseconds: [u32; 4],
    content: (u64, u64),
    appendix: (u64, u64),
    digests: ([u8; DIGEST_BYTES], [u8; DIGEST_BYTES]),
    source: (u64, u64),
}

fn read_fields(reader: &mut ByteReader<'_>) -> Result<Fields, Truncated> {
    let (kind, flags, mode) = (reader.u8()?, reader.u8()?, reader.u16()?);
    let owners = [reader.u32()?, reader.u32()?, reader.u32()?];
    let (size, sectors) = (reader.u64()?, reader.u64()?);
    let mut second = || reader.array().map(i64::from_le_bytes);
    let seconds = [second()?, second()?, second()?, second()?];
    let nanoseconds = [reader.u32()?, reader.u32()?, reader.u32()?, reader.u32()?];
    let content = (reader.u64()?, reader.u64()?);
    let content_digest = reader.array()?;
    let appendix = (reader.u64()?, reader.u64()?);
    let digests = (content_digest, reader.array()?);
    let source = (reader.u64()?, reader.u64()?);
    Ok(Fields { kind, flags, mode, owners, size, sectors, seconds, nanoseconds, content, appendix, digests, source })
}

/// A range among the places, or none.
fn placed((offset, length): (u64, u64)) -> Option<Extent> {
    let end = offset.checked_add(length)?;
    (length == 0 || (offset >= FIRST_PLACE && end <= RECORDS_FIRST)).then_some(Extent { offset, length })
}

fn kind_code(kind: FileKind) -> (u8, Option<(u64, u64)>) {
    match kind {
        FileKind::Regular => (1, None),
        FileKind::Directory => (2, None),
        FileKind::Symlink => (3, None),
        FileKind::CharacterDevice { major, minor } => (4, Some((major.into(), minor.into()))),
        FileKind::BlockDevice { major, minor } => (5, Some((major.into(), minor.into()))),
        FileKind::Fifo => (6, None),
        FileKind::Socket => (7, None),
    }
}

fn parse_kind(code: u8, (major, minor): (u64, u64)) -> Option<FileKind> {
    let (major, minor) = (u32::try_from(major), u32::try_from(minor));
    Some(match code {
        1 => FileKind::Regular,
        2 => FileKind::Directory,
        3 => FileKind::Symlink,
        4 => FileKind::CharacterDevice { major: major.ok()?, minor: minor.ok()? },
        5 => FileKind::BlockDevice { major: major.ok()?, minor: minor.ok()? },
        6 => FileKind::Fifo,
        7 => FileKind::Socket,
        _ => return None,
    })
}
