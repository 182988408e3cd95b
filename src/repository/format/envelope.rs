//! Envelopes: the small sealed and signed objects (points, leases, verdicts, condemned lists).
//!
//! ```text
//! 0      magic "ICESEAL\n"
//! 8      version u8
//! 9      kind u8: 1 point, 2 lease, 3 verdict, 4 condemned list
//! 10     key epoch u16
//! 12     reserved [4]
//! 16     nonce [12]
//! 28     ciphertext length n, u32, with the 16-byte tag
//! 32     AES-256-GCM of the fields; associated data: bytes 0..32, then the object's name
//! 32+n   Ed25519 signature [64] of bytes 0..32+n, then the object's name
//! 96+n   crc32 u32 of bytes 0..96+n
//! ```
//! The object's name is under both, so an object moved to another name opens nowhere.

use super::bounds::{FormatError, In, expect_end, expect_magic, length_u32, strip_crc, to_usize};
use crate::base::bytes::{ByteReader, PutBytes};

const WHAT: &str = "sealed object";
const MAGIC: &[u8; 8] = b"ICESEAL\n";
/// Bytes before the ciphertext.
pub const ENVELOPE_HEADER_BYTES: usize = 32;
/// The longest ciphertext: a condemned list of a million packs.
pub const MAX_ENVELOPE_BYTES: u32 = 32 << 20;

/// What an envelope holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnvelopeKind {
    /// A recovery point.
    Point,
    /// A writer's lease.
    Lease,
    /// A statement about a point.
    Verdict,
    /// Packs that will be deleted.
    Condemned,
}

impl EnvelopeKind {
    fn number(self) -> u8 {
        match self {
            Self::Point => 1,
            Self::Lease => 2,
            Self::Verdict => 3,
            Self::Condemned => 4,
        }
    }

    fn from_number(number: u8) -> Result<Self, FormatError> {
        match number {
            1 => Ok(Self::Point),
            2 => Ok(Self::Lease),
            3 => Ok(Self::Verdict),
            4 => Ok(Self::Condemned),
            other => Err(FormatError::Value { what: WHAT, field: "kind", value: other.into() }),
        }
    }
}

/// The clear part of an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnvelopeHeader {
    /// What it holds.
    pub kind: EnvelopeKind,
    /// Which epoch's key seals it.
    pub epoch: u16,
    /// Random, new for every object written.
    pub nonce: [u8; 12],
}

impl EnvelopeHeader {
    /// The 32 bytes before a ciphertext of `length` bytes.
    #[must_use]
    pub fn encode(&self, length: u32) -> Vec<u8> {
        let mut out = Vec::with_capacity(ENVELOPE_HEADER_BYTES);
        out.put(MAGIC);
        out.put_u8(super::FORMAT_VERSION);
        out.put_u8(self.kind.number());
        out.put_u16(self.epoch);
        out.put(&[0; 4]);
        out.put(&self.nonce);
        out.put_u32(length);
        out
    }
}

/// An envelope split into its parts, its CRC verified and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// The clear part.
    pub header: EnvelopeHeader,
    /// The header's bytes.
    pub header_bytes: &'a [u8],
    /// Ciphertext and tag.
    pub ciphertext: &'a [u8],
    /// Header and ciphertext: what the signature covers, before the name.
    pub signed: &'a [u8],
    /// The signature.
    pub signature: [u8; 64],
}

impl<'a> Envelope<'a> {
    /// Splits an object.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FormatError> {
        expect_magic(&mut ByteReader::new(bytes), MAGIC, WHAT)?;
        let body = strip_crc(bytes, WHAT)?;
        let mut reader = ByteReader::new(body);
        let header_bytes = reader.clone().take(ENVELOPE_HEADER_BYTES).within(WHAT)?;
        reader.take(9).within(WHAT)?;
        let kind = EnvelopeKind::from_number(reader.u8().within(WHAT)?)?;
        let epoch = reader.u16().within(WHAT)?;
        reader.take(4).within(WHAT)?;
        let nonce = reader.array().within(WHAT)?;
        let length = reader.u32().within(WHAT)?;
        if length > MAX_ENVELOPE_BYTES {
            return Err(FormatError::Value { what: WHAT, field: "length", value: length.into() });
        }
        let ciphertext = reader.take(to_usize(length)).within(WHAT)?;
        let signed = ByteReader::new(body).take(reader.position()).within(WHAT)?;
        let signature = reader.array().within(WHAT)?;
        expect_end(&reader, WHAT)?;
        Ok(Self { header: EnvelopeHeader { kind, epoch, nonce }, header_bytes, ciphertext, signed, signature })
    }
}

/// Joins signed bytes (header and ciphertext) and their signature into an object.
#[must_use]
pub fn close(mut signed: Vec<u8>, signature: [u8; 64]) -> Vec<u8> {
    signed.put(&signature);
    let crc = crc32fast::hash(&signed);
    signed.put_u32(crc);
    signed
}

/// The ciphertext length as the header stores it.
#[must_use]
pub fn ciphertext_length(ciphertext: &[u8]) -> u32 {
    length_u32(ciphertext)
}
