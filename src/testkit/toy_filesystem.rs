//! The toy filesystem's reader: inodes at places that follow from their numbers, directories, and a journal replayed in memory.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::toy_disk::{BLOCK, INODE, INODES, JOURNAL, JOURNAL_BLOCKS, MAX_RUNS, ROOT};
use crate::base::bytes::{ByteReader, Truncated};
use crate::base::extent::{Extent, ExtentSet};
use crate::base::io::ReadAt;
use crate::filesystem::{
    Allocation, Entry, FileKind, FileTime, Filesystem, FilesystemError, Identity, Inode, InodeNumber, Kind, Object, Overlaid,
    Overlay, Patch, Segment, Source, View, Xattr,
};

/// An opened toy filesystem.
#[derive(Debug)]
pub struct ToyFilesystem {
    identity: Identity,
    view: View,
    volume: Overlaid,
}

/// Opens the toy filesystem in `source`.
pub fn open_toy(source: Arc<dyn ReadAt>) -> Result<Box<dyn Filesystem>, FilesystemError> {
    let mut magic = [0; 4];
    read(source.as_ref(), 0, &mut magic, Object::Superblock)?;
    if magic != *b"TOY1" {
        return Err(FilesystemError::unrecognised("no toy"));
    }
    let overlay = journal(source.as_ref())?;
    let view = match overlay.count() as u64 {
        0 => View::Clean,
        changes => View::Replayed { transactions: 1, changes },
    };
    let identity =
        Identity { kind: Kind::Ext4, uuid: [7; 16], label: b"toy".to_vec(), block_bytes: BLOCK as u32, size: source.size() };
    Ok(Box::new(ToyFilesystem { identity, view, volume: Overlaid::new(source, overlay) }))
}

fn journal(source: &dyn ReadAt) -> Result<Overlay, FilesystemError> {
    let mut overlay = Overlay::new(BLOCK as u32);
    let mut list = vec![0; BLOCK];
    read(source, JOURNAL * BLOCK as u64, &mut list, Object::Journal)?;
    let mut reader = ByteReader::new(&list);
    let mut number = || reader.u64().map_err(|_| FilesystemError::corrupt(Object::Journal, JOURNAL, "cut"));
    let count = number()?.min(JOURNAL_BLOCKS);
    for index in 0..count {
        overlay.replace(number()?, Patch::Elsewhere((JOURNAL + 1 + index) * BLOCK as u64));
    }
    Ok(overlay)
}

fn read(source: &dyn ReadAt, offset: u64, out: &mut [u8], object: Object) -> Result<(), FilesystemError> {
    source.read_at(offset, out).map_err(|source| FilesystemError::Io { object, source })
}

struct Raw {
    is_directory: bool,
    links: u32,
    size: u64,
    time: u64,
    generation: u32,
    runs: Vec<(u64, u64)>,
}

impl ToyFilesystem {
    fn raw(&self, number: u64) -> Result<Option<Raw>, FilesystemError> {
        let mut bytes = [0; INODE];
        read(&self.volume, BLOCK as u64 + number * INODE as u64, &mut bytes, Object::Inode(number))?;
        parse(&bytes).map_err(|_| FilesystemError::corrupt(Object::Inode(number), 0, "cut"))
    }

    fn used(&self, number: u64) -> Result<Raw, FilesystemError> {
        let raw = if (ROOT..INODES).contains(&number) { self.raw(number)? } else { None };
        raw.ok_or_else(|| FilesystemError::NotFound { path: format!("#{number}") })
    }
}

fn parse(bytes: &[u8]) -> Result<Option<Raw>, Truncated> {
    let mut reader = ByteReader::new(bytes);
    let [used, is_directory, _, runs] = reader.array()?;
    let (links, size, time, generation) = (reader.u32()?, reader.u64()?, reader.u64()?, reader.u32()?);
    let mut raw = Raw { is_directory: is_directory == 1, links, size, time, generation, runs: Vec::new() };
    for _ in 0..usize::from(runs).min(MAX_RUNS) {
        raw.runs.push((reader.u32()?.into(), reader.u32()?.into()));
    }
    Ok((used == 1).then_some(raw))
}

impl Filesystem for ToyFilesystem {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn view(&self) -> &View {
        &self.view
    }

    fn volume(&self) -> &dyn ReadAt {
        &self.volume
    }

    fn root(&self) -> InodeNumber {
        InodeNumber(ROOT)
    }

    fn inode(&self, number: InodeNumber) -> Result<Inode, FilesystemError> {
        let raw = self.used(number.0)?;
        let kind = if raw.is_directory { FileKind::Directory } else { FileKind::Regular };
        let time = FileTime { seconds: i64::try_from(raw.time).unwrap_or(0), nanoseconds: 0 };
        let mut inode = Inode::made_up(number, kind, 0o644);
        (inode.links, inode.size, inode.generation) = (raw.links, raw.size, raw.generation);
        (inode.modified, inode.changed) = (time, time);
        Ok(inode)
    }

    fn list(&self, directory: &Inode, visit: &mut dyn FnMut(Entry) -> ControlFlow<()>) -> Result<(), FilesystemError> {
        let mut bytes = vec![0; usize::try_from(directory.size).unwrap_or(0)];
        self.read(directory, 0, &mut bytes)?;
        let mut reader = ByteReader::new(&bytes);
        let cut = |_| FilesystemError::corrupt(Object::Directory(directory.number.0), 0, "cut");
        while !reader.is_empty() {
            let inode = InodeNumber(reader.u32().map_err(cut)?.into());
            let length = reader.u8().map_err(cut)?;
            let name = reader.take(length.into()).map_err(cut)?.to_vec();
            // Inode 0 is that of a dead entry.
            if inode.0 != 0 && visit(Entry { name, inode }).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn map(&self, file: &Inode, range: Extent) -> Result<Vec<Segment>, FilesystemError> {
        let mut segments = Vec::new();
        let mut at = 0;
        for (start, count) in self.used(file.number.0)?.runs {
            let run = Extent::new(at, count * BLOCK as u64);
            let extent = run.intersect(&range).intersect(&Extent::new(0, file.size));
            if !extent.is_empty() {
                segments.push(Segment { extent, source: Source::Disk(start * BLOCK as u64 + (extent.offset - at)) });
            }
            at = run.end();
        }
        Ok(segments)
    }

    fn link_target(&self, _link: &Inode) -> Result<Vec<u8>, FilesystemError> {
        Ok(Vec::new())
    }

    fn xattrs(&self, _inode: &Inode) -> Result<Vec<Xattr>, FilesystemError> {
        Ok(Vec::new())
    }

    fn allocation(&self) -> Allocation {
        Allocation::doubtful(self.identity.size, "a toy keeps no bitmap")
    }

    fn inode_location(&self, number: InodeNumber) -> Option<Extent> {
        Some(Extent::new(BLOCK as u64 + number.0 * INODE as u64, INODE as u64))
    }

    fn replayed(&self) -> ExtentSet {
        self.volume.overlay().units().map(|unit| Extent::new(unit * BLOCK as u64, BLOCK as u64)).collect()
    }
}
