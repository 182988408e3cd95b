//! Key slots at work: made, unlocked, and sealed anew when the keyring changes.

use zeroize::Zeroizing;

use super::crypt::{AeadKey, CryptError, derive, x25519_agree, x25519_public};
use super::error::RepositoryError;
use super::format::keyring::KeyringBytes;
use super::format::slot::{KeySlot, SealedKeyring, SlotKind};
use super::ids::SlotId;
use super::keyring::Keyring;
use super::secret::Secret;
use crate::base::clock::Timestamp;
use crate::base::entropy::{Entropy, EntropyError};

/// What a new slot shall be.
#[derive(Debug, Clone)]
pub struct NewSlot {
    /// The secret that opens it.
    pub secret: Secret,
    /// Its kind, which fits the secret.
    pub kind: SlotKind,
    /// What its owner calls it.
    pub label: String,
}

/// Makes a slot that holds `ring`.
pub(crate) fn make(new: &NewSlot, ring: &Keyring, created: Timestamp, entropy: &dyn Entropy) -> Result<KeySlot, RepositoryError> {
    let id = SlotId::random(entropy)?;
    let salt = random(entropy)?;
    let wrap_nonce = random(entropy)?;
    let private = Zeroizing::new(random::<32>(entropy)?);
    let public_key = x25519_public(&private)?;
    let mut wrapped = Zeroizing::new(private.to_vec());
    let tag = AeadKey::new(&*new.secret.wrapping_key(new.kind, &salt)?)?.seal(wrap_nonce, &id.0, &mut wrapped)?;
    let mut wrapped_private_key = [0; 48];
    wrapped_private_key[..32].copy_from_slice(&wrapped);
    wrapped_private_key[32..].copy_from_slice(&tag);
    Ok(KeySlot {
        id,
        kind: new.kind,
        label: new.label.clone(),
        created,
        salt,
        public_key,
        wrap_nonce,
        wrapped_private_key,
        keyring: seal_keyring(&public_key, ring, entropy)?,
        signers: ring.signers(),
    })
}

/// The same slot holding another keyring. Needs no secret.
pub(crate) fn reseal(slot: &KeySlot, ring: &Keyring, entropy: &dyn Entropy) -> Result<KeySlot, RepositoryError> {
    let keyring = seal_keyring(&slot.public_key, ring, entropy)?;
    Ok(KeySlot { keyring, signers: ring.signers(), ..slot.clone() })
}

/// The keyring in a slot, or `None` if the secret is not the slot's.
pub(crate) fn unlock(slot: &KeySlot, secret: &Secret) -> Option<KeyringBytes> {
    if !secret.fits(slot.kind) {
        return None;
    }
    let key = AeadKey::new(&*secret.wrapping_key(slot.kind, &slot.salt).ok()?).ok()?;
    let mut wrapped = Zeroizing::new(slot.wrapped_private_key.to_vec());
    let private: &[u8; 32] = (&*key.open(slot.wrap_nonce, &slot.id.0, &mut wrapped).ok()?).try_into().ok()?;
    let shared = x25519_agree(private, &slot.keyring.ephemeral).ok()?;
    let key = keyring_key(&shared, &slot.keyring.ephemeral, &slot.public_key).ok()?;
    let mut bytes = Zeroizing::new(slot.keyring.ciphertext.clone());
    KeyringBytes::parse(key.open(slot.keyring.nonce, &[], &mut bytes).ok()?).ok()
}

fn seal_keyring(public: &[u8; 32], ring: &Keyring, entropy: &dyn Entropy) -> Result<SealedKeyring, RepositoryError> {
    let private = Zeroizing::new(random::<32>(entropy)?);
    let ephemeral = x25519_public(&private)?;
    let shared = x25519_agree(&private, public)?;
    let nonce = random(entropy)?;
    let mut ciphertext = ring.bytes().encode();
    let tag = keyring_key(&shared, &ephemeral, public)?.seal(nonce, &[], &mut ciphertext)?;
    ciphertext.extend_from_slice(&tag);
    Ok(SealedKeyring { ephemeral, nonce, ciphertext })
}

/// Both public keys go into the key, so that neither can be swapped.
fn keyring_key(shared: &[u8; 32], ephemeral: &[u8; 32], public: &[u8; 32]) -> Result<AeadKey, CryptError> {
    let mut material = Zeroizing::new(shared.to_vec());
    material.extend_from_slice(ephemeral);
    material.extend_from_slice(public);
    AeadKey::new(&derive("icecore v1 keyring seal", &material))
}

fn random<const N: usize>(entropy: &dyn Entropy) -> Result<[u8; N], EntropyError> {
    let mut out = [0; N];
    entropy.fill(&mut out)?;
    Ok(out)
}
