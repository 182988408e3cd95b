//! An inode as it grows from what the log has of it: its core, and each of its forks.

use super::super::inode::{self, Format};
use super::super::item::Item;
use super::super::put::put;
use super::super::transaction::Moment;
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::fields::Fields;
use crate::filesystem::xfs::inode_core::{FORMAT_DEVICE, FORMAT_LOCAL, FORMAT_RUNS, Layout};
use crate::filesystem::xfs::run::RUN_BYTES;

/// Fields of an inode: its length, what changes when its number is used again, and a link to another one.
const SIZE: usize = 56;
const GENERATION: usize = 92;
const NEXT_UNLINKED: usize = 96;
/// The region of an item that holds the data fork, if any does.
const DATA_REGION: usize = 2;

/// What the log has told of an inode until now.
#[derive(Debug)]
pub(super) struct State {
    bytes: Vec<u8>,
    /// How many bytes of the data fork there are, and the format that the core had then.
    data: Option<(u8, usize)>,
}

impl State {
    /// An inode that nothing is known of.
    pub(super) fn blank(inode_bytes: u16) -> Self {
        let mut bytes = vec![0; inode_bytes.into()];
        let _fits = put(&mut bytes, NEXT_UNLINKED, &u32::MAX.to_be_bytes());
        Self { bytes, data: None }
    }

    /// Applies what one transaction changes of it.
    pub(super) fn apply(&mut self, item: &Item, moment: Moment, crc: bool) -> Result<(), FilesystemError> {
        let before = self.generation();
        inode::put_into(&mut self.bytes, item, moment, crc)?;
        if Format::read(item.format(), moment.byte)?.has_data() {
            self.data = Some((self.layout().format()?, item.region(DATA_REGION).map_or(0, <[u8]>::len)));
        } else if before != self.generation() {
            self.data = None;
        }
        Ok(())
    }

    fn layout(&self) -> Layout<'_> {
        Layout::of(Fields::new(&self.bytes, Object::Journal, 0))
    }

    fn generation(&self) -> Option<Vec<u8>> {
        self.bytes.get(GENERATION..GENERATION + 4).map(<[u8]>::to_vec)
    }

    /// Its bytes, if its content is all there.
    pub(super) fn into_whole(self) -> Option<Vec<u8>> {
        self.is_whole().then_some(self.bytes)
    }

    /// True when the content is all there: the core can be younger than the last change of the fork, but not of another format.
    fn is_whole(&self) -> bool {
        let (Ok(format), Ok(runs)) = (self.layout().format(), self.layout().data_runs()) else { return false };
        let size = Fields::new(&self.bytes, Object::Journal, 0).be64(SIZE).unwrap_or(u64::MAX);
        let needed = match format {
            FORMAT_RUNS => runs.saturating_mul(RUN_BYTES as u64),
            FORMAT_LOCAL => size,
            _ => 1,
        };
        let is_device = format == FORMAT_DEVICE && self.data.is_some();
        let there = self.data.filter(|(known, _)| *known == format).map_or(0, |(_, length)| length as u64);
        is_device || there >= needed
    }
}
