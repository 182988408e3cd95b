//! Older copies of lost inodes: the journal keeps blocks of inode tables for as long as it takes to come round again.

use std::ops::ControlFlow;

use super::super::Ext;
use super::super::journal::{JournalPlace, LoggedBlocks};
use super::super::record::Record;
use crate::filesystem::inode::Inode;
use crate::filesystem::wreck::{Proof, StrayBlock};

impl Ext {
    /// The inode as the journal has it. The youngest copy decides: if that one is not in use, nothing older is shown.
    pub(super) fn logged_inode(&self, number: u32) -> Option<Inode> {
        let place = self.volume.inode_place(number).ok().filter(|_| !self.volume.superblock.is_hidden(number))?;
        let block_bytes = self.volume.block_bytes();
        let (home, skip) = (place.offset / block_bytes, usize::try_from(place.offset % block_bytes).ok()?);
        let source = &**self.raw.bytes();
        let mut copies = self.logged().of(home, source, usize::try_from(block_bytes).ok()?);
        let verified = copies.find_map(|block| {
            let bytes = block.get(skip..skip + usize::from(self.volume.superblock.inode_bytes))?;
            let record = Record::new(number, bytes, place.offset).ok()?;
            let is_sound = record.is_blank() || self.verify(&record).is_ok();
            is_sound.then(|| self.decode(&record).ok())
        });
        verified.flatten()
    }

    /// Shows the youngest copy of each directory block that the journal holds.
    pub(super) fn logged_strays(&self, visit: &mut dyn FnMut(StrayBlock) -> ControlFlow<()>) {
        let source = &**self.raw.bytes();
        let Ok(block_bytes) = usize::try_from(self.volume.block_bytes()) else { return };
        for home in self.logged().homes() {
            let youngest = self.logged().of(home, source, block_bytes).next();
            let stray = youngest.and_then(|block| self.stray(self.volume.place_of(home), &block));
            let stray = stray.map(|stray| StrayBlock { proof: Proof::OlderCopy, ..stray });
            if stray.is_some_and(|stray| visit(stray).is_break()) {
                return;
            }
        }
    }

    pub(super) fn logged(&self) -> &LoggedBlocks {
        self.remains.logged.get_or_init(|| {
            let place = JournalPlace::of(&self.raw.superblock, self.journal.clone(), true);
            LoggedBlocks::collect(&**self.raw.bytes(), &place)
        })
    }
}
