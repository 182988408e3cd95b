//! GUID partition tables: the header in front, or the one at the end when the first is damaged.

use super::{Partition, bytes};
use crate::base::extent::Extent;
use crate::base::io::ReadAt;
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::fields::{Fields, sums_agree};

const SIGNATURE: &[u8] = b"EFI PART";
/// The header that every revision has.
const HEADER_BYTES: usize = 92;
const HEADER_CHECKSUM: usize = 16;
/// The smallest entry, and the step between sizes.
const ENTRY_BYTES: u32 = 128;
/// 128 entries are usual; this is eight thousand.
const MAX_TABLE_BYTES: u64 = 1 << 20;
/// Nobody says how long a sector is; the header stands in the second one.
const SECTORS: [u64; 2] = [512, 4096];

/// The partitions, if there is such a table; an error when both of its copies are damaged.
pub(super) fn read(source: &dyn ReadAt) -> Result<Option<Vec<Partition>>, FilesystemError> {
    let mut damage = None;
    for sector in SECTORS {
        let last = (source.size() / sector).saturating_sub(1) * sector;
        for at in [sector, last] {
            let Some(header) = header(source, at)? else { continue };
            match table(source, &header, at, sector) {
                Ok(list) => return Ok(Some(list)),
                Err(error) => damage = damage.or(Some(error)),
            }
        }
    }
    damage.map_or(Ok(None), Err)
}

/// A sector that begins as a header does.
fn header(source: &dyn ReadAt, at: u64) -> Result<Option<Vec<u8>>, FilesystemError> {
    let first = bytes(source, at, 512)?;
    Ok(first.filter(|header| header.starts_with(SIGNATURE)))
}

fn table(source: &dyn ReadAt, header: &[u8], at: u64, sector: u64) -> Result<Vec<Partition>, FilesystemError> {
    let fields = Fields::new(header, Object::PartitionTable, at);
    let header_bytes = usize::try_from(fields.le32(12)?).unwrap_or(usize::MAX);
    let mut zeroed = fields.slice(0, header_bytes.max(HEADER_BYTES))?.to_vec();
    zeroed.get_mut(HEADER_CHECKSUM..HEADER_CHECKSUM + 4).unwrap_or_default().fill(0);
    if !sums_agree(fields.le32(HEADER_CHECKSUM)?, crc32fast::hash(&zeroed)) || fields.le64(24)?.checked_mul(sector) != Some(at) {
        return Err(fields.corrupt("the checksum of the GPT header does not match"));
    }
    let (count, entry_bytes) = (fields.le32(80)?, fields.le32(84)?);
    let length = u64::from(count) * u64::from(entry_bytes);
    if entry_bytes < ENTRY_BYTES || !entry_bytes.is_multiple_of(8) || length > MAX_TABLE_BYTES {
        return Err(fields.corrupt(format!("a table of {count} entries of {entry_bytes} bytes cannot be")));
    }
    let place = fields.le64(72)?.saturating_mul(sector);
    let entries = bytes(source, place, usize::try_from(length).unwrap_or(usize::MAX))?;
    let entries = entries.filter(|entries| fields.le32(88).is_ok_and(|sum| sums_agree(sum, crc32fast::hash(entries))));
    let entries = entries.ok_or_else(|| fields.corrupt("the checksum of the GPT entries does not match"))?;
    list(&entries, place, entry_bytes as usize, sector)
}

fn list(entries: &[u8], place: u64, entry_bytes: usize, sector: u64) -> Result<Vec<Partition>, FilesystemError> {
    let mut found = Vec::new();
    for (number, entry) in (1..).zip(entries.chunks_exact(entry_bytes)) {
        let fields = Fields::new(entry, Object::PartitionTable, place);
        if fields.slice(0, 16)?.iter().all(|byte| *byte == 0) {
            continue;
        }
        let (first, last) = (fields.le64(32)?, fields.le64(40)?);
        let (start, end) = (first.checked_mul(sector), last.checked_add(1).and_then(|end| end.checked_mul(sector)));
        let (Some(start), Some(end)) = (start, end.filter(|_| last >= first)) else {
            return Err(fields.corrupt(format!("partition {number} from sector {first} to {last} cannot be")));
        };
        found.push(Partition { number, extent: Extent::between(start, end), name: name(fields.slice(56, 72)?) });
    }
    Ok(found)
}

/// UTF-16 up to its first zero.
fn name(bytes: &[u8]) -> String {
    let units = bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair));
    char::decode_utf16(units.take_while(|unit| *unit != 0)).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}
