//! Partition tables of the old kind: four entries, of which one may hold a chain of logical partitions.

use super::{Partition, bytes};
use crate::base::extent::Extent;
use crate::base::io::ReadAt;
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::fields::Fields;

const SECTOR: u64 = 512;
const ENTRIES: usize = 446;
const ENTRY_BYTES: usize = 16;
const SIGNATURE: u16 = 0xAA55;
/// Kinds of partition that hold others.
const EXTENDED: [u8; 3] = [0x05, 0x0F, 0x85];
/// A guard that says "GPT"; the table itself is gone if it is met here.
const PROTECTIVE: u8 = 0xEE;
/// Logical partitions are counted from here.
const FIRST_LOGICAL: u32 = 5;
/// More than any system ever made; the chain may be a ring.
const MAX_LOGICAL: u32 = 256;

/// An entry that is in use.
#[derive(Debug, Clone, Copy)]
struct Slot {
    kind: u8,
    first: u64,
    sectors: u64,
}

impl Slot {
    fn is_extended(&self) -> bool {
        EXTENDED.contains(&self.kind)
    }

    /// The partition, counted from sector `base`.
    fn partition(&self, number: u32, base: u64) -> Partition {
        let start = base.saturating_add(self.first).saturating_mul(SECTOR);
        Partition { number, extent: Extent::new(start, self.sectors * SECTOR), name: String::new() }
    }
}

/// The partitions; none when there is no table.
pub(super) fn read(source: &dyn ReadAt) -> Result<Vec<Partition>, FilesystemError> {
    let Some(slots) = slots(source, 0)? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    let mut logical = Vec::new();
    for (number, slot) in (1..).zip(slots) {
        match slot {
            None => {}
            Some(slot) if slot.kind == PROTECTIVE => {
                let what = "a protective MBR without its GPT: both copies of the table are gone";
                return Err(FilesystemError::corrupt(Object::PartitionTable, 0, what));
            }
            Some(slot) if slot.is_extended() => chain(source, slot.first, &mut logical)?,
            Some(slot) => found.push(slot.partition(number, 0)),
        }
    }
    found.append(&mut logical);
    Ok(found)
}

/// The four entries of a sector with the right signature, whose status bytes are possible.
fn slots(source: &dyn ReadAt, sector: u64) -> Result<Option<[Option<Slot>; 4]>, FilesystemError> {
    let at = sector.saturating_mul(SECTOR);
    let Some(table) = bytes(source, at, SECTOR as usize)? else { return Ok(None) };
    let fields = Fields::new(&table, Object::PartitionTable, at);
    if fields.le16(510)? != SIGNATURE {
        return Ok(None);
    }
    let mut slots = [None; 4];
    for (index, slot) in slots.iter_mut().enumerate() {
        let entry = ENTRIES + index * ENTRY_BYTES;
        if fields.u8(entry)? & 0x7F != 0 {
            // A boot sector, such as that of FAT, has code here.
            return Ok(None);
        }
        let found =
            Slot { kind: fields.u8(entry + 4)?, first: fields.le32(entry + 8)?.into(), sectors: fields.le32(entry + 12)?.into() };
        *slot = Some(found).filter(|slot| slot.kind != 0 && slot.sectors != 0);
    }
    Ok(Some(slots))
}

/// Follows a chain, and counts on from those found before, as the kernel does: an empty link has no number. Each link holds one partition, counted from itself, and the next link, counted from the chain's beginning.
fn chain(source: &dyn ReadAt, beginning: u64, found: &mut Vec<Partition>) -> Result<(), FilesystemError> {
    let mut link = beginning;
    for _link in 0..MAX_LOGICAL {
        let Some(slots) = slots(source, link)? else { return Ok(()) };
        let here = slots.iter().flatten().find(|slot| !slot.is_extended());
        let number = FIRST_LOGICAL.saturating_add(u32::try_from(found.len()).unwrap_or(u32::MAX));
        found.extend(here.map(|slot| slot.partition(number, link)));
        let Some(next) = slots.iter().flatten().find(|slot| slot.is_extended()) else { return Ok(()) };
        let next = beginning.saturating_add(next.first);
        if next <= link {
            let what = "the chain of logical partitions runs back";
            return Err(FilesystemError::corrupt(Object::PartitionTable, link.saturating_mul(SECTOR), what));
        }
        link = next;
    }
    let what = format!("the chain of logical partitions has more than {MAX_LOGICAL} links");
    Err(FilesystemError::corrupt(Object::PartitionTable, link.saturating_mul(SECTOR), what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::volume::MemoryVolume;

    /// An entry of a table: slot, kind, first sector and length.
    type Entry = (usize, u8, u32, u32);

    /// A disk with tables at some sectors.
    fn disk(tables: &[(u64, &[Entry])]) -> MemoryVolume {
        let mut bytes = vec![0; 1 << 20];
        for (sector, slots) in tables {
            let at = (sector * SECTOR) as usize;
            bytes[at + 510..at + 512].copy_from_slice(&SIGNATURE.to_le_bytes());
            for (slot, kind, first, sectors) in *slots {
                let entry = at + ENTRIES + slot * ENTRY_BYTES;
                bytes[entry + 4] = *kind;
                bytes[entry + 8..entry + 12].copy_from_slice(&first.to_le_bytes());
                bytes[entry + 12..entry + 16].copy_from_slice(&sectors.to_le_bytes());
            }
        }
        MemoryVolume::new(bytes)
    }

    fn found(disk: &MemoryVolume) -> Vec<(u32, u64)> {
        read(disk).unwrap().into_iter().map(|partition| (partition.number, partition.extent.offset / SECTOR)).collect()
    }

    #[test]
    fn logical_partitions_are_counted_through_all_chains_and_around_empty_links() {
        let first: &[_] = &[(0, 0x83, 8, 8), (1, 0x05, 100, 100), (2, 0x05, 300, 100)];
        let disk = disk(&[
            (0, first),
            (100, &[(1, 0x05, 20, 10)]),
            (120, &[(0, 0x83, 1, 5), (1, 0x05, 40, 10)]),
            (140, &[(0, 0x83, 1, 5)]),
            (300, &[(0, 0x83, 2, 5)]),
        ]);
        assert_eq!(found(&disk), [(1, 8), (5, 121), (6, 141), (7, 302)]);
    }
}
