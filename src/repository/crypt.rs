//! Cryptography in our own words: AES-256-GCM, Ed25519 and X25519 from aws-lc-rs, keyed BLAKE3, Argon2id.

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey, X25519};
use aws_lc_rs::rand;
use aws_lc_rs::signature::{self, ED25519, Ed25519KeyPair, KeyPair};
use std::fmt;
use thiserror::Error;
use zeroize::Zeroizing;

use super::format::slot::Argon2Cost;
use crate::base::entropy::{Entropy, EntropyError};

/// A cryptographic act failed. For opening, that means: wrong key, or changed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{0} failed")]
pub struct CryptError(pub &'static str);

/// The operating system's random generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, out: &mut [u8]) -> Result<(), EntropyError> {
        rand::fill(out).map_err(|_| EntropyError)
    }
}

/// An AES-256-GCM key, expanded once and used for many messages.
pub(crate) struct AeadKey(LessSafeKey);

impl fmt::Debug for AeadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AeadKey(withheld)")
    }
}

impl AeadKey {
    pub(crate) fn new(key: &[u8; 32]) -> Result<Self, CryptError> {
        let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| CryptError("expanding the key"))?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// Encrypts `bytes` where they are and returns the tag. The caller never uses a nonce twice under one key.
    pub(crate) fn seal(&self, nonce: [u8; 12], associated: &[u8], bytes: &mut [u8]) -> Result<[u8; 16], CryptError> {
        let tag = self
            .0
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(associated), bytes)
            .map_err(|_| CryptError("sealing"))?;
        tag.as_ref().try_into().map_err(|_| CryptError("sealing"))
    }

    /// Decrypts `bytes`, ciphertext and tag, where they are; what comes back is the plaintext part of them.
    pub(crate) fn open<'a>(&self, nonce: [u8; 12], associated: &[u8], bytes: &'a mut [u8]) -> Result<&'a mut [u8], CryptError> {
        self.0.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(associated), bytes).map_err(|_| CryptError("opening"))
    }
}

/// A subkey of `key` for one purpose. Purposes are listed in `docs/format.md`.
pub(crate) fn derive(purpose: &str, key: &[u8]) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(blake3::derive_key(purpose, key))
}

/// A signing key and its public half.
pub(crate) struct Signer(Ed25519KeyPair);

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(withheld)")
    }
}

impl Signer {
    pub(crate) fn from_seed(seed: &[u8; 32]) -> Result<Self, CryptError> {
        Ed25519KeyPair::from_seed_unchecked(seed).map(Self).map_err(|_| CryptError("making the signing key"))
    }

    pub(crate) fn public(&self) -> [u8; 32] {
        self.0.public_key().as_ref().try_into().unwrap_or_default()
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).as_ref().try_into().unwrap_or([0; 64])
    }
}

/// True when `signature` over `message` was made by the owner of `public`.
pub(crate) fn signature_is_good(public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    signature::UnparsedPublicKey::new(&ED25519, public).verify(message, signature).is_ok()
}

/// The public half of an X25519 private key.
pub(crate) fn x25519_public(private: &[u8; 32]) -> Result<[u8; 32], CryptError> {
    let failed = CryptError("making the public key");
    let key = PrivateKey::from_private_key(&X25519, private).map_err(|_| failed)?;
    let public = key.compute_public_key().map_err(|_| failed)?;
    public.as_ref().try_into().map_err(|_| failed)
}

/// The key that both sides of an X25519 agreement reach.
pub(crate) fn x25519_agree(private: &[u8; 32], peer: &[u8; 32]) -> Result<Zeroizing<[u8; 32]>, CryptError> {
    let failed = CryptError("the key agreement");
    let key = PrivateKey::from_private_key(&X25519, private).map_err(|_| failed)?;
    agreement::agree(&key, UnparsedPublicKey::new(&X25519, peer), failed, |shared| {
        let mut out = Zeroizing::new([0; 32]);
        out.copy_from_slice(shared.get(..32).ok_or(failed)?);
        Ok(out)
    })
}

/// Stretches a passphrase.
pub(crate) fn stretch(passphrase: &[u8], salt: &[u8; 16], cost: Argon2Cost) -> Result<Zeroizing<[u8; 32]>, CryptError> {
    let failed = CryptError("stretching the passphrase");
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32)).map_err(|_| failed)?;
    let mut out = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into(passphrase, salt, &mut *out).map_err(|_| failed)?;
    Ok(out)
}
