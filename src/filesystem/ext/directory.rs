//! Directories, read block after block: nodes of an index look empty, so the index itself is not needed.

use std::ops::{ControlFlow, Range};

use super::directory_block::{self, Names};
use super::fast_names::FastNames;
use super::record::Record;
use super::{Ext, flags};
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::face::Entry;
use crate::filesystem::fields::Fields;
use crate::filesystem::inode::Inode;

/// Blocks that are mapped at once.
pub(super) const STEP: u64 = 1024;
/// An inline directory begins with the inode of its parent.
pub(super) const PARENT_BYTES: usize = 4;

type Visit<'a> = &'a mut dyn FnMut(Entry) -> ControlFlow<()>;

impl Ext {
    /// Shows every name, as it is after fast commits.
    pub(super) fn names(&self, directory: &Inode, visit: Visit<'_>) -> Result<(), FilesystemError> {
        let number = directory.number.0;
        if !directory.is_directory() {
            return Err(FilesystemError::NotADirectory { path: format!("inode {number}") });
        }
        if directory.encrypted {
            return Err(FilesystemError::Encrypted { object: Object::Directory(number) });
        }
        let changes = self.fast.names(number);
        if changes.is_empty() {
            return self.names_on_disk(directory, visit).map(|_| ());
        }
        let mut names = FastNames::new(changes);
        let on_disk = match self.fast.created(number) {
            // Its first block was never written.
            true => ControlFlow::Continue(()),
            false => {
                self.names_on_disk(directory, &mut |entry| names.pass(entry).map_or(ControlFlow::Continue(()), &mut *visit))?
            }
        };
        if on_disk.is_continue() {
            let _stopped = names.rest().try_for_each(visit);
        }
        Ok(())
    }

    fn names_on_disk(&self, directory: &Inode, visit: Visit<'_>) -> Result<ControlFlow<()>, FilesystemError> {
        let record = self.record_of(directory)?;
        if record.has_flag(flags::INLINE_DATA)? {
            return self.inline_names(&record, visit);
        }
        let blocks = directory.size.div_ceil(self.volume.block_bytes());
        // A directory whose blocks could not all be different ones is a trap.
        if blocks > self.volume.superblock.blocks.min(self.volume.bytes().size() / self.volume.block_bytes()) {
            return Err(FilesystemError::corrupt(Object::Directory(directory.number.0), record.at, "it is larger than the volume"));
        }
        for first in (0..blocks).step_by(STEP as usize) {
            if self.step(&record, first..blocks.min(first + STEP), visit)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn step(&self, record: &Record<'_>, blocks: Range<u64>, visit: Visit<'_>) -> Result<ControlFlow<()>, FilesystemError> {
        let mut next = blocks.start;
        let runs = self.runs(record, &blocks)?;
        for run in runs.iter().filter(|run| !run.unwritten) {
            for index in 0..run.count {
                if run.logical + index != next {
                    return Err(hole(record, next));
                }
                if self.block_names(record, next, run.physical + index, visit)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                next += 1;
            }
        }
        if next < blocks.end { Err(hole(record, next)) } else { Ok(ControlFlow::Continue(())) }
    }

    fn block_names(
        &self,
        record: &Record<'_>,
        logical: u64,
        physical: u64,
        visit: Visit<'_>,
    ) -> Result<ControlFlow<()>, FilesystemError> {
        let superblock = &self.volume.superblock;
        let object = Object::Directory(u64::from(record.number));
        let bytes = self.volume.block(object, physical)?;
        let block = Fields::new(&bytes, object, self.volume.place_of(physical));
        if superblock.has_metadata_checksums() {
            let indexed = record.is_indexed(superblock)?;
            directory_block::verify(&block, record.seed(superblock)?, indexed, logical == 0)?;
        }
        Names::new(&block, 0..bytes.len(), superblock.inodes).show(visit)
    }

    fn inline_names(&self, record: &Record<'_>, visit: Visit<'_>) -> Result<ControlFlow<()>, FilesystemError> {
        let inodes = self.volume.superblock.inodes;
        let object = Object::Directory(u64::from(record.number));
        let (body, rest) = (record.body()?, self.inline_rest(record)?);
        let first = Names::new(&Fields::new(body, object, record.at), PARENT_BYTES..body.len(), inodes).show(visit)?;
        if first.is_break() {
            return Ok(first);
        }
        Names::new(&Fields::new(&rest, object, record.at), 0..rest.len(), inodes).show(visit)
    }
}

fn hole(record: &Record<'_>, block: u64) -> FilesystemError {
    FilesystemError::corrupt(Object::Directory(u64::from(record.number)), record.at, format!("its block {block} is missing"))
}
