//! Logs that are found by their records, where no superblock says where the log is.
//!
//! ```text
//!   a record knows its block of the ring  ─► where the ring begins
//!   a record of the cycle before reaches over the end of the ring, to the first of the next cycle  ─► how long it is
//! ```

use std::collections::BTreeMap;

use super::LogPlace;
use super::header::Header;
use super::ring::{BLOCK_BYTES, BLOCK_LENGTH, HEADER_MAGIC, cycle_of, word};
use crate::base::io::ReadAt;
use crate::filesystem::error::Object;
use crate::filesystem::fields::Fields;

/// Logs that are remembered: images of filesystems in files have logs, too.
const MOST_LOGS: usize = 32;
/// Cycles of one log that are remembered. A ring holds parts of two.
const MOST_CYCLES: usize = 16;
/// Blocks behind the last record of a ring that was never written to its end: more than are looked at for where the log ends.
const MOST_BLANK_BLOCKS: u64 = 8192;
const SECTOR_BYTES: u32 = 512;

/// Records that were seen.
#[derive(Debug, Default)]
pub(in crate::filesystem::xfs) struct Sightings {
    logs: Vec<Sighting>,
}

/// What the records of one log say.
#[derive(Debug)]
struct Sighting {
    /// Where it begins.
    offset: u64,
    uuid: [u8; 16],
    version: u8,
    records: u32,
    /// The first block of the first record of each cycle, and the first behind its last, counted without going around.
    cycles: BTreeMap<u32, (u64, u64)>,
}

impl Sightings {
    /// Takes the block at byte `at`, if a record begins there.
    pub(in crate::filesystem::xfs) fn hear(&mut self, at: u64, block: &[u8]) {
        if word(block, 0) != HEADER_MAGIC {
            return;
        }
        let fields = Fields::new(block, Object::Journal, at);
        let Ok(header) = Header::read(&fields) else { return };
        if header.check(&fields, 0).is_ok() {
            self.add(at, &header);
        }
    }

    fn add(&mut self, at: u64, header: &Header) {
        let (cycle, block) = ((header.lsn >> 32) as u32, header.lsn & u64::from(u32::MAX));
        let Some(offset) = at.checked_sub(block * BLOCK_BYTES) else { return };
        let is_full = self.logs.len() >= MOST_LOGS;
        let known = self.logs.iter_mut().find(|log| log.offset == offset && log.uuid == header.uuid);
        let end = block + header.total_blocks();
        match known {
            Some(log) => log.add(cycle, block, end),
            None if !is_full => {
                let (uuid, version) = (header.uuid, header.version());
                self.logs.push(Sighting { offset, uuid, version, records: 1, cycles: [(cycle, (block, end))].into() });
            }
            None => {}
        }
    }

    /// Where the log lies of which most records were seen, and the filesystem that they name.
    pub(in crate::filesystem::xfs) fn best(&self, source: &dyn ReadAt) -> Option<(LogPlace, [u8; 16])> {
        let best = self.logs.iter().max_by_key(|log| log.records)?;
        let bytes = best.blocks(source)? * BLOCK_BYTES;
        let (offset, version) = (best.offset, best.version);
        Some((LogPlace { offset, bytes, version, sector_bytes: SECTOR_BYTES, stripe_unit_bytes: 0 }, best.uuid))
    }
}

impl Sighting {
    fn add(&mut self, cycle: u32, first: u64, end: u64) {
        self.records = self.records.saturating_add(1);
        let known = self.cycles.entry(cycle).or_insert((first, end));
        *known = (known.0.min(first), known.1.max(end));
        if self.cycles.len() > MOST_CYCLES {
            self.cycles.pop_first();
        }
    }

    fn blocks(&self, source: &dyn ReadAt) -> Option<u64> {
        let (last, (first, end)) = self.cycles.last_key_value()?;
        let before = last.checked_sub(1).and_then(|before| self.cycles.get(&before));
        match before.filter(|(_, end_before)| end_before > end) {
            Some((_, end_before)) => end_before.checked_sub(*first),
            None => Some(end + self.blank_from(*end, source)),
        }
    }

    /// Blocks from `block` on that were never written.
    fn blank_from(&self, block: u64, source: &dyn ReadAt) -> u64 {
        let at = |block: u64| self.offset + block * BLOCK_BYTES;
        let is_blank = |block: &u64| {
            let mut bytes = [0; BLOCK_LENGTH];
            source.read_at(at(*block), &mut bytes).is_ok() && cycle_of(&bytes) == 0
        };
        (block..block + MOST_BLANK_BLOCKS).take_while(is_blank).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filesystem::xfs::log::bench::{LOG_BYTE, UUID, Writer, transaction};

    fn best(volume: &dyn ReadAt) -> (LogPlace, [u8; 16]) {
        let mut sightings = Sightings::default();
        for at in (0..volume.size()).step_by(BLOCK_LENGTH) {
            let mut block = [0; BLOCK_LENGTH];
            volume.read_at(at, &mut block).unwrap();
            sightings.hear(at, &block);
        }
        sightings.best(volume).unwrap()
    }

    #[test]
    fn a_log_is_found_by_its_records_before_and_after_it_went_around() {
        for (ring, records) in [(512, 3), (512, 200), (128, 60), (128, 64), (130, 65), (129, 100), (129, 300)] {
            let mut log = Writer::new(ring);
            for number in 0..records {
                log.record(&transaction(number, &[]));
            }
            let (place, uuid) = best(&*log.volume(&[]));
            assert_eq!((place.offset, place.version, uuid), (LOG_BYTE, 2, UUID), "{records} records");
            let blocks = place.bytes / BLOCK_BYTES;
            // In a ring that was never written to its end, what follows may look like it.
            let is_right = if log.at > ring { blocks == ring } else { blocks >= log.at };
            assert!(is_right, "{records} records in {ring} blocks: {blocks}");
        }
    }

    #[test]
    fn the_log_with_the_most_records_is_the_one() {
        let (mut many, mut few) = (Writer::new(128), Writer::new(128));
        for number in 0..9 {
            many.record(&transaction(number, &[]));
            few.record(&transaction(number / 3, &[]));
        }
        few.ring[3 * 2 * BLOCK_LENGTH..].fill(0);
        assert_eq!(best(&*many.volume(&[(0, few.ring)])).0.offset, LOG_BYTE);
    }
}
