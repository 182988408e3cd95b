//! A POSIX archive as the target: a stream that any tar reads.

use std::fmt;
use std::io::{ErrorKind, Write};
use std::mem;

use super::Destination;
use super::attributes::Attributes;
use super::refusal::{Refusal, Remarks, system_error};
use super::stream::{ZEROS, write_zeros};
use super::tar_entry::{BLOCK_BYTES, EntryFacts, EntryKind};
use crate::base::extent::{Extent, ExtentSet};
use crate::filesystem::{FileKind, Spot, printable};
use crate::job::JobError;

/// A file up to this long is written once it is known to be whole, so that a bad one is left out like any other. Of a longer one the
/// beginning is gone by then.
const HELD_BYTES: usize = 4 << 20;
/// Less is not worth a list.
const WORTHWHILE_BYTES: u64 = 64 << 10;
/// What a reader that knows no holes calls such a file; it gets the list and the pieces.
const SPARSE_NAME: &[u8] = b"GNUSparseFile.0/file";
/// An archive ends with two empty blocks; by habit it is filled up to twenty.
const RECORD_BYTES: u64 = 20 * BLOCK_BYTES as u64;

/// An archive that is being written.
pub struct Archive<'a> {
    out: &'a mut dyn Write,
    /// Bytes of the archive until now, those that are held included.
    length: u64,
    held: Vec<u8>,
    file: Option<OpenEntry>,
}

/// The file whose content comes now.
#[derive(Debug)]
struct OpenEntry {
    size: u64,
    at: u64,
    /// Where in the archive it began.
    start: u64,
    /// A part of it was written already.
    is_out: bool,
    /// The bytes that the archive holds.
    written: ExtentSet,
}

impl fmt::Debug for Archive<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archive").field("length", &self.length).finish_non_exhaustive()
    }
}

impl<'a> Archive<'a> {
    /// An archive that goes to `out`.
    #[must_use]
    pub fn new(out: &'a mut dyn Write) -> Self {
        Self { out, length: 0, held: Vec::new(), file: None }
    }

    fn header(&mut self, facts: &EntryFacts<'_>, attributes: &Attributes, more: Vec<(Vec<u8>, Vec<u8>)>) -> Remarks {
        let mut remarks = Remarks::default();
        let mut records = more;
        for xattr in &attributes.xattrs {
            if xattr.name.contains(&b'=') {
                remarks.altered.push(format!("its attribute {}: an archive cannot hold this name", printable(&xattr.name)));
            } else {
                records.push(([b"SCHILY.xattr.", xattr.name.as_slice()].concat(), xattr.value.clone()));
            }
        }
        let encoded = facts.encode(&records);
        self.length += encoded.len() as u64;
        self.held.extend_from_slice(&encoded);
        remarks
    }

    /// A file with holes, as GNU tar 1.0 writes them: its name and size in records, and a list of its pieces before their bytes.
    fn sparse_header(&mut self, path: &[u8], attributes: &Attributes, size: u64, written: &ExtentSet) -> Remarks {
        let pieces = written.as_slice().iter().flat_map(|piece| [piece.offset, piece.length]);
        // A hole at the end is told by an empty piece behind it.
        let ends_in_hole = written.as_slice().last().is_none_or(|last| last.end() < size);
        let end = ends_in_hole.then_some([size, 0]).into_iter().flatten();
        let count = written.count() as u64 + u64::from(ends_in_hole);
        let lines = [count].into_iter().chain(pieces).chain(end);
        let mut list: Vec<u8> = lines.flat_map(|number| format!("{number}\n").into_bytes()).collect();
        list.resize(list.len().next_multiple_of(BLOCK_BYTES), 0);
        let record = |key: &str, value: &[u8]| (format!("GNU.sparse.{key}").into_bytes(), value.to_vec());
        let size = size.to_string();
        let records = [("major", &b"1"[..]), ("minor", b"0"), ("name", path), ("realsize", size.as_bytes())];
        let records = records.map(|(key, value)| record(key, value)).to_vec();
        let stored = list.len() as u64 + written.bytes();
        let remarks = self.header(&EntryFacts { size: stored, ..facts(SPARSE_NAME, attributes) }, attributes, records);
        self.length += list.len() as u64;
        self.held.extend_from_slice(&list);
        remarks
    }

    /// Puts zeros for what is missing up to `offset` of the file, holes excepted.
    fn skip_to(&mut self, offset: u64) -> Result<(), Refusal> {
        let Some(file) = &self.file else { return Err(Refusal::Here("no file is open".to_owned())) };
        let skipped = Extent::between(file.at, offset);
        let zeros = file.written.intersection(&skipped.into()).bytes();
        self.push_zeros(zeros)
    }

    /// Takes content, and lets it out once it is more than is held.
    fn push(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.length += bytes.len() as u64;
        self.held.extend_from_slice(bytes);
        if self.held.len() > HELD_BYTES {
            self.let_out()?;
        }
        Ok(())
    }

    fn push_zeros(&mut self, count: u64) -> Result<(), Refusal> {
        for piece in Extent::new(0, count).cut(ZEROS.len() as u64) {
            let length = usize::try_from(piece.length).unwrap_or(ZEROS.len());
            self.push(ZEROS.get(..length).unwrap_or(ZEROS))?;
        }
        Ok(())
    }

    fn let_out(&mut self) -> Result<(), Refusal> {
        if let Some(file) = &mut self.file {
            file.is_out = true;
        }
        let written = self.out.write_all(&self.held);
        self.held.clear();
        written.map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe => Refusal::Stop(JobError::Output(error)),
            _ => system_error("write the archive", b"", &error),
        })
    }

    /// An entry without content.
    fn entry(&mut self, spot: &Spot<'_>, kind: EntryKind, target: &[u8], attributes: &Attributes) -> Result<Remarks, Refusal> {
        let mut path = spot.path();
        if kind == EntryKind::Directory {
            path = if path.is_empty() { b"./".to_vec() } else { [&path, &b"/"[..]].concat() };
        }
        let facts = EntryFacts { kind, target, ..facts(&path, attributes) };
        let remarks = self.header(&facts, attributes, Vec::new());
        if self.held.len() > HELD_BYTES { self.let_out().map(|()| remarks) } else { Ok(remarks) }
    }
}

impl Destination for Archive<'_> {
    fn enter(&mut self, spot: &Spot<'_>, attributes: &Attributes) -> Result<Remarks, Refusal> {
        self.entry(spot, EntryKind::Directory, b"", attributes)
    }

    fn leave(&mut self) -> Result<Remarks, Refusal> {
        Ok(Remarks::default())
    }

    fn asks_for_written(&self) -> bool {
        true
    }

    fn begin(
        &mut self,
        spot: &Spot<'_>,
        attributes: &Attributes,
        size: u64,
        written: Option<ExtentSet>,
    ) -> Result<Remarks, Refusal> {
        // What is held belongs to entries that are complete.
        self.let_out()?;
        let (start, path) = (self.length, spot.path());
        let whole = ExtentSet::whole(size);
        let written = written.filter(|written| whole.bytes() - written.bytes() >= WORTHWHILE_BYTES);
        let remarks = match &written {
            Some(written) => self.sparse_header(&path, attributes, size, written),
            None => self.header(&EntryFacts { size, ..facts(&path, attributes) }, attributes, Vec::new()),
        };
        self.file = Some(OpenEntry { size, at: 0, start, is_out: false, written: written.unwrap_or(whole) });
        Ok(remarks)
    }

    fn write(&mut self, extent: Extent, bytes: &[u8]) -> Result<(), Refusal> {
        self.skip_to(extent.offset)?;
        if let Some(file) = &mut self.file {
            file.at = extent.end();
        }
        self.push(bytes)
    }

    fn end(&mut self, _spot: &Spot<'_>, _attributes: &Attributes) -> Result<Remarks, Refusal> {
        let size = self.file.as_ref().map_or(0, |file| file.size);
        self.skip_to(size)?;
        self.push_zeros(self.length.next_multiple_of(BLOCK_BYTES as u64) - self.length)?;
        self.file = None;
        Ok(Remarks::default())
    }

    fn give_up(&mut self, spot: &Spot<'_>, why: Refusal) -> Refusal {
        match (self.file.take(), why) {
            (Some(OpenEntry { is_out: false, start, .. }), why) => {
                self.held = Vec::new();
                self.length = start;
                why
            }
            (_, Refusal::Here(reason) | Refusal::Withheld(reason)) => {
                Refusal::Stop(JobError::ArchiveCut { path: printable(&spot.path()), reason })
            }
            (_, stop @ Refusal::Stop(_)) => stop,
        }
    }

    fn link(&mut self, spot: &Spot<'_>, attributes: &Attributes, first: &[u8]) -> Result<(), Refusal> {
        // A further name has the attributes of the first.
        let attributes = Attributes { xattrs: Vec::new(), ..attributes.clone() };
        self.entry(spot, EntryKind::HardLink, first, &attributes).map(drop)
    }

    fn symlink(&mut self, spot: &Spot<'_>, attributes: &Attributes, target: &[u8]) -> Result<Remarks, Refusal> {
        self.entry(spot, EntryKind::Symlink, target, attributes)
    }

    fn special(&mut self, spot: &Spot<'_>, attributes: &Attributes) -> Result<Remarks, Refusal> {
        let kind = match attributes.kind {
            FileKind::CharacterDevice { .. } => EntryKind::CharacterDevice,
            FileKind::BlockDevice { .. } => EntryKind::BlockDevice,
            FileKind::Fifo => EntryKind::Fifo,
            FileKind::Socket | FileKind::Regular | FileKind::Directory | FileKind::Symlink => {
                return Err(Refusal::Withheld("it is a socket, which an archive cannot hold".to_owned()));
            }
        };
        self.entry(spot, kind, b"", attributes)
    }

    fn finish(&mut self) -> Result<(), JobError> {
        let held = mem::take(&mut self.held);
        let end = (self.length + 2 * BLOCK_BYTES as u64).next_multiple_of(RECORD_BYTES);
        let ended = self.out.write_all(&held).and_then(|()| write_zeros(self.out, end - self.length));
        ended.and_then(|()| self.out.flush()).map_err(JobError::Output)
    }
}

/// A plain file of no length.
fn facts<'a>(path: &'a [u8], attributes: &Attributes) -> EntryFacts<'a> {
    let device = match attributes.kind {
        FileKind::CharacterDevice { major, minor } | FileKind::BlockDevice { major, minor } => (major, minor),
        _ => (0, 0),
    };
    EntryFacts {
        kind: EntryKind::File,
        path,
        target: b"",
        mode: attributes.mode,
        uid: attributes.uid,
        gid: attributes.gid,
        size: 0,
        accessed: attributes.accessed,
        modified: attributes.modified,
        device,
    }
}
