//! The record of an inode, and the page of 32 of them.
//!
//! ```text
//! page   := version u8 (1) | kind u8 (3) | count u16 | records | zeros
//! record := index in the page u8 | kind u8 | flags u8 | mode | uid | gid | links | size | modified | [changed] | generation u32
//!           | parent | name length u8 | name | [major | minor] | [content]         numbers are varints unless said otherwise
//! flags  := content in bits 0 and 1 | bit 2: changed when modified
//! time   := folded seconds | nanoseconds
//! ```

use super::content::{Content, MAX_CONTENT_BYTES};
use super::error::CatalogError;
use super::layout::{INODES_A_PAGE, PAGE_BYTES, Shelf, shelf};
use super::varint;
use crate::base::bytes::{ByteReader, PutBytes, Truncated};
use crate::filesystem::{FileKind, FileTime, Inode, MAX_NAME_BYTES, is_plain_name};

/// The version of every page.
pub(super) const VERSION: u8 = 1;
/// Version, kind and count.
pub(super) const PAGE_HEADER_BYTES: usize = 4;
const RECORDS: u8 = 3;
const SAME_TIMES: u8 = 4;

/// No record is longer: three bytes, mode, three numbers of 32 bits, the size, two times, the generation, the parent, the name with
/// its length, two device numbers, the content.
const MAX_RECORD_BYTES: usize = 3 + 3 + 15 + 10 + 2 * (10 + 5) + 4 + 10 + 1 + MAX_NAME_BYTES + 10 + MAX_CONTENT_BYTES;
const _: () = assert!(PAGE_HEADER_BYTES + MAX_RECORD_BYTES * INODES_A_PAGE as usize <= PAGE_BYTES);

/// What a catalog keeps of an inode, with the first of its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub inode: u64,
    /// What it is.
    pub kind: FileKind,
    /// Permission bits.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Names that lead to it, as the inode says.
    pub links: u32,
    /// Length in bytes.
    pub size: u64,
    /// Last change of the content.
    pub modified: FileTime,
    /// Last change of the inode.
    pub changed: FileTime,
    /// Changes when the number is used again.
    pub generation: u32,
    /// The directory that holds its first name; the root's own number for the root.
    pub parent: u64,
    /// That name; empty for the root.
    pub name: Vec<u8>,
    /// Where its bytes lie.
    pub content: Content,
}

impl Record {
    /// What an inode says. Its first name and the directory that holds it are the caller's to fill in.
    #[must_use]
    pub fn new(inode: &Inode, content: Content) -> Self {
        Self {
            inode: inode.number.0,
            kind: inode.kind,
            mode: inode.mode & 0xfff,
            uid: inode.uid,
            gid: inode.gid,
            links: inode.links,
            size: inode.size,
            modified: inode.modified,
            changed: inode.changed,
            generation: inode.generation,
            parent: 0,
            name: Vec::new(),
            content,
        }
    }

    /// True for a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.kind == FileKind::Directory
    }

    /// Appends the record.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let same = if self.modified == self.changed { SAME_TIMES } else { 0 };
        let (kind, device) = kind_code(self.kind);
        out.put_u8((self.inode % INODES_A_PAGE) as u8);
        out.put_u8(kind);
        out.put_u8(self.content.code() | same);
        for number in [self.mode.into(), self.uid.into(), self.gid.into(), self.links.into(), self.size] {
            varint::put(out, number);
        }
        put_time(out, self.modified);
        if same == 0 {
            put_time(out, self.changed);
        }
        out.put_u32(self.generation);
        varint::put(out, self.parent);
        out.put_u8(self.name.len() as u8);
        out.put(&self.name);
        if let Some((major, minor)) = device {
            varint::put(out, major.into());
            varint::put(out, minor.into());
        }
        self.content.encode(out);
    }

    /// Reads a record of the page whose first inode is `first`; the inner `None` is a value that no writer writes.
    pub(super) fn parse(first: u64, reader: &mut ByteReader<'_>) -> Result<Option<Self>, Truncated> {
        let (index, kind, flags) = (reader.u8()?, reader.u8()?, reader.u8()?);
        let mut number = || varint::take(reader);
        let (mode, uid, gid, links, size) = (number()?, number()?, number()?, number()?, number()?);
        let modified = take_time(reader)?;
        let changed = if flags & SAME_TIMES == 0 { take_time(reader)? } else { modified };
        let generation = reader.u32()?;
        let parent = varint::take(reader)?;
        let length = reader.u8()?;
        let name = reader.take(length.into())?.to_vec();
        let kind = parse_kind(kind, reader)?;
        let content = Content::parse(flags & 3, reader)?;
        let narrow = |value: u64| u32::try_from(value).ok();
        Ok((|| {
            Some(Self {
                inode: first.checked_add(index.into()).filter(|_| u64::from(index) < INODES_A_PAGE)?,
                kind: kind?,
                mode: u16::try_from(mode).ok().filter(|mode| *mode <= 0xfff)?,
                uid: narrow(uid)?,
                gid: narrow(gid)?,
                links: narrow(links)?,
                size,
                modified: modified?,
                changed: changed?,
                generation,
                parent,
                name,
                content: content?,
            })
        })())
    }
}

/// The page of these records, ascending.
pub(super) fn encode_page(records: &[Record]) -> Vec<u8> {
    let mut out = page_of(RECORDS, records.len());
    records.iter().for_each(|record| record.encode(&mut out));
    finish(out, records.is_empty())
}

/// The records of page `number`.
pub(super) fn parse_page(number: u64, page: &[u8]) -> Result<Vec<Record>, CatalogError> {
    let (mut reader, count) = open_page(number, page, RECORDS)?;
    let Shelf::Records(first) = shelf(number) else { return Err(CatalogError::page(number, "it cannot hold records")) };
    let mut records: Vec<Record> = Vec::new();
    for _ in 0..count {
        let record = Record::parse(first, &mut reader).map_err(CatalogError::cut(number))?;
        let record = record.filter(|record| is_plausible(record) && records.last().is_none_or(|last| last.inode < record.inode));
        records.push(record.ok_or_else(|| CatalogError::page(number, "a record holds what no writer writes"))?);
    }
    Ok(records)
}

fn is_plausible(record: &Record) -> bool {
    if record.parent == record.inode { record.name.is_empty() } else { is_plain_name(&record.name) }
}

/// The beginning of a page.
pub(super) fn page_of(kind: u8, count: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(PAGE_BYTES);
    out.put_u8(VERSION);
    out.put_u8(kind);
    out.put_u16(count as u16);
    out
}

/// Fills a page up; an empty one is zeros throughout, which is a hole.
pub(super) fn finish(mut page: Vec<u8>, empty: bool) -> Vec<u8> {
    if empty {
        page.clear();
    }
    page.resize(PAGE_BYTES, 0);
    page
}

/// Checks version and kind, and gives the count.
pub(super) fn open_page(number: u64, page: &[u8], kind: u8) -> Result<(ByteReader<'_>, usize), CatalogError> {
    let mut reader = ByteReader::new(page);
    let mut begin = || Ok((reader.u8()?, reader.u8()?, reader.u16()?));
    match begin().map_err(CatalogError::cut(number))? {
        (VERSION, found, count) if found == kind => Ok((reader, count.into())),
        (VERSION, found, _) => Err(CatalogError::page(number, format!("it is of kind {found} and should be of kind {kind}"))),
        (version, ..) => Err(CatalogError::page(number, format!("its version is {version}, and this icecore reads {VERSION}"))),
    }
}

fn put_time(out: &mut Vec<u8>, time: FileTime) {
    varint::put(out, varint::fold(time.seconds));
    varint::put(out, time.nanoseconds.into());
}

fn take_time(reader: &mut ByteReader<'_>) -> Result<Option<FileTime>, Truncated> {
    let (seconds, nanoseconds) = (varint::unfold(varint::take(reader)?), varint::take(reader)?);
    let nanoseconds = u32::try_from(nanoseconds).ok().filter(|nanoseconds| *nanoseconds < 1_000_000_000);
    Ok(nanoseconds.map(|nanoseconds| FileTime { seconds, nanoseconds }))
}

fn kind_code(kind: FileKind) -> (u8, Option<(u32, u32)>) {
    match kind {
        FileKind::Regular => (1, None),
        FileKind::Directory => (2, None),
        FileKind::Symlink => (3, None),
        FileKind::CharacterDevice { major, minor } => (4, Some((major, minor))),
        FileKind::BlockDevice { major, minor } => (5, Some((major, minor))),
        FileKind::Fifo => (6, None),
        FileKind::Socket => (7, None),
    }
}

fn parse_kind(code: u8, reader: &mut ByteReader<'_>) -> Result<Option<FileKind>, Truncated> {
    let device = |reader: &mut ByteReader<'_>| {
        let (major, minor) = (varint::take(reader)?, varint::take(reader)?);
        Ok(u32::try_from(major).ok().zip(u32::try_from(minor).ok()))
    };
    Ok(match code {
        1 => Some(FileKind::Regular),
        2 => Some(FileKind::Directory),
        3 => Some(FileKind::Symlink),
        4 => device(reader)?.map(|(major, minor)| FileKind::CharacterDevice { major, minor }),
        5 => device(reader)?.map(|(major, minor)| FileKind::BlockDevice { major, minor }),
        6 => Some(FileKind::Fifo),
        7 => Some(FileKind::Socket),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::content::Place;
    use crate::catalog::layout::record_page;

    fn longest(inode: u64) -> Record {
        let device = FileKind::BlockDevice { major: u32::MAX, minor: u32::MAX };
        let place = Place { file: u64::MAX >> 1, disk: u64::MAX, length: u64::MAX >> 1 };
        Record {
            inode,
            kind: device,
            mode: 0xfff,
            uid: u32::MAX,
            gid: u32::MAX,
            links: u32::MAX,
            size: u64::MAX,
            modified: FileTime { seconds: i64::MIN, nanoseconds: 999_999_999 },
            changed: FileTime { seconds: i64::MAX, nanoseconds: 999_999_999 },
            generation: u32::MAX,
            parent: u64::MAX,
            name: vec![b'x'; MAX_NAME_BYTES],
            content: Content::Places(vec![place; 4]),
        }
    }

    #[test]
    fn a_page_of_the_longest_records_has_room_for_all_of_them() {
        let mut one = Vec::new();
        longest(31).encode(&mut one);
        assert!(one.len() <= MAX_RECORD_BYTES && one.len() > MAX_RECORD_BYTES - 40, "{} of {MAX_RECORD_BYTES}", one.len());
        let records: Vec<Record> = (64..96).map(longest).collect();
        assert_eq!(encode_page(&records).len(), PAGE_BYTES);
    }

    #[test]
    fn records_come_back_as_they_were_written() {
        let plain = Record {
            kind: FileKind::Regular,
            content: Content::Places(vec![Place { file: 0, disk: 8192, length: 100 }, Place { file: 4096, disk: 0, length: 5 }]),
            changed: longest(0).modified,
            ..longest(65)
        };
        let root = Record { kind: FileKind::Directory, parent: 70, name: Vec::new(), content: Content::Unlisted, ..longest(70) };
        let records = vec![longest(64), plain, root];
        let mut expected = records.clone();
        // Runs are relative to each other, and those of the longest record lie beyond the end of the number line.
        expected[0].content = parse_page(record_page(64), &encode_page(&records[..1])).unwrap()[0].content.clone();
        assert_eq!(parse_page(record_page(64), &encode_page(&records)).unwrap(), expected);
        assert!(encode_page(&[]).iter().all(|byte| *byte == 0));
    }

    #[test]
    fn pages_that_no_writer_writes_are_refused() {
        let page = record_page(64);
        let good = encode_page(&[longest(64), longest(65)]);
        for (at, byte) in [(0, 2), (1, 5), (2, 200), (4, 32), (5, 9), (4, 1)] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert!(parse_page(page, &bad).is_err(), "byte {at} is {byte}");
        }
        assert!(parse_page(page, &good[..600]).is_err());
        assert!(parse_page(0, &good).is_err());
        for name in [&b"a/b"[..], b"", b"..", b"a\0"] {
            assert!(parse_page(page, &encode_page(&[Record { name: name.to_vec(), ..longest(64) }])).is_err(), "{name:?}");
        }
    }
}
