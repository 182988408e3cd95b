//! Packs: sealed frames one after the other, and a table that finds them.
//!
//! ```text
//! header, 64 bytes
//!   0   magic "ICEPACK\n"
//!   8   version u8
//!   9   reserved [1]
//!   10  key epoch u16
//!   12  reserved [4]
//!   16  pack id [16]
//!   32  lease id [16]: the writer that made it; collection spares packs of living leases
//!   48  reserved [12]
//!   60  crc32 u32 of bytes 0..60
//! frames, one for each live slot, in slot order
//! table, 12 bytes a slot
//!   0   offset u32 from the start of the pack; 0 for a slot that was collected
//!   4   stored length u32; 0 for a slot that was collected
//!   8   crc32 u32 of the stored bytes
//! trailer, 32 bytes
//!   0   slot count u32
//!   4   parity length u32: bytes of erasure code between frames and table, 0 in version 1
//!   8   crc32 u32 of the table
//!   12  reserved [8]
//!   20  crc32 u32 of trailer bytes 0..20
//!   24  magic "ICEPEND\n"
//! ```
//! A slot keeps its number for ever, since the number is its nonce and every reference names it.

use super::bounds::{FormatError, In, expect_end, expect_magic, length_u32, strip_crc, to_usize};
use crate::base::bytes::{ByteReader, PutBytes, Truncated};
use crate::repository::ids::{LeaseId, PackId};

const HEADER: &str = "pack header";
const TABLE: &str = "pack slot table";
const TRAILER: &str = "pack trailer";
const MAGIC: &[u8; 8] = b"ICEPACK\n";
const END_MAGIC: &[u8; 8] = b"ICEPEND\n";

/// Length of the header in bytes.
pub const PACK_HEADER_BYTES: usize = 64;
/// Length of the trailer in bytes.
pub const PACK_TRAILER_BYTES: usize = 32;
/// Length of one table entry in bytes.
pub const PACK_SLOT_BYTES: usize = 12;
/// The most slots in a pack; 32 MiB of the smallest tree nodes stay far below.
pub const MAX_PACK_SLOTS: u32 = 1 << 20;

/// The first 64 bytes of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackHeader {
    /// Which epoch's key seals the frames.
    pub epoch: u16,
    /// Name of the pack.
    pub id: PackId,
    /// The lease of its writer.
    pub lease: LeaseId,
}

impl PackHeader {
    /// The 64 bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(PACK_HEADER_BYTES);
        out.put(MAGIC);
        out.put_u8(super::FORMAT_VERSION);
        out.put_u8(0);
        out.put_u16(self.epoch);
        out.put(&[0; 4]);
        out.put(&self.id.0);
        out.put(&self.lease.0);
        out.put(&[0; 12]);
        let crc = crc32fast::hash(&out);
        out.put_u32(crc);
        out
    }

    /// Reads the header from the front of a pack.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        expect_magic(&mut ByteReader::new(bytes), MAGIC, HEADER)?;
        let whole = ByteReader::new(bytes).take(PACK_HEADER_BYTES).within(HEADER)?;
        let mut reader = ByteReader::new(strip_crc(whole, HEADER)?);
        reader.take(10).within(HEADER)?;
        let epoch = reader.u16().within(HEADER)?;
        reader.take(4).within(HEADER)?;
        let id = PackId(reader.array().within(HEADER)?);
        let lease = LeaseId(reader.array().within(HEADER)?);
        Ok(Self { epoch, id, lease })
    }
}

/// Where a frame lies in its pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PackSlot {
    /// First byte, from the start of the pack.
    pub offset: u32,
    /// Length with header and tag, in bytes; 0 when the slot was collected.
    pub stored: u32,
    /// CRC-32 of the stored bytes.
    pub crc: u32,
}

impl PackSlot {
    /// True when the slot still holds its frame.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.stored > 0
    }
}

/// Table and trailer of a pack.
#[must_use]
pub fn encode_footer(slots: &[PackSlot]) -> Vec<u8> {
    let mut out = Vec::with_capacity(slots.len().saturating_mul(PACK_SLOT_BYTES).saturating_add(PACK_TRAILER_BYTES));
    for slot in slots {
        out.put_u32(slot.offset);
        out.put_u32(slot.stored);
        out.put_u32(slot.crc);
    }
    let table_crc = crc32fast::hash(&out);
    let mut trailer = Vec::with_capacity(PACK_TRAILER_BYTES);
    trailer.put_u32(u32::try_from(slots.len()).unwrap_or(u32::MAX));
    trailer.put_u32(0);
    trailer.put_u32(table_crc);
    trailer.put(&[0; 8]);
    let crc = crc32fast::hash(&trailer);
    trailer.put_u32(crc);
    trailer.put(END_MAGIC);
    out.put(&trailer);
    out
}

/// The last 32 bytes of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackTrailer {
    /// How many slots the table has.
    pub slot_count: u32,
    table_crc: u32,
}

impl PackTrailer {
    /// Reads the trailer, which is all of `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = ByteReader::new(bytes);
        let checked = reader.take(24).within(TRAILER)?;
        if &reader.array::<8>().within(TRAILER)? != END_MAGIC {
            return Err(FormatError::Magic { what: TRAILER });
        }
        expect_end(&reader, TRAILER)?;
        let mut reader = ByteReader::new(strip_crc(checked, TRAILER)?);
        let slot_count = reader.u32().within(TRAILER)?;
        let _parity_length = reader.u32().within(TRAILER)?;
        let table_crc = reader.u32().within(TRAILER)?;
        if slot_count > MAX_PACK_SLOTS {
            return Err(FormatError::Value { what: TRAILER, field: "slot count", value: slot_count.into() });
        }
        Ok(Self { slot_count, table_crc })
    }

    /// Length of the table that stands before the trailer, in bytes.
    #[must_use]
    pub fn table_bytes(&self) -> usize {
        to_usize(self.slot_count).saturating_mul(PACK_SLOT_BYTES)
    }

    /// Reads the table, which is all of `bytes`; `pack_bytes` is the length of the whole pack.
    pub fn parse_table(&self, bytes: &[u8], pack_bytes: u64) -> Result<Vec<PackSlot>, FormatError> {
        if crc32fast::hash(bytes) != self.table_crc {
            return Err(FormatError::Checksum { what: TABLE });
        }
        let mut reader = ByteReader::new(bytes);
        let mut slots = Vec::with_capacity(to_usize(self.slot_count).min(bytes.len()));
        for _ in 0..self.slot_count {
            let slot = PackSlot {
                offset: reader.u32().within(TABLE)?,
                stored: reader.u32().within(TABLE)?,
                crc: reader.u32().within(TABLE)?,
            };
            if u64::from(slot.offset).saturating_add(slot.stored.into()) > pack_bytes {
                return Err(FormatError::Value { what: TABLE, field: "slot offset", value: slot.offset.into() });
            }
            slots.push(slot);
        }
        expect_end(&reader, TABLE)?;
        Ok(slots)
    }
}

/// A whole pack in memory: its header and its table.
pub fn parse_pack(bytes: &[u8]) -> Result<(PackHeader, Vec<PackSlot>), FormatError> {
    let header = PackHeader::parse(bytes)?;
    let cut = |what| FormatError::Cut { what, cut: Truncated { at: 0, wanted: PACK_TRAILER_BYTES, have: bytes.len() } };
    let (rest, trailer) = bytes.split_last_chunk::<PACK_TRAILER_BYTES>().ok_or(cut(TRAILER))?;
    let trailer = PackTrailer::parse(trailer)?;
    let start = rest.len().checked_sub(trailer.table_bytes()).ok_or(cut(TABLE))?;
    let table = rest.get(start..).ok_or(cut(TABLE))?;
    let slots = trailer.parse_table(table, u64::from(length_u32(bytes)))?;
    Ok((header, slots))
}

/// The stored bytes of a slot in a whole pack, held against their CRC-32.
pub fn slot_bytes<'a>(pack: &'a [u8], slot: &PackSlot) -> Result<&'a [u8], FormatError> {
    let start = to_usize(slot.offset);
    let bytes = pack.get(start..start.saturating_add(to_usize(slot.stored))).ok_or(FormatError::Value {
        what: TABLE,
        field: "slot offset",
        value: slot.offset.into(),
    })?;
    if crc32fast::hash(bytes) == slot.crc { Ok(bytes) } else { Err(FormatError::Checksum { what: "frame" }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack() -> Vec<u8> {
        let header = PackHeader { epoch: 3, id: PackId([7; 16]), lease: LeaseId([9; 16]) };
        let mut out = header.encode();
        out.put(b"frame zero");
        let slots = [PackSlot { offset: 64, stored: 10, crc: crc32fast::hash(b"frame zero") }, PackSlot::default()];
        out.put(&encode_footer(&slots));
        out
    }

    #[test]
    fn a_pack_comes_back_as_it_was_written() {
        let bytes = pack();
        let (header, slots) = parse_pack(&bytes).unwrap();
        assert_eq!(header, PackHeader { epoch: 3, id: PackId([7; 16]), lease: LeaseId([9; 16]) });
        assert_eq!(slot_bytes(&bytes, &slots[0]).unwrap(), b"frame zero");
        assert!(!slots[1].is_live());
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let good = pack();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let noticed = match parse_pack(&bad) {
                Err(_) => true,
                Ok((_, slots)) => slot_bytes(&bad, &slots[0]).is_err(),
            };
            assert!(noticed, "bit {bit} flipped unnoticed");
        }
        for length in 0..good.len() {
            assert!(parse_pack(&good[..length]).is_err(), "cut to {length} unnoticed");
        }
    }
}
