//! Frames brought from the store: by hint, and by the pack's own table when the hint has grown old.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::coalesce::{ReadGroup, group_reads, place};
use super::codec::FrameDecompressor;
use super::crypt::AeadKey;
use super::error::RepositoryError;
use super::format::frame::{FRAME_HEADER_BYTES, FRAME_TAG_BYTES, FrameKind, MAX_FRAME_RAW_BYTES};
use super::format::node::FrameRef;
use super::format::pack::{PACK_TRAILER_BYTES, PackSlot, PackTrailer};
use super::frame::{describe, open_frame, stored_header};
use super::ids::PackId;
use super::keyring::Keyring;
use super::names;
use crate::store::Store;

/// Expanded keys are kept for this many packs.
const MAX_PACK_KEYS: usize = 256;

/// A hint longer than any frame can be is garbage: raw bytes that did not compress, header and tag.
const MAX_STORED_BYTES: u32 = MAX_FRAME_RAW_BYTES + 4096;

/// What is shown each frame: its bytes, or what is wrong with it.
type VisitFrame<'a> = dyn FnMut(&FrameRef, Result<&[u8], RepositoryError>) -> Result<(), RepositoryError> + 'a;

/// Reads and opens frames for one thread.
#[derive(Debug)]
pub(crate) struct FrameFetcher {
    store: Arc<dyn Store>,
    ring: Arc<Keyring>,
    keys: HashMap<(u16, PackId), AeadKey>,
    decompressor: FrameDecompressor,
    raw: Vec<u8>,
}

impl FrameFetcher {
    pub(crate) fn new(store: Arc<dyn Store>, ring: Arc<Keyring>) -> Self {
        Self { store, ring, keys: HashMap::new(), decompressor: FrameDecompressor::default(), raw: Vec::new() }
    }

    /// Reads `frames` with as few requests as is sensible and shows each to `visit`, opened or with what is wrong with it.
    ///
    /// Only damage is shown to `visit`; a store that is out of reach is this call's own error.
    pub(crate) fn fetch_many(&mut self, frames: Vec<FrameRef>, visit: &mut VisitFrame<'_>) -> Result<(), RepositoryError> {
        for group in group_reads(frames) {
            self.fetch_group(&group, visit)?;
        }
        Ok(())
    }

    /// Reads and opens one frame.
    pub(crate) fn fetch(&mut self, frame: &FrameRef) -> Result<&[u8], RepositoryError> {
        let stored = self.read(frame.pack, place(frame));
        self.open_or_look_again(frame, stored)?;
        Ok(&self.raw)
    }

    fn fetch_group(&mut self, group: &ReadGroup, visit: &mut VisitFrame<'_>) -> Result<(), RepositoryError> {
        let Some(first) = group.frames.first() else { return Ok(()) };
        let bytes = match self.read(first.pack, group.range.clone()) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.is_damage() => None,
            Err(error) => return Err(error),
        };
        for frame in &group.frames {
            let stored = match &bytes {
                Some(bytes) => slice(bytes, group, frame),
                None => Err(RepositoryError::damaged(describe(frame), "its pack is missing or cut short")),
            };
            match self.open_or_look_again(frame, stored) {
                Ok(()) => visit(frame, Ok(&self.raw))?,
                Err(error) if error.is_damage() => visit(frame, Err(error))?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn read(&self, pack: PackId, range: Range<u64>) -> Result<Bytes, RepositoryError> {
        Ok(self.store.get_range(&names::pack(pack), range)?)
    }

    /// Opens a frame into `self.raw`. When the bytes at the hint do not open, the pack may have been rewritten: its table says where
    /// the slot lies now.
    fn open_or_look_again(&mut self, frame: &FrameRef, stored: Result<Bytes, RepositoryError>) -> Result<(), RepositoryError> {
        let first_error = match stored.and_then(|stored| self.open(frame, &stored)) {
            Ok(_) => return Ok(()),
            Err(error) if error.is_damage() => error,
            Err(error) => return Err(error),
        };
        let slot = match self.look_up(frame) {
            Ok(slot) => slot,
            Err(error) if error.is_damage() => return Err(error),
            Err(error) => return Err(error),
        };
        let now = FrameRef { offset: slot.offset, stored: slot.stored, ..*frame };
        if now == *frame {
            return Err(first_error);
        }
        let stored = self.read(frame.pack, place(&now))?;
        self.open(&now, &stored).map(|_| ())
    }

    fn open(&mut self, frame: &FrameRef, stored: &[u8]) -> Result<FrameKind, RepositoryError> {
        if frame.stored > MAX_STORED_BYTES || stored.len() < FRAME_HEADER_BYTES + FRAME_TAG_BYTES {
            return Err(RepositoryError::damaged(describe(frame), "its length is impossible"));
        }
        let epoch = stored_header(stored, frame)?.epoch;
        if self.keys.len() >= MAX_PACK_KEYS {
            self.keys.clear();
        }
        let key = match self.keys.entry((epoch, frame.pack)) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let key = self
                    .ring
                    .pack_key(epoch, &frame.pack)
                    .map_err(|_| RepositoryError::damaged(describe(frame), format!("it names unknown key epoch {epoch}")))?;
                entry.insert(key)
            }
        };
        open_frame(key, frame, stored, &mut self.decompressor, &mut self.raw)
    }

    /// The slot's entry in its pack's table.
    fn look_up(&self, frame: &FrameRef) -> Result<PackSlot, RepositoryError> {
        let slots = read_slots(self.store.as_ref(), frame.pack)?;
        let index = usize::try_from(frame.slot).unwrap_or(usize::MAX);
        match slots.get(index) {
            Some(slot) if slot.is_live() => Ok(*slot),
            Some(_) => Err(RepositoryError::damaged(describe(frame), "the slot was collected")),
            None => Err(RepositoryError::damaged(describe(frame), "the pack has no such slot")),
        }
    }
}

/// The slot table of a pack, by two small reads.
pub(crate) fn read_slots(store: &dyn Store, pack: PackId) -> Result<Vec<PackSlot>, RepositoryError> {
    let key = names::pack(pack);
    let damaged = |error| RepositoryError::from_format(&key, error);
    let size = store.size(&key)?;
    let trailer_at = size.saturating_sub(PACK_TRAILER_BYTES as u64);
    let trailer = PackTrailer::parse(&store.get_range(&key, trailer_at..size)?).map_err(damaged)?;
    let table_at = trailer_at
        .checked_sub(trailer.table_bytes() as u64)
        .ok_or_else(|| RepositoryError::damaged(&key, "its table is longer than itself"))?;
    if trailer.slot_count == 0 {
        return Ok(Vec::new());
    }
    trailer.parse_table(&store.get_range(&key, table_at..trailer_at)?, size).map_err(damaged)
}

fn slice(bytes: &Bytes, group: &ReadGroup, frame: &FrameRef) -> Result<Bytes, RepositoryError> {
    let range = place(frame);
    let start = usize::try_from(range.start - group.range.start).unwrap_or(usize::MAX);
    let end = usize::try_from(range.end - group.range.start).unwrap_or(usize::MAX);
    if end > bytes.len() {
        return Err(RepositoryError::damaged(describe(frame), "its pack is cut short"));
    }
    Ok(bytes.slice(start..end))
}
