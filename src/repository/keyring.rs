//! The unlocked keyring: every key that the repository's objects need, derived once.

use std::fmt;

use super::crypt::{AeadKey, CryptError, Signer, derive};
use super::format::config::Config;
use super::format::keyring::KeyringBytes;
use super::ids::{ContentId, PackId, RepositoryId, VolumeKey};
use crate::base::entropy::{Entropy, EntropyError};

/// One epoch's keys.
struct Epoch {
    number: u16,
    pack_base: [u8; 32],
    object_base: [u8; 32],
    slot_seal: [u8; 32],
    signer: Signer,
}

/// All keys of a repository.
pub(crate) struct Keyring {
    bytes: KeyringBytes,
    chunk_id_key: [u8; 32],
    node_id_key: [u8; 32],
    volume_key: [u8; 32],
    config_key: [u8; 32],
    epochs: Vec<Epoch>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.bytes)
    }
}

impl Keyring {
    /// New keys for a new repository.
    pub(crate) fn generate(repository: RepositoryId, entropy: &dyn Entropy) -> Result<KeyringBytes, EntropyError> {
        let mut content_key = [0; 32];
        entropy.fill(&mut content_key)?;
        let mut ring = KeyringBytes { repository, active: 0, content_key, epochs: Vec::new() };
        ring.epochs.push((0, random_key(entropy)?));
        Ok(ring)
    }

    /// The same ring with a key for one more epoch, not active yet.
    pub(crate) fn with_new_epoch(ring: &KeyringBytes, entropy: &dyn Entropy) -> Result<KeyringBytes, EntropyError> {
        let next = newest(ring).saturating_add(1);
        let mut ring = ring.clone();
        ring.epochs.push((next, random_key(entropy)?));
        Ok(ring)
    }

    /// Derives the keys.
    pub(crate) fn new(bytes: KeyringBytes) -> Result<Self, CryptError> {
        let content = &bytes.content_key;
        let epochs = bytes.epochs.iter().map(|(number, key)| epoch(*number, key)).collect::<Result<_, _>>()?;
        Ok(Self {
            chunk_id_key: *derive("icecore v1 chunk id", content),
            node_id_key: *derive("icecore v1 tree node id", content),
            volume_key: *derive("icecore v1 volume name", content),
            config_key: *derive("icecore v1 config seal", content),
            epochs,
            bytes,
        })
    }

    pub(crate) fn bytes(&self) -> &KeyringBytes {
        &self.bytes
    }

    pub(crate) fn active(&self) -> u16 {
        self.bytes.active
    }

    /// The newest epoch, which a rotation that was cut short may not have made active.
    pub(crate) fn newest(&self) -> u16 {
        newest(&self.bytes)
    }

    pub(crate) fn chunk_id(&self, bytes: &[u8]) -> ContentId {
        ContentId(*blake3::keyed_hash(&self.chunk_id_key, bytes).as_bytes())
    }

    pub(crate) fn node_id(&self, bytes: &[u8]) -> ContentId {
        ContentId(*blake3::keyed_hash(&self.node_id_key, bytes).as_bytes())
    }

    pub(crate) fn volume_key(&self, name: &str) -> VolumeKey {
        let mut out = [0; 16];
        out.copy_from_slice(&blake3::keyed_hash(&self.volume_key, name.as_bytes()).as_bytes()[..16]);
        VolumeKey(out)
    }

    pub(crate) fn config_seal(&self, config: &Config) -> [u8; 32] {
        *blake3::keyed_hash(&self.config_key, &config.sealed_part()).as_bytes()
    }

    /// The key of all frames of one pack; the slot number is the nonce.
    pub(crate) fn pack_key(&self, epoch: u16, pack: &PackId) -> Result<AeadKey, CryptError> {
        let base = &self.epoch(epoch)?.pack_base;
        AeadKey::new(blake3::keyed_hash(base, &pack.0).as_bytes())
    }

    /// The key of one sealed object, bound to its name.
    pub(crate) fn object_key(&self, epoch: u16, name: &str) -> Result<AeadKey, CryptError> {
        let base = &self.epoch(epoch)?.object_base;
        AeadKey::new(blake3::keyed_hash(base, name.as_bytes()).as_bytes())
    }

    pub(crate) fn signer(&self, epoch: u16) -> Result<&Signer, CryptError> {
        Ok(&self.epoch(epoch)?.signer)
    }

    /// Public signing keys of all epochs.
    pub(crate) fn signers(&self) -> Vec<(u16, [u8; 32])> {
        self.epochs.iter().map(|epoch| (epoch.number, epoch.signer.public())).collect()
    }

    /// Seal of a key slot under one epoch.
    pub(crate) fn slot_seal(&self, epoch: u16, slot: &[u8]) -> Result<[u8; 32], CryptError> {
        Ok(*blake3::keyed_hash(&self.epoch(epoch)?.slot_seal, slot).as_bytes())
    }

    fn epoch(&self, number: u16) -> Result<&Epoch, CryptError> {
        self.epochs.iter().find(|epoch| epoch.number == number).ok_or(CryptError("finding the key of this epoch"))
    }
}

fn newest(ring: &KeyringBytes) -> u16 {
    ring.epochs.iter().map(|(number, _)| *number).max().unwrap_or_default()
}

fn random_key(entropy: &dyn Entropy) -> Result<[u8; 32], EntropyError> {
    let mut key = [0; 32];
    entropy.fill(&mut key)?;
    Ok(key)
}

fn epoch(number: u16, key: &[u8; 32]) -> Result<Epoch, CryptError> {
    Ok(Epoch {
        number,
        pack_base: *derive("icecore v1 pack key", key),
        object_base: *derive("icecore v1 object key", key),
        slot_seal: *derive("icecore v1 slot seal", key),
        signer: Signer::from_seed(&derive("icecore v1 signing seed", key))?,
    })
}
