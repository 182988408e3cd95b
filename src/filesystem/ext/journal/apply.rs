//! The third pass: the last copy of every logged block, as patches that point into the journal.

use std::sync::Arc;

use super::checksum::crc32c;
use super::descriptor::{Tag, Tags};
use super::doubts::Doubts;
use super::revoke::Revoked;
use super::scan;
use super::superblock::{Checksums, MAGIC};
use super::walk::{Log, Step, Walk};
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::fields::sums_agree;
use crate::filesystem::overlay::{Overlay, Patch};

/// The blocks of a log of four gigabytes; mkfs makes none above one gigabyte of its own accord.
const MOST_PATCHES: usize = 1 << 20;
/// What a patch that points elsewhere takes.
const PATCH_BYTES: u64 = 64;
/// Escaped blocks are kept whole. Only data that begins with the log's magic is escaped, and only with `data=journal`.
const MOST_ESCAPED_BYTES: u64 = 64 << 20;

/// What is still to be decided about each logged block.
#[derive(Debug)]
pub(super) struct Application<'a> {
    log: &'a Log<'a>,
    revoked: &'a Revoked,
    blocks_in_filesystem: u64,
    overlay: Overlay,
    escaped_bytes: u64,
    data: Vec<u8>,
}

impl<'a> Application<'a> {
    /// Nothing applied yet.
    pub(super) fn new(log: &'a Log<'a>, revoked: &'a Revoked, blocks_in_filesystem: u64, overlay: Overlay) -> Self {
        Self { log, revoked, blocks_in_filesystem, overlay, escaped_bytes: 0, data: Vec::new() }
    }

    /// Applies all whole transactions. A block that is not as it was logged is left as it is on disk, and noted.
    pub(super) fn run(&mut self, extent: &scan::Extent, doubts: &mut Doubts) -> Result<(), FilesystemError> {
        let mut walk = Walk::new(self.log);
        while walk.sequence != extent.end {
            match walk.step()? {
                Step::End => return Err(walk.fields().corrupt("the log has changed while it was read")),
                Step::Revoke => {}
                Step::Commit => walk.sequence = walk.sequence.wrapping_add(1),
                Step::Descriptor => self.descriptor(&mut walk, doubts)?,
            }
        }
        Ok(())
    }

    /// What was applied so far.
    pub(super) fn into_overlay(self) -> Overlay {
        self.overlay
    }

    fn descriptor(&mut self, walk: &mut Walk<'_>, doubts: &mut Doubts) -> Result<(), FilesystemError> {
        let tags: Vec<Tag> = Tags::new(walk.fields(), &self.log.superblock).collect();
        for tag in tags {
            let Some(position) = walk.take() else { break };
            if self.revoked.covers(tag.block, walk.sequence) {
                continue;
            }
            if let Err(error) = self.block(tag, position, walk.sequence) {
                doubts.forgive(error)?;
            }
        }
        Ok(())
    }

    fn block(&mut self, tag: Tag, position: u64, sequence: u32) -> Result<(), FilesystemError> {
        let Some(byte) = self.log.area.byte(position) else { return Err(self.wrong(0, "the log leaves the journal")) };
        if tag.block >= self.blocks_in_filesystem {
            return Err(self.wrong(byte, &format!("a logged block belongs to block {}, outside of the filesystem", tag.block)));
        }
        if self.log.superblock.checksums.in_blocks() || tag.escaped {
            self.log.area.read(position, &mut self.data)?;
        }
        if !self.matches(tag, sequence) {
            return Err(self.wrong(byte, &format!("the logged copy of block {} fails its checksum", tag.block)));
        }
        let patch = if tag.escaped { Patch::Bytes(self.restored()) } else { Patch::Elsewhere(byte) };
        self.replace(tag.block, patch, byte)
    }

    fn matches(&self, tag: Tag, sequence: u32) -> bool {
        let found = || crc32c(crc32c(self.log.superblock.seed, &sequence.to_be_bytes()), &self.data);
        match self.log.superblock.checksums {
            Checksums::None | Checksums::Transaction => true,
            Checksums::V2 => sums_agree(tag.checksum, found() & 0xffff),
            Checksums::V3 => sums_agree(tag.checksum, found()),
        }
    }

    /// The block with the magic in front that it was logged without.
    fn restored(&self) -> Arc<[u8]> {
        let rest = self.data.get(4..).unwrap_or_default();
        MAGIC.to_be_bytes().into_iter().chain(rest.iter().copied()).collect()
    }

    fn replace(&mut self, block: u64, patch: Patch, byte: u64) -> Result<(), FilesystemError> {
        let kept = self.overlay.patch(block).map_or(0, kept_bytes);
        let escaped_bytes = self.escaped_bytes.saturating_sub(kept).saturating_add(kept_bytes(&patch));
        if escaped_bytes > MOST_ESCAPED_BYTES {
            return Err(self.wrong(byte, &format!("block {block} is one of too many that begin with the log's magic")));
        }
        self.escaped_bytes = escaped_bytes;
        self.overlay.replace(block, patch);
        if self.overlay.count() > MOST_PATCHES {
            return Err(FilesystemError::TooLarge { object: Object::Journal, limit: MOST_PATCHES as u64 * PATCH_BYTES });
        }
        Ok(())
    }

    fn wrong(&self, byte: u64, what: &str) -> FilesystemError {
        FilesystemError::corrupt(Object::Journal, byte, what)
    }
}

fn kept_bytes(patch: &Patch) -> u64 {
    match patch {
        Patch::Elsewhere(_) => 0,
        Patch::Bytes(bytes) => bytes.len() as u64,
    }
}
