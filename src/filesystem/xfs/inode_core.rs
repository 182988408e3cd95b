//! The inode as it lies on disk: what it is, whose, how long, when, and how its forks are kept.

use super::disk::Disk;
use super::geometry::Geometry;
use super::seal::INODE;
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::fields::Fields;
use crate::filesystem::inode::{FileKind, FileTime, Inode, InodeNumber};

/// Where the data fork begins: behind the core of version 1 and 2, or of 3.
const CORE_BYTES_2: usize = 100;
const CORE_BYTES_3: usize = 176;
/// `di_flags`: the content lies on the realtime device.
const REALTIME: u16 = 0x1;
/// `di_flags2`: times count nanoseconds; extent counters are wide.
const BIG_TIME: u64 = 0x8;
const WIDE_COUNTERS: u64 = 0x10;
/// Large timestamps count from the smallest that a signed 32-bit number of seconds could say.
const BIG_TIME_EPOCH_SECONDS: i64 = 1 << 31;
/// What `stat` counts space in, whatever a sector is.
const SECTOR_BYTES: u32 = 512;
const NANOSECONDS: u64 = 1_000_000_000;
const LAST_NANOSECOND: u32 = 999_999_999;

/// `di_format` and `di_aformat`.
pub(super) const FORMAT_DEVICE: u8 = 0;
pub(super) const FORMAT_LOCAL: u8 = 1;
pub(super) const FORMAT_RUNS: u8 = 2;
pub(super) const FORMAT_TREE: u8 = 3;

/// The bytes of an inode, checked.
#[derive(Debug)]
pub(super) struct Core {
    number: u64,
    raw: Box<[u8]>,
    kind: Option<FileKind>,
    links: u32,
    sectors: u64,
    times: [FileTime; 3],
    created: Option<FileTime>,
}

/// What is read again from an inode that was checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout<'a> {
    fields: Fields<'a>,
}

impl Core {
    /// Reads the inode that lies at byte `at`.
    pub(super) fn read(disk: &Disk, number: u64, at: u64) -> Result<Self, FilesystemError> {
        let mut raw = disk.read(Object::Inode(number), at, disk.geometry().inode_bytes.into())?;
        disk.mend(Object::Inode(number), at, &INODE, &mut raw);
        Self::parse(disk.geometry(), number, at, raw)
    }

    /// The inode in bytes that were read from byte `at`.
    pub(super) fn parse(geometry: &Geometry, number: u64, at: u64, raw: Vec<u8>) -> Result<Self, FilesystemError> {
        let fields = Fields::new(&raw, Object::Inode(number), at);
        check(geometry, &fields, number, at)?;
        let layout = Layout::of(fields);
        let (kind, links, created) = (layout.kind()?, layout.links()?, layout.created()?);
        let times = [layout.time(32)?, layout.time(40)?, layout.time(48)?];
        let sectors = fields.be64(64)?.saturating_mul(u64::from(geometry.block_bytes() / SECTOR_BYTES));
        Ok(Self { number, kind, links, sectors, times, created, raw: raw.into() })
    }

    /// True for an inode that belongs to nothing: neither a file nor one that waits to be deleted.
    pub(super) fn is_free(&self) -> bool {
        self.kind.is_none()
    }

    /// The inode as every filesystem shows it; `None` for one that is free, or that only waits to be deleted.
    pub(super) fn into_inode(self) -> Result<Option<Inode>, FilesystemError> {
        let (Some(kind), links @ 1..) = (self.kind, self.links) else { return Ok(None) };
        let fields = Fields::new(&self.raw, Object::Inode(self.number), 0);
        let [accessed, modified, changed] = self.times;
        Ok(Some(Inode {
            number: InodeNumber(self.number),
            generation: fields.be32(92)?,
            kind,
            mode: fields.be16(2)? & 0o7777,
            uid: fields.be32(8)?,
            gid: fields.be32(12)?,
            links,
            size: fields.be64(56)?,
            sectors: self.sectors,
            accessed,
            modified,
            changed,
            created: self.created,
            encrypted: false,
            raw: self.raw,
        }))
    }
}

/// What the kernel asks of an inode before it shows it.
fn check(geometry: &Geometry, fields: &Fields<'_>, number: u64, at: u64) -> Result<(), FilesystemError> {
    if fields.slice(0, 2)? != b"IN" {
        return Err(fields.corrupt("no inode lies there"));
    }
    INODE.check(fields, geometry, at, number)?;
    let version = fields.u8(4)?;
    if (version == 3) != geometry.crc || !(1..=3).contains(&version) {
        return Err(fields.corrupt(format!("an inode of version {version}")));
    }
    if fields.be64(56)? > i64::MAX.unsigned_abs() {
        return Err(fields.corrupt("its size is negative"));
    }
    Ok(())
}

impl<'a> Layout<'a> {
    /// The layout of an inode that was read before.
    pub(super) fn of(fields: Fields<'a>) -> Self {
        Self { fields }
    }

    fn is_version_3(&self) -> Result<bool, FilesystemError> {
        Ok(self.fields.u8(4)? == 3)
    }

    fn flags2(&self) -> Result<u64, FilesystemError> {
        if self.is_version_3()? { self.fields.be64(120) } else { Ok(0) }
    }

    /// What it is; `None` for a mode of zero, which is a free inode.
    fn kind(&self) -> Result<Option<FileKind>, FilesystemError> {
        let (mode, format) = (self.fields.be16(2)?, self.format()?);
        let (kind, formats) = match mode >> 12 {
            _ if mode == 0 => return Ok(None),
            0o01 => (FileKind::Fifo, [FORMAT_DEVICE].as_slice()),
            0o02 => (self.device(true)?, [FORMAT_DEVICE].as_slice()),
            0o04 => (FileKind::Directory, [FORMAT_LOCAL, FORMAT_RUNS, FORMAT_TREE].as_slice()),
            0o06 => (self.device(false)?, [FORMAT_DEVICE].as_slice()),
            0o10 => (FileKind::Regular, [FORMAT_RUNS, FORMAT_TREE].as_slice()),
            0o12 => (FileKind::Symlink, [FORMAT_LOCAL, FORMAT_RUNS].as_slice()),
            0o14 => (FileKind::Socket, [FORMAT_DEVICE].as_slice()),
            _ => return Err(self.fields.corrupt(format!("its mode {mode:#o} is no kind of file"))),
        };
        if formats.contains(&format) {
            return Ok(Some(kind));
        }
        Err(self.fields.corrupt(format!("its content has format {format}, which mode {mode:#o} does not have")))
    }

    fn device(&self, character: bool) -> Result<FileKind, FilesystemError> {
        let number = self.fields.be32(self.data_at()?)?;
        let (major, minor) = (number >> 18 & 0x3fff, number & 0x3_ffff);
        Ok(if character { FileKind::CharacterDevice { major, minor } } else { FileKind::BlockDevice { major, minor } })
    }

    fn links(&self) -> Result<u32, FilesystemError> {
        if self.fields.u8(4)? == 1 { Ok(self.fields.be16(6)?.into()) } else { self.fields.be32(16) }
    }

    fn created(&self) -> Result<Option<FileTime>, FilesystemError> {
        if self.is_version_3()? { self.time(144).map(Some) } else { Ok(None) }
    }

    fn time(&self, offset: usize) -> Result<FileTime, FilesystemError> {
        if self.flags2()? & BIG_TIME != 0 {
            return Ok(big_time(self.fields.be64(offset)?));
        }
        Ok(small_time(i32::from_be_bytes(self.fields.array(offset)?), self.fields.be32(offset + 4)?))
    }

    /// True when the content lies on the realtime device.
    pub(super) fn is_realtime(&self) -> Result<bool, FilesystemError> {
        Ok(self.fields.be16(90)? & REALTIME != 0)
    }

    /// How the data fork is kept.
    pub(super) fn format(&self) -> Result<u8, FilesystemError> {
        self.fields.u8(5)
    }

    /// How the attribute fork is kept.
    pub(super) fn attribute_format(&self) -> Result<u8, FilesystemError> {
        self.fields.u8(83)
    }

    fn data_at(&self) -> Result<usize, FilesystemError> {
        Ok(if self.is_version_3()? { CORE_BYTES_3 } else { CORE_BYTES_2 })
    }

    /// Bytes of the data fork, and those of the attribute fork if there is one.
    pub(super) fn forks(&self) -> Result<(&'a [u8], Option<&'a [u8]>), FilesystemError> {
        let all = self.fields.bytes().get(self.data_at()?..).unwrap_or_default();
        match usize::from(self.fields.u8(82)?) * 8 {
            0 => Ok((all, None)),
            split => match all.split_at_checked(split) {
                Some((data, attributes)) if !attributes.is_empty() => Ok((data, Some(attributes))),
                _ => Err(self.fields.corrupt(format!("its attributes begin at byte {split} of {}", all.len()))),
            },
        }
    }

    /// Runs in the data fork.
    pub(super) fn data_runs(&self) -> Result<u64, FilesystemError> {
        if self.flags2()? & WIDE_COUNTERS != 0 { self.fields.be64(24) } else { Ok(self.fields.be32(76)?.into()) }
    }

    /// Runs in the attribute fork.
    pub(super) fn attribute_runs(&self) -> Result<u64, FilesystemError> {
        let wide = self.flags2()? & WIDE_COUNTERS != 0;
        Ok(if wide { self.fields.be32(76)?.into() } else { self.fields.be16(80)?.into() })
    }
}

/// A moment in two words, of which the second can say more than there is in a second.
fn small_time(seconds: i32, nanoseconds: u32) -> FileTime {
    FileTime { seconds: seconds.into(), nanoseconds: nanoseconds.min(LAST_NANOSECOND) }
}

/// A moment that is kept as nanoseconds since the end of 1901.
fn big_time(nanoseconds: u64) -> FileTime {
    let seconds = i64::try_from(nanoseconds / NANOSECONDS).unwrap_or(i64::MAX) - BIG_TIME_EPOCH_SECONDS;
    FileTime { seconds, nanoseconds: u32::try_from(nanoseconds % NANOSECONDS).unwrap_or(0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_timestamps_have_no_more_nanoseconds_than_a_second() {
        let check = |seconds, nanoseconds, expected| assert_eq!(small_time(seconds, nanoseconds).nanoseconds, expected);
        check(-1, 0, 0);
        check(0, 999_999_999, 999_999_999);
        check(0, 1_000_000_000, 999_999_999);
        check(i32::MIN, u32::MAX, 999_999_999);
        assert_eq!(small_time(i32::MIN, 7).seconds, -(1 << 31));
    }

    #[test]
    fn large_timestamps_count_from_1901() {
        let at = |nanoseconds| {
            let time = big_time(nanoseconds);
            (time.seconds, time.nanoseconds)
        };
        assert_eq!(at(0), (-(1 << 31), 0));
        assert_eq!(at((1 << 31) * NANOSECONDS + 7), (0, 7));
        assert_eq!(at(u64::MAX), (16_299_260_425, 709_551_615));
    }
}
