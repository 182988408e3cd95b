//! A tree of files that was taken from a mounted filesystem, laid out as a volume: read behind the same face as ext4 and XFS.
//!
//! ```text
//!   header | contents and appendices, packed or by chunks | records by number | state
//! ```
//! `docs/format.md` describes the bytes, and `docs/decisions/0010-file-trees.md` why they lie so. What encodes them stands beside what
//! reads them; who writes a tree decides the places.

mod appendix;
mod header;
mod layout;
mod record;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::sync::Arc;

pub use appendix::{MAX_RUNS, encode_front, encode_name, names_in};
pub use header::{TreeHeader, TreeState};
pub use layout::{FIRST_PLACE, MAX_NUMBER, RECORD_BYTES, RECORDS_FIRST, ROOT, STATE_PLACE, VOLUME_BYTES, record_place};
pub use record::{DIGEST_BYTES, TreeRecord};

use super::allocation::Allocation;
use super::cache::{Cached, METADATA_CACHE_BYTES};
use super::error::{FilesystemError, Object};
use super::face::{Entry, Filesystem, Identity, Kind, Segment, Source, Xattr};
use super::inode::{FileKind, Inode, InodeNumber};
use super::view::View;
use crate::base::bytes::ByteReader;
use crate::base::extent::{Extent, ExtentSet};
use crate::base::io::{IoError, ReadAt};
use appendix::{FRONT_BYTES, MAX_TARGET_BYTES, Parts, parse_attributes, parse_map, take_names};
use header::{HEADER_BYTES, STATE_BYTES};
use layout::MAGIC;

/// Names are read in pieces of this length. The longest name takes 264 bytes.
const PIECE_BYTES: u64 = 32 << 10;
/// Records are read in runs of this many when all are wanted.
const RECORDS_TOGETHER: u64 = 4096;
/// What a tree calls a block: places are told to the byte.
const BLOCK_BYTES: u32 = 512;
/// Places that nothing uses, in one list.
pub const MAX_IDLE: usize = 1 << 18;

/// A file tree.
#[derive(Debug)]
pub struct FileTree {
    volume: Cached,
    header: TreeHeader,
    state: TreeState,
    identity: Identity,
}

impl FileTree {
    /// True if a file tree begins here.
    pub(super) fn is_here(source: &dyn ReadAt) -> bool {
        let mut magic = [0; MAGIC.len()];
        source.size() == VOLUME_BYTES && source.read_at(0, &mut magic).is_ok() && magic == *MAGIC
    }

    /// Opens the tree that `source` holds.
    pub fn open(source: Arc<dyn ReadAt>) -> Result<Self, FilesystemError> {
        let mut bytes = vec![0; HEADER_BYTES];
        let read = |at, bytes: &mut [u8]| source.read_at(at, bytes).map_err(io(Object::Superblock));
        read(0, &mut bytes)?;
        let header = TreeHeader::parse(&bytes).map_err(|what| FilesystemError::corrupt(Object::Superblock, 0, what))?;
        let mut bytes = [0; STATE_BYTES];
        read(STATE_PLACE, &mut bytes)?;
        let state = TreeState::parse(&bytes).map_err(|what| FilesystemError::corrupt(Object::Superblock, STATE_PLACE, what))?;
        let identity = Identity {
            kind: Kind::FileTree,
            uuid: header.uuid,
            label: header.label.clone(),
            block_bytes: BLOCK_BYTES,
            size: VOLUME_BYTES,
        };
        Ok(Self { volume: Cached::new(source, METADATA_CACHE_BYTES), header, state, identity })
    }

    /// What it says of itself.
    #[must_use]
    pub fn header(&self) -> &TreeHeader {
        &self.header
    }

    /// How far it has been written.
    #[must_use]
    pub fn state(&self) -> &TreeState {
        &self.state
    }

    /// The record of an inode, if there is one.
    pub fn record(&self, number: u64) -> Result<Option<TreeRecord>, FilesystemError> {
        if number >= self.state.next_number {
            return Ok(None);
        }
        let mut bytes = [0; RECORD_BYTES as usize];
        self.read_at(Object::Inode(number), record_place(number), &mut bytes)?;
        parse_record(number, &bytes)
    }

    /// Shows all records, ascending by number.
    pub fn each_record<E: From<FilesystemError>>(&self, visit: &mut dyn FnMut(u64, TreeRecord) -> Result<(), E>) -> Result<(), E> {
        let mut bytes = Vec::new();
        for run in Extent::new(0, self.state.next_number).cut(RECORDS_TOGETHER) {
            bytes.resize(to_length(run.length * RECORD_BYTES), 0);
            self.read_at(Object::Inode(run.offset), record_place(run.offset), &mut bytes)?;
            for (number, bytes) in (run.offset..).zip(bytes.chunks_exact(RECORD_BYTES as usize)) {
                if let Some(record) = parse_record(number, bytes)? {
                    visit(number, record)?;
                }
            }
        }
        Ok(())
    }

    /// The places that nothing uses and that are no holes yet.
    pub fn idle(&self) -> Result<ExtentSet, FilesystemError> {
        let list = self.state.idle;
        if list.length > MAX_IDLE as u64 * 16 {
            return Err(FilesystemError::corrupt(Object::Superblock, STATE_PLACE, "its list of unused places is too long"));
        }
        let mut bytes = vec![0; to_length(list.length)];
        self.read_at(Object::Superblock, list.offset, &mut bytes)?;
        let mut reader = ByteReader::new(&bytes);
        let mut idle = Vec::new();
        while let (Ok(offset), Ok(length)) = (reader.u64(), reader.u64()) {
            idle.push(Extent::new(offset, length).intersect(&Extent::between(FIRST_PLACE, self.state.next_place)));
        }
        Ok(idle.into_iter().collect())
    }

    fn read_at(&self, object: Object, at: u64, out: &mut [u8]) -> Result<(), FilesystemError> {
        self.volume.read_at(at, out).map_err(io(object))
    }

    fn record_of(&self, inode: &Inode) -> Result<TreeRecord, FilesystemError> {
        parse_record(inode.number.0, &inode.raw)?.ok_or_else(|| not_found(inode.number.0))
    }

    /// Where the parts of an appendix lie in the volume; `None` without one.
    fn parts(&self, object: Object, record: &TreeRecord) -> Result<Option<Parts>, FilesystemError> {
        let place = record.appendix;
        if place.is_empty() {
            return Ok(None);
        }
        let mut front = [0; FRONT_BYTES];
        self.read_at(object, place.offset, &mut front)?;
        let parts = Parts::parse(&front, place.length).map_err(|what| FilesystemError::corrupt(object, place.offset, what))?;
        let moved = |part: Extent| Extent::new(place.offset.saturating_add(part.offset), part.length);
        Ok(Some(Parts { attributes: moved(parts.attributes), map: moved(parts.map), body: moved(parts.body) }))
    }

    fn bytes_of(&self, object: Object, part: Extent) -> Result<Vec<u8>, FilesystemError> {
        let mut bytes = vec![0; to_length(part.length)];
        self.read_at(object, part.offset, &mut bytes)?;
        Ok(bytes)
    }

    /// Where a sparse file has data.
    fn runs(&self, number: u64, record: &TreeRecord) -> Result<Vec<Extent>, FilesystemError> {
        let object = Object::Map(number);
        let Some(parts) = self.parts(object, record)? else { return Ok(Vec::new()) };
        let bytes = self.bytes_of(object, parts.map)?;
        parse_map(&bytes, record.size)
            .ok_or_else(|| FilesystemError::corrupt(object, parts.map.offset, "it is no map of such a file"))
    }
}

impl Filesystem for FileTree {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn view(&self) -> &View {
        &View::Clean
    }

    fn volume(&self) -> &dyn ReadAt {
        &self.volume
    }

    fn root(&self) -> InodeNumber {
        InodeNumber(ROOT)
    }

    fn inode(&self, number: InodeNumber) -> Result<Inode, FilesystemError> {
        let record = self.record(number.0)?.ok_or_else(|| not_found(number.0))?;
        Ok(Inode {
            uid: record.uid,
            gid: record.gid,
            links: record.links,
            size: record.size,
            sectors: record.sectors,
            accessed: record.accessed,
            modified: record.modified,
            changed: record.changed,
            created: record.created,
            raw: record.encode().into(),
            ..Inode::made_up(number, record.kind, record.mode)
        })
    }

    fn list(&self, directory: &Inode, visit: &mut dyn FnMut(Entry) -> ControlFlow<()>) -> Result<(), FilesystemError> {
        let object = Object::Directory(directory.number.0);
        let record = self.record_of(directory)?;
        refuse_lost(object, &record)?;
        let Some(parts) = self.parts(object, &record)? else { return Ok(()) };
        let (mut at, end, mut broke) = (parts.body.offset, parts.body.end(), false);
        while at < end && !broke {
            let bytes = self.bytes_of(object, Extent::between(at, end.min(at.saturating_add(PIECE_BYTES))))?;
            let taken = take_names(&bytes, &mut |entry| {
                broke = visit(entry).is_break();
                !broke
            });
            match taken.map_err(|what| FilesystemError::corrupt(object, at, what))? {
                0 => return Err(FilesystemError::corrupt(object, at, "it ends within a name")),
                taken => at = at.saturating_add(taken as u64),
            }
        }
        Ok(())
    }

    fn map(&self, file: &Inode, range: Extent) -> Result<Vec<Segment>, FilesystemError> {
        let record = self.record_of(file)?;
        let range = range.intersect(&Extent::new(0, record.size));
        if range.is_empty() {
            return Ok(Vec::new());
        }
        if record.lost {
            return Ok(vec![Segment { extent: range, source: Source::Lost(LOST_REASON.to_owned()) }]);
        }
        let content = match record.kind {
            FileKind::Directory => self.parts(Object::Map(file.number.0), &record)?.map_or(0, |parts| parts.body.offset),
            _ => record.content.offset,
        };
        let at = |extent: Extent| Segment { extent, source: Source::Disk(content.saturating_add(extent.offset)) };
        if !record.sparse {
            return Ok(vec![at(range)]);
        }
        let runs = self.runs(file.number.0, &record)?;
        let mut segments = Vec::new();
        let mut next = range.offset;
        let hole = |from, to| Segment { extent: Extent::between(from, to), source: Source::Hole };
        let first = runs.partition_point(|run| run.end() <= range.offset);
        for run in runs.iter().skip(first).map(|run| run.intersect(&range)).take_while(|run| !run.is_empty()) {
            if run.offset > next {
                segments.push(hole(next, run.offset));
            }
            segments.push(at(run));
            next = run.end();
        }
        if next < range.end() {
            segments.push(hole(next, range.end()));
        }
        Ok(segments)
    }

    fn link_target(&self, link: &Inode) -> Result<Vec<u8>, FilesystemError> {
        let object = Object::Link(link.number.0);
        let record = self.record_of(link)?;
        refuse_lost(object, &record)?;
        let body = self.parts(object, &record)?.map_or(Extent::new(0, 0), |parts| parts.body);
        if body.length > MAX_TARGET_BYTES {
            return Err(FilesystemError::corrupt(object, body.offset, "it is longer than a target can be"));
        }
        self.bytes_of(object, body)
    }

    fn xattrs(&self, inode: &Inode) -> Result<Vec<Xattr>, FilesystemError> {
        let object = Object::Attributes(inode.number.0);
        let Some(parts) = self.parts(object, &self.record_of(inode)?)? else { return Ok(Vec::new()) };
        let bytes = self.bytes_of(object, parts.attributes)?;
        parse_attributes(&bytes).map_err(|error| FilesystemError::corrupt(object, parts.attributes.offset, error.to_string()))
    }

    fn allocation(&self) -> Allocation {
        Allocation::doubtful(VOLUME_BYTES, "a file tree has no free space: what nothing uses is a hole already")
    }

    fn inode_location(&self, number: InodeNumber) -> Option<Extent> {
        (number.0 < MAX_NUMBER).then(|| Extent::new(record_place(number.0), RECORD_BYTES))
    }
}

const LOST_REASON: &str = "it could not be read when the point was taken";

fn refuse_lost(object: Object, record: &TreeRecord) -> Result<(), FilesystemError> {
    if record.lost { Err(FilesystemError::Lost { object, reason: LOST_REASON.to_owned() }) } else { Ok(()) }
}

fn parse_record(number: u64, bytes: &[u8]) -> Result<Option<TreeRecord>, FilesystemError> {
    TreeRecord::parse(bytes).map_err(|what| FilesystemError::corrupt(Object::Inode(number), record_place(number), what))
}

fn not_found(number: u64) -> FilesystemError {
    FilesystemError::NotFound { path: format!("inode {number}") }
}

fn io(object: Object) -> impl Fn(IoError) -> FilesystemError {
    move |source| FilesystemError::Io { object, source }
}

/// Lengths here are bounded by what their readers ask for.
fn to_length(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
