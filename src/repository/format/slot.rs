//! Key slots: ways to unlock the keyring, one object each.
//!
//! ```text
//! 0    magic "ICESLOT\n"
//! 8    version u8
//! 9    kind u8: 1 passphrase, 2 key file, 3 paper
//! 10   label length u8, reserved u8
//! 12   argon2 passes u32, 16 argon2 memory u32 (KiB), 20 argon2 lanes u32   (zero unless passphrase)
//! 24   salt [16]
//! 40   created u64, ms since 1970
//! 48   slot id [8]
//! 56   public key [32], X25519: a rotated keyring is sealed to it without asking for the secret
//! 88   wrap nonce [12], wrapped private key [48]: AES-256-GCM under the key made from the secret
//! 148  sealed keyring: ephemeral public key [32], nonce [12], length u32, AES-256-GCM ciphertext
//!      label
//!      signer count u16, then epoch u16 and Ed25519 public key [32] each: whose signatures to accept, for keyless checks
//!      seal [32]: keyed BLAKE3 of all before it, under the newest epoch
//!      crc32 u32 of all before it
//! ```

use super::bounds::{FormatError, In, expect_end, expect_magic, length_u32, strip_crc, to_usize};
use crate::base::bytes::{ByteReader, PutBytes};
use crate::base::clock::Timestamp;
use crate::repository::ids::SlotId;

const WHAT: &str = "key slot";
const MAGIC: &[u8; 8] = b"ICESLOT\n";

/// Argon2id may ask for no more memory than this, so that a hostile slot can't exhaust the machine: 1 GiB in KiB.
pub const MAX_ARGON2_MEMORY_KIB: u32 = 1 << 20;
/// Nor for more passes than this.
pub const MAX_ARGON2_PASSES: u32 = 64;
/// Nor for more lanes.
pub const MAX_ARGON2_LANES: u32 = 16;
/// A keyring of this many epochs has been rotated monthly for 80 years.
pub const MAX_EPOCHS: usize = 1_000;
/// The longest label in bytes.
pub const MAX_LABEL_BYTES: usize = 200;

/// How hard a passphrase is to guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Argon2Cost {
    /// Passes over the memory.
    pub passes: u32,
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Lanes.
    pub lanes: u32,
}

/// What kind of secret opens the slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotKind {
    /// A passphrase, stretched by Argon2id.
    Passphrase(Argon2Cost),
    /// 32 random bytes in a file.
    KeyFile,
    /// 32 random bytes on paper.
    Paper,
}

/// The keyring, sealed to the slot's public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedKeyring {
    /// The sender's half of the key agreement.
    pub ephemeral: [u8; 32],
    /// Nonce of the sealing.
    pub nonce: [u8; 12],
    /// Ciphertext and tag.
    pub ciphertext: Vec<u8>,
}

/// A key slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySlot {
    /// Its name.
    pub id: SlotId,
    /// Which kind of secret.
    pub kind: SlotKind,
    /// What its owner calls it.
    pub label: String,
    /// When it was made.
    pub created: Timestamp,
    /// Salt for the secret.
    pub salt: [u8; 16],
    /// X25519 public key.
    pub public_key: [u8; 32],
    /// Nonce of the wrapped private key.
    pub wrap_nonce: [u8; 12],
    /// X25519 private key, wrapped.
    pub wrapped_private_key: [u8; 48],
    /// The keys of the repository.
    pub keyring: SealedKeyring,
    /// Public signing keys by epoch.
    pub signers: Vec<(u16, [u8; 32])>,
}

impl KeySlot {
    /// The bytes that the seal covers.
    #[must_use]
    pub fn sealed_part(&self) -> Vec<u8> {
        let (kind, cost) = match self.kind {
            SlotKind::Passphrase(cost) => (1, cost),
            SlotKind::KeyFile => (2, Argon2Cost { passes: 0, memory_kib: 0, lanes: 0 }),
            SlotKind::Paper => (3, Argon2Cost { passes: 0, memory_kib: 0, lanes: 0 }),
        };
        let mut out = Vec::new();
        out.put(MAGIC);
        out.put_u8(super::FORMAT_VERSION);
        out.put_u8(kind);
        out.put_u8(u8::try_from(self.label.len()).unwrap_or(u8::MAX));
        out.put_u8(0);
        out.put_u32(cost.passes);
        out.put_u32(cost.memory_kib);
        out.put_u32(cost.lanes);
        out.put(&self.salt);
        out.put_u64(self.created.0);
        out.put(&self.id.0);
        out.put(&self.public_key);
        out.put(&self.wrap_nonce);
        out.put(&self.wrapped_private_key);
        out.put(&self.keyring.ephemeral);
        out.put(&self.keyring.nonce);
        out.put_u32(length_u32(&self.keyring.ciphertext));
        out.put(&self.keyring.ciphertext);
        out.put(self.label.as_bytes());
        out.put_u16(u16::try_from(self.signers.len()).unwrap_or(u16::MAX));
        for (epoch, key) in &self.signers {
            out.put_u16(*epoch);
            out.put(key);
        }
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

    /// Reads the object; the seal is for the caller to verify once it has the keys.
    pub fn parse(bytes: &[u8]) -> Result<(Self, [u8; 32]), FormatError> {
        expect_magic(&mut ByteReader::new(bytes), MAGIC, WHAT)?;
        let mut reader = ByteReader::new(strip_crc(bytes, WHAT)?);
        reader.take(9).within(WHAT)?;
        let kind = reader.u8().within(WHAT)?;
        let label_length = usize::from(reader.u8().within(WHAT)?);
        reader.u8().within(WHAT)?;
        let cost = Argon2Cost {
            passes: reader.u32().within(WHAT)?,
            memory_kib: reader.u32().within(WHAT)?,
            lanes: reader.u32().within(WHAT)?,
        };
        let kind = parse_kind(kind, cost)?;
        let salt = reader.array().within(WHAT)?;
        let created = Timestamp(reader.u64().within(WHAT)?);
        let id = SlotId(reader.array().within(WHAT)?);
        let public_key = reader.array().within(WHAT)?;
        let wrap_nonce = reader.array().within(WHAT)?;
        let wrapped_private_key = reader.array().within(WHAT)?;
        let ephemeral = reader.array().within(WHAT)?;
        let nonce = reader.array().within(WHAT)?;
        let length = reader.u32().within(WHAT)?;
        let ciphertext = reader.take(to_usize(length)).within(WHAT)?.to_vec();
        let label = String::from_utf8_lossy(reader.take(label_length).within(WHAT)?).into_owned();
        let signers = parse_signers(&mut reader)?;
        let seal = reader.array().within(WHAT)?;
        expect_end(&reader, WHAT)?;
        let keyring = SealedKeyring { ephemeral, nonce, ciphertext };
        let slot = Self { id, kind, label, created, salt, public_key, wrap_nonce, wrapped_private_key, keyring, signers };
        Ok((slot, seal))
    }
}

fn parse_signers(reader: &mut ByteReader<'_>) -> Result<Vec<(u16, [u8; 32])>, FormatError> {
    let count = reader.u16().within(WHAT)?;
    if usize::from(count) > MAX_EPOCHS {
        return Err(FormatError::Value { what: WHAT, field: "signer count", value: count.into() });
    }
    (0..count).map(|_| Ok((reader.u16().within(WHAT)?, reader.array().within(WHAT)?))).collect()
}

fn parse_kind(kind: u8, cost: Argon2Cost) -> Result<SlotKind, FormatError> {
    let bounded = |field, value: u32, max: u32| match value {
        0 => Err(FormatError::Value { what: WHAT, field, value: 0 }),
        value if value > max => Err(FormatError::Value { what: WHAT, field, value: value.into() }),
        _ => Ok(()),
    };
    match kind {
        1 => {
            bounded("argon2 passes", cost.passes, MAX_ARGON2_PASSES)?;
            bounded("argon2 memory", cost.memory_kib, MAX_ARGON2_MEMORY_KIB)?;
            bounded("argon2 lanes", cost.lanes, MAX_ARGON2_LANES)?;
            Ok(SlotKind::Passphrase(cost))
        }
        2 => Ok(SlotKind::KeyFile),
        3 => Ok(SlotKind::Paper),
        other => Err(FormatError::Value { what: WHAT, field: "kind", value: other.into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(kind: SlotKind) -> KeySlot {
        KeySlot {
            id: SlotId([1; 8]),
            kind,
            label: "ops".into(),
            created: Timestamp(2),
            salt: [3; 16],
            public_key: [4; 32],
            wrap_nonce: [5; 12],
            wrapped_private_key: [6; 48],
            keyring: SealedKeyring { ephemeral: [7; 32], nonce: [8; 12], ciphertext: vec![9; 100] },
            signers: vec![(0, [10; 32]), (1, [11; 32])],
        }
    }

    #[test]
    fn a_slot_comes_back_as_it_was_written() {
        let cost = Argon2Cost { passes: 3, memory_kib: 65536, lanes: 1 };
        for kind in [SlotKind::Passphrase(cost), SlotKind::KeyFile, SlotKind::Paper] {
            assert_eq!(KeySlot::parse(&slot(kind).encode([12; 32])), Ok((slot(kind), [12; 32])));
        }
    }

    #[test]
    fn a_slot_that_asks_for_too_much_memory_is_refused() {
        let cost = Argon2Cost { passes: 3, memory_kib: MAX_ARGON2_MEMORY_KIB + 1, lanes: 1 };
        let bytes = slot(SlotKind::Passphrase(cost)).encode([0; 32]);
        assert!(matches!(KeySlot::parse(&bytes), Err(FormatError::Value { field: "argon2 memory", .. })));
    }
}
