//! The names of a directory, block by block, around everything in it that is broken.

use std::ops::ControlFlow;

use super::super::directory::{PARENT_BYTES, STEP};
use super::super::directory_block::verify;
use super::super::fast_names::FastNames;
use super::super::record::Record;
use super::super::{Ext, flags};
use super::entries::Entries;
use super::index::DirectoryIndex;
use crate::base::extent::Extent;
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::face::{Entry, Source};
use crate::filesystem::fields::Fields;
use crate::filesystem::inode::{Inode, InodeNumber};
use crate::filesystem::names::printable;
use crate::filesystem::wreck::{FoundEntry, FoundName};

type Visit<'a> = &'a mut dyn FnMut(FoundEntry) -> ControlFlow<()>;

impl Ext {
    /// Shows what [`Wreck::names`](crate::filesystem::wreck::Wreck::names) promises: names as they are after fast commits.
    pub(super) fn names_around_damage(&self, directory: &Inode, visit: Visit<'_>) -> ControlFlow<()> {
        let number = directory.number.0;
        if !directory.is_directory() {
            return ControlFlow::Continue(());
        }
        let mut fresh = FastNames::new(self.fast.names(number));
        if !self.fast.created(number) {
            self.found_on_disk(directory, &mut |entry| match entry {
                FoundEntry::Name(name) => {
                    pass(&mut fresh, name).map_or(ControlFlow::Continue(()), |name| visit(FoundEntry::Name(name)))
                }
                other => visit(other),
            })?;
        }
        fresh
            .rest()
            .try_for_each(|entry| visit(FoundEntry::Name(FoundName { name: entry.name, inode: entry.inode, is_directory: None })))
    }

    fn found_on_disk(&self, directory: &Inode, visit: Visit<'_>) -> ControlFlow<()> {
        let lost = match self.record_of(directory) {
            Ok(record) if record.has_flag(flags::INLINE_DATA).unwrap_or(false) => self.inline_entries(&record, visit),
            Ok(record) => return self.blocks(directory, &record, visit),
            Err(error) => Err(error),
        };
        lost.unwrap_or_else(|error| visit(FoundEntry::Lost(error)))
    }

    fn inline_entries(&self, record: &Record<'_>, visit: Visit<'_>) -> Result<ControlFlow<()>, FilesystemError> {
        let superblock = &self.volume.superblock;
        let body = record.body()?;
        let parent = Fields::new(body, record.fields.object(), record.at).le32(0)?;
        let rest = self.inline_rest(record);
        let first =
            Entries { parent: Some(InodeNumber(u64::from(parent))), ..Entries::read(body, PARENT_BYTES..body.len(), superblock) };
        let second = rest.map(|rest| Entries::read(&rest, 0..rest.len(), superblock));
        let object = Object::Directory(u64::from(record.number));
        let shown = show(first, object, record.at, visit);
        Ok(match (shown, second) {
            (ControlFlow::Continue(()), Ok(second)) => show(second, object, record.at, visit),
            (ControlFlow::Continue(()), Err(error)) => visit(FoundEntry::Lost(error)),
            (stopped, _) => stopped,
        })
    }

    fn blocks(&self, directory: &Inode, record: &Record<'_>, visit: Visit<'_>) -> ControlFlow<()> {
        let object = Object::Directory(directory.number.0);
        if directory.encrypted {
            visit(FoundEntry::Lost(FilesystemError::Encrypted { object }))?;
        }
        let block_bytes = self.volume.block_bytes();
        // A directory whose blocks could not all be different ones is a trap. Of one that is encrypted, only the dots can be read.
        let most = if directory.encrypted { block_bytes } else { self.volume.superblock.size().min(self.volume.bytes().size()) };
        if directory.size > most && !directory.encrypted {
            visit(FoundEntry::Lost(FilesystemError::corrupt(object, record.at, "it is larger than the volume")))?;
        }
        // Where blocks have checksums, these say more than an index does.
        let needs_witness = !self.volume.superblock.has_metadata_checksums();
        let index = if needs_witness { DirectoryIndex::read(self, directory, record) } else { None };
        let blocks = Blocks { ext: self, directory, record, index };
        for step in Extent::new(0, directory.size.min(most)).cut(STEP * block_bytes) {
            match self.segments(directory, step) {
                Ok(segments) => {
                    segments.iter().try_for_each(|segment| blocks.segment(segment.extent, &segment.source, visit))?;
                }
                Err(error) => visit(FoundEntry::Lost(error))?,
            }
        }
        ControlFlow::Continue(())
    }
}

/// The blocks of a directory, and what tells whether they are its own.
struct Blocks<'a> {
    ext: &'a Ext,
    directory: &'a Inode,
    record: &'a Record<'a>,
    index: Option<DirectoryIndex>,
}

impl Blocks<'_> {
    fn segment(&self, extent: Extent, source: &Source, visit: Visit<'_>) -> ControlFlow<()> {
        let object = Object::Directory(self.directory.number.0);
        let block_bytes = self.ext.volume.block_bytes();
        let first = extent.offset / block_bytes;
        match source {
            Source::Disk(at) => (0..extent.length.div_ceil(block_bytes)).try_for_each(|index| {
                let place = at.saturating_add(index * block_bytes);
                match self.entries(first + index, place / block_bytes) {
                    Ok(entries) => self.show_block(entries, first + index, place, visit),
                    Err(error) => visit(FoundEntry::Lost(error)),
                }
            }),
            Source::Lost(reason) => visit(FoundEntry::Lost(FilesystemError::Lost { object, reason: reason.clone() })),
            Source::Hole | Source::Unwritten(_) | Source::Inline(_) => {
                visit(FoundEntry::Lost(FilesystemError::corrupt(object, self.record.at, format!("its block {first} is missing"))))
            }
        }
    }

    /// Shows the entries of a block, but for those that the index wants elsewhere: their names, or the inodes that had them, are lost.
    fn show_block(&self, mut entries: Entries, logical: u64, place: u64, visit: Visit<'_>) -> ControlFlow<()> {
        let object = Object::Directory(self.directory.number.0);
        let misplaced = self.index.as_ref().map(|index| index.take_misplaced(logical, &mut entries.names)).unwrap_or_default();
        show(entries, object, place, visit)?;
        misplaced.into_iter().try_for_each(|name| {
            let what = format!("the name {:?} of inode {} does not belong into this block", printable(&name.name), name.inode.0);
            visit(FoundEntry::Lost(FilesystemError::corrupt(object, place, what)))
        })
    }

    /// The entries of one block, once its checksum fits, or where there is none, once it says that it belongs here.
    fn entries(&self, logical: u64, physical: u64) -> Result<Entries, FilesystemError> {
        let (volume, record, directory) = (&self.ext.volume, self.record, self.directory);
        let superblock = &volume.superblock;
        let object = Object::Directory(directory.number.0);
        let mut bytes = volume.block(object, physical)?;
        volume.mend_names(object, volume.place_of(physical), record.seed(superblock)?, &mut bytes);
        let block = Fields::new(&bytes, object, volume.place_of(physical));
        if superblock.has_metadata_checksums() {
            verify(&block, record.seed(superblock)?, record.is_indexed(superblock)?, logical == 0)?;
        }
        let mut entries = Entries::read(&bytes, 0..bytes.len(), superblock);
        if let Some(own) = entries.own.filter(|own| *own != directory.number || logical != 0) {
            return Err(block.corrupt(format!("this block is one of directory inode {}", own.0)));
        }
        if directory.encrypted {
            (entries.names, entries.broken) = (Vec::new(), None);
        }
        Ok(entries)
    }
}

/// What became of a name on disk.
fn pass(fresh: &mut FastNames<'_>, found: FoundName) -> Option<FoundName> {
    let now = fresh.pass(Entry { name: found.name, inode: found.inode })?;
    let is_directory = found.is_directory.filter(|_| now.inode == found.inode);
    Some(FoundName { name: now.name, inode: now.inode, is_directory })
}

fn show(entries: Entries, object: Object, at: u64, visit: Visit<'_>) -> ControlFlow<()> {
    if let Some(parent) = entries.parent {
        visit(FoundEntry::Parent(parent))?;
    }
    entries.names.into_iter().try_for_each(|name| visit(FoundEntry::Name(name)))?;
    match entries.broken {
        Some(place) => {
            let what = format!("the entry at byte {place} of this block cannot be");
            visit(FoundEntry::Lost(FilesystemError::corrupt(object, at, what)))
        }
        None => ControlFlow::Continue(()),
    }
}
