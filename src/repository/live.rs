//! Which slots of which packs are needed: one bit a slot, so that ten million chunks cost about a megabyte.

use std::collections::HashMap;

use super::format::node::FrameRef;
use super::ids::PackId;

/// Slots of packs.
#[derive(Debug, Default)]
pub(crate) struct SlotSet {
    packs: HashMap<PackId, PackSlots>,
}

/// The members in one pack.
#[derive(Debug, Default, Clone)]
pub(crate) struct PackSlots {
    bits: Vec<u64>,
    /// Stored bytes of the members, by their hints.
    pub(crate) bytes: u64,
}

impl PackSlots {
    pub(crate) fn contains(&self, slot: u32) -> bool {
        let (word, bit) = place(slot);
        self.bits.get(word).is_some_and(|bits| bits & bit != 0)
    }
}

impl SlotSet {
    /// Adds a frame; false if it was there.
    pub(crate) fn insert(&mut self, frame: &FrameRef) -> bool {
        let slots = self.packs.entry(frame.pack).or_default();
        let (word, bit) = place(frame.slot);
        if slots.bits.len() <= word {
            slots.bits.resize(word + 1, 0);
        }
        let new = slots.bits[word] & bit == 0;
        slots.bits[word] |= bit;
        if new {
            slots.bytes += u64::from(frame.stored);
        }
        new
    }

    pub(crate) fn contains(&self, frame: &FrameRef) -> bool {
        self.packs.get(&frame.pack).is_some_and(|slots| slots.contains(frame.slot))
    }

    pub(crate) fn pack(&self, pack: &PackId) -> Option<&PackSlots> {
        self.packs.get(pack)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.packs.is_empty()
    }
}

/// Slots are bounded by the trailer's limit wherever a pack was read; here a hostile tree could name any. One bit more than that
/// limit would cost 128 KiB, and every number beyond is folded onto it.
fn place(slot: u32) -> (usize, u64) {
    let slot = slot.min(super::format::pack::MAX_PACK_SLOTS);
    ((slot / 64) as usize, 1 << (slot % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_told_from_others_and_counted_once() {
        let frame = |slot| FrameRef { pack: PackId([1; 16]), slot, offset: 0, stored: 10 };
        let mut set = SlotSet::default();
        assert!(set.insert(&frame(0)) && set.insert(&frame(700)) && !set.insert(&frame(0)));
        assert!(set.contains(&frame(700)) && !set.contains(&frame(699)) && !set.contains(&frame(70_000)));
        assert_eq!(set.pack(&PackId([1; 16])).unwrap().bytes, 20);
        set.insert(&frame(u32::MAX));
    }
}
