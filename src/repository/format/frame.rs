//! Frames: what a pack holds. A few chunks, or one tree node, compressed and sealed together.
//!
//! ```text
//! 0  codec u8: 0 none, 1 lz4 block, 2 zstd
//! 1  kind u8: 1 chunks, 2 tree node
//! 2  key epoch u16
//! 4  raw length u32, bytes after decompression
//! 8  AES-256-GCM of the compressed bytes, then the 16-byte tag
//! ```
//! Key: from the epoch key and the pack id. Nonce: the slot number. Associated data: the eight bytes above.

use super::bounds::{FormatError, In};
use crate::base::bytes::{ByteReader, PutBytes};

const WHAT: &str = "frame";

/// Bytes before the ciphertext.
pub const FRAME_HEADER_BYTES: usize = 8;
/// Bytes of the authentication tag after the ciphertext.
pub const FRAME_TAG_BYTES: usize = 16;
/// The most that a frame may hold: one window of the largest chunk size.
pub const MAX_FRAME_RAW_BYTES: u32 = 1 << 20;

/// How bytes are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// As they are.
    None,
    /// LZ4 block format: quick, and a fifth larger than zstd.
    Lz4,
    /// Zstandard at this level, 1 to 19.
    Zstd(u8),
}

impl Codec {
    /// The number on disk.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Lz4 => 1,
            Self::Zstd(_) => 2,
        }
    }

    /// The level on disk; zero where there is none.
    #[must_use]
    pub fn level(self) -> u8 {
        match self {
            Self::None | Self::Lz4 => 0,
            Self::Zstd(level) => level,
        }
    }

    /// Reads number and level.
    pub fn from_numbers(number: u8, level: u8) -> Result<Self, FormatError> {
        match (number, level) {
            (0, _) => Ok(Self::None),
            (1, _) => Ok(Self::Lz4),
            (2, 1..=19) => Ok(Self::Zstd(level)),
            (2, _) => Err(FormatError::Value { what: WHAT, field: "zstd level", value: level.into() }),
            _ => Err(FormatError::Value { what: WHAT, field: "codec", value: number.into() }),
        }
    }
}

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// Whole chunks of a volume, one after the other.
    Chunks,
    /// One tree node.
    Node,
}

/// The clear first eight bytes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// Number of the codec.
    pub codec: Codec,
    /// What it holds.
    pub kind: FrameKind,
    /// Which epoch's key sealed it.
    pub epoch: u16,
    /// Length after decompression, in bytes.
    pub raw_length: u32,
}

impl FrameHeader {
    /// The eight bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; FRAME_HEADER_BYTES] {
        let mut out = Vec::with_capacity(FRAME_HEADER_BYTES);
        out.put_u8(self.codec.number());
        out.put_u8(match self.kind {
            FrameKind::Chunks => 1,
            FrameKind::Node => 2,
        });
        out.put_u16(self.epoch);
        out.put_u32(self.raw_length);
        let mut bytes = [0; FRAME_HEADER_BYTES];
        bytes.copy_from_slice(&out);
        bytes
    }

    /// Reads the header of a frame. The level of a zstd frame is not kept; decompression does not need it.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = ByteReader::new(bytes);
        let codec = Codec::from_numbers(reader.u8().within(WHAT)?, 1)?;
        let kind = match reader.u8().within(WHAT)? {
            1 => FrameKind::Chunks,
            2 => FrameKind::Node,
            other => return Err(FormatError::Value { what: WHAT, field: "kind", value: other.into() }),
        };
        let epoch = reader.u16().within(WHAT)?;
        let raw_length = reader.u32().within(WHAT)?;
        if raw_length > MAX_FRAME_RAW_BYTES {
            return Err(FormatError::Value { what: WHAT, field: "raw length", value: raw_length.into() });
        }
        Ok(Self { codec, kind, epoch, raw_length })
    }
}
