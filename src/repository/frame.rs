//! Frames sealed into packs and opened again.

use super::codec::FrameDecompressor;
use super::crypt::AeadKey;
use super::error::RepositoryError;
use super::format::frame::{Codec, FRAME_HEADER_BYTES, FRAME_TAG_BYTES, FrameHeader, FrameKind};
use super::format::node::FrameRef;
use super::format::pack::{PackHeader, PackSlot, encode_footer};
use super::ids::{LeaseId, PackId};
use super::keyring::Keyring;
use crate::base::entropy::Entropy;

/// Bytes ready for a frame: compressed, not sealed yet.
#[derive(Debug)]
pub(crate) struct Payload<'a> {
    pub(crate) kind: FrameKind,
    pub(crate) codec: Codec,
    pub(crate) raw_length: u32,
    pub(crate) bytes: &'a [u8],
}

/// A pack being filled in memory.
#[derive(Debug)]
pub(crate) struct PackBuilder {
    id: PackId,
    epoch: u16,
    key: AeadKey,
    bytes: Vec<u8>,
    slots: Vec<PackSlot>,
}

impl PackBuilder {
    /// An empty pack with a random name, hence with frame keys of its own, filled into an empty buffer.
    pub(crate) fn new(ring: &Keyring, entropy: &dyn Entropy, lease: LeaseId, buffer: Vec<u8>) -> Result<Self, RepositoryError> {
        let id = PackId::random(entropy)?;
        let epoch = ring.active();
        let mut bytes = buffer;
        bytes.extend_from_slice(&PackHeader { epoch, id, lease }.encode());
        Ok(Self { id, epoch, key: ring.pack_key(epoch, &id)?, bytes, slots: Vec::new() })
    }

    /// Seals a payload into the next slot.
    pub(crate) fn add(&mut self, payload: &Payload<'_>) -> Result<FrameRef, RepositoryError> {
        let header =
            FrameHeader { codec: payload.codec, kind: payload.kind, epoch: self.epoch, raw_length: payload.raw_length }.encode();
        let start = self.bytes.len();
        let slot = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(&header);
        self.bytes.extend_from_slice(payload.bytes);
        let tag = self.key.seal(slot_nonce(slot), &header, &mut self.bytes[start + FRAME_HEADER_BYTES..])?;
        self.bytes.extend_from_slice(&tag);
        let stored = &self.bytes[start..];
        let entry = PackSlot {
            offset: u32::try_from(start).unwrap_or(u32::MAX),
            stored: u32::try_from(stored.len()).unwrap_or(u32::MAX),
            crc: crc32fast::hash(stored),
        };
        self.slots.push(entry);
        Ok(FrameRef { pack: self.id, slot, offset: entry.offset, stored: entry.stored })
    }

    /// Bytes so far.
    pub(crate) fn length(&self) -> usize {
        self.bytes.len()
    }

    /// True when nothing was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The finished object, in the buffer it was given.
    pub(crate) fn finish(mut self) -> (PackId, Vec<u8>) {
        self.bytes.extend_from_slice(&encode_footer(&self.slots));
        (self.id, self.bytes)
    }
}

/// The nonce of a slot. Every pack has a key of its own, so slot numbers never repeat under one key.
fn slot_nonce(slot: u32) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[..4].copy_from_slice(&slot.to_le_bytes());
    nonce
}

/// Which epoch's key a stored frame needs.
pub(crate) fn stored_header(stored: &[u8], frame: &FrameRef) -> Result<FrameHeader, RepositoryError> {
    FrameHeader::parse(stored).map_err(|error| RepositoryError::from_format(describe(frame), error))
}

/// Verifies, decrypts and decompresses a stored frame into `raw`.
pub(crate) fn open_frame(
    key: &AeadKey,
    frame: &FrameRef,
    stored: &[u8],
    decompressor: &mut FrameDecompressor,
    raw: &mut Vec<u8>,
) -> Result<FrameKind, RepositoryError> {
    let header = stored_header(stored, frame)?;
    let Some((clear, sealed)) = stored.split_at_checked(FRAME_HEADER_BYTES).filter(|(_, s)| s.len() >= FRAME_TAG_BYTES) else {
        return Err(RepositoryError::damaged(describe(frame), "it is too short"));
    };
    let mut sealed = sealed.to_vec();
    let compressed = key
        .open(slot_nonce(frame.slot), clear, &mut sealed)
        .map_err(|_| RepositoryError::damaged(describe(frame), "its seal does not open"))?;
    let raw_length = usize::try_from(header.raw_length).unwrap_or(usize::MAX);
    decompressor
        .decompress(header.codec, compressed, raw_length, raw)
        .map_err(|error| RepositoryError::damaged(describe(frame), error))?;
    Ok(header.kind)
}

/// A frame in words.
pub(crate) fn describe(frame: &FrameRef) -> String {
    format!("pack {} slot {}", frame.pack, frame.slot)
}
