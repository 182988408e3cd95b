//! The `config` object: which repository this is, readable without any key.
//!
//! ```text
//! 0   magic "ICECONF\n"
//! 8   version u8
//! 9   reserved [7]
//! 16  repository id [16]
//! 32  created u64, ms since 1970
//! 40  default chunk size u32, bytes
//! 44  target pack size u32, bytes
//! 48  default codec u8 (frame codec numbers), zstd level u8, reserved [6]
//! 56  seal [32]: keyed BLAKE3 of bytes 0..56, so that a changed config shows once unlocked
//! 88  crc32 u32 of bytes 0..88
//! ```

use super::bounds::{FormatError, In, expect_end, expect_magic, strip_crc};
use super::frame::Codec;
use crate::base::bytes::{ByteReader, PutBytes};
use crate::base::clock::Timestamp;
use crate::repository::ids::RepositoryId;

const WHAT: &str = "config";
const MAGIC: &[u8; 8] = b"ICECONF\n";

/// Smallest chunk: one page of most filesystems.
pub const MIN_CHUNK_BYTES: u32 = 4 << 10;
/// Largest chunk: one read window.
pub const MAX_CHUNK_BYTES: u32 = 1 << 20;
/// Packs are held in memory while they are filled and while they are checked.
pub const MAX_PACK_BYTES: u32 = 32 << 20;
/// Below this, objects would be too many.
pub const MIN_PACK_BYTES: u32 = 64 << 10;

/// What is chosen once, at `init`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Name of the repository.
    pub id: RepositoryId,
    /// When it was made.
    pub created: Timestamp,
    /// Chunk size for volumes that do not choose their own, a power of two, in bytes.
    pub chunk_bytes: u32,
    /// A pack is closed once it is at least this long, in bytes.
    pub pack_bytes: u32,
    /// How new chunks are compressed unless a backup says otherwise.
    pub codec: Codec,
}

/// True for the chunk sizes that a volume may have.
#[must_use]
pub fn is_chunk_size(bytes: u32) -> bool {
    bytes.is_power_of_two() && (MIN_CHUNK_BYTES..=MAX_CHUNK_BYTES).contains(&bytes)
}

impl Config {
    /// The bytes that the seal covers.
    #[must_use]
    pub fn sealed_part(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(92);
        out.put(MAGIC);
        out.put_u8(super::FORMAT_VERSION);
        out.put(&[0; 7]);
        out.put(&self.id.0);
        out.put_u64(self.created.0);
        out.put_u32(self.chunk_bytes);
        out.put_u32(self.pack_bytes);
        out.put_u8(self.codec.number());
        out.put_u8(self.codec.level());
        out.put(&[0; 6]);
        out
    }

    /// The whole object.
    #[must_use]
    pub fn encode(&self, seal: [u8; 32]) -> Vec<u8> {
        let mut out = self.sealed_part();
        out.put(&seal);
        let crc = crc32fast::hash(&out);
        out.put_u32(crc);
        out
    }

    /// Reads the object; the seal is for the caller to verify once it has the key.
    pub fn parse(bytes: &[u8]) -> Result<(Self, [u8; 32]), FormatError> {
        // Magic and version come first, so that a newer format is named as such and not as damage.
        expect_magic(&mut ByteReader::new(bytes), MAGIC, WHAT)?;
        let mut reader = ByteReader::new(strip_crc(bytes, WHAT)?);
        reader.take(16).within(WHAT)?;
        let id = RepositoryId(reader.array().within(WHAT)?);
        let created = Timestamp(reader.u64().within(WHAT)?);
        let chunk_bytes = reader.u32().within(WHAT)?;
        let pack_bytes = reader.u32().within(WHAT)?;
        let codec = Codec::from_numbers(reader.u8().within(WHAT)?, reader.u8().within(WHAT)?)?;
        reader.take(6).within(WHAT)?;
        let seal = reader.array().within(WHAT)?;
        expect_end(&reader, WHAT)?;
        if !is_chunk_size(chunk_bytes) {
            return Err(FormatError::Value { what: WHAT, field: "chunk size", value: chunk_bytes.into() });
        }
        if !(MIN_PACK_BYTES..=MAX_PACK_BYTES).contains(&pack_bytes) {
            return Err(FormatError::Value { what: WHAT, field: "pack size", value: pack_bytes.into() });
        }
        Ok((Self { id, created, chunk_bytes, pack_bytes, codec }, seal))
    }
}
