//! Sealing and opening of envelopes: encrypted, signed, and bound to their object's name.

use bytes::Bytes;

use super::crypt::signature_is_good;
use super::error::RepositoryError;
use super::format::envelope::{Envelope, EnvelopeHeader, EnvelopeKind, close};
use super::keyring::Keyring;
use crate::base::entropy::Entropy;
use crate::store::ObjectKey;

/// Encrypts and signs `fields` for the object `key`.
pub(crate) fn seal(
    ring: &Keyring,
    entropy: &dyn Entropy,
    kind: EnvelopeKind,
    key: &ObjectKey,
    mut fields: Vec<u8>,
) -> Result<Bytes, RepositoryError> {
    let mut nonce = [0; 12];
    entropy.fill(&mut nonce)?;
    let header = EnvelopeHeader { kind, epoch: ring.active(), nonce };
    let length = u32::try_from(fields.len() + 16)
        .map_err(|_| RepositoryError::Misused { what: format!("{key} would be longer than an object may be") })?;
    let mut signed = header.encode(length);
    let associated = with_name(&signed, key);
    let tag = ring.object_key(header.epoch, key.as_str())?.seal(nonce, &associated, &mut fields)?;
    signed.extend_from_slice(&fields);
    signed.extend_from_slice(&tag);
    let signature = ring.signer(header.epoch)?.sign(&with_name(&signed, key));
    Ok(Bytes::from(close(signed, signature)))
}

/// Verifies and decrypts the object `key`, giving its fields.
pub(crate) fn open(ring: &Keyring, kind: EnvelopeKind, key: &ObjectKey, bytes: &[u8]) -> Result<Vec<u8>, RepositoryError> {
    let envelope = verify(&ring.signers(), key, bytes)?;
    if envelope.header.kind != kind {
        return Err(RepositoryError::damaged(key, "it holds another kind of record"));
    }
    let mut fields = envelope.ciphertext.to_vec();
    let associated = with_name(envelope.header_bytes, key);
    let length = ring
        .object_key(envelope.header.epoch, key.as_str())?
        .open(envelope.header.nonce, &associated, &mut fields)
        .map_err(|_| RepositoryError::damaged(key, "its seal does not open"))?
        .len();
    fields.truncate(length);
    Ok(fields)
}

/// Verifies checksum and signature only, as anyone can who knows the public keys.
pub(crate) fn verify<'a>(signers: &[(u16, [u8; 32])], key: &ObjectKey, bytes: &'a [u8]) -> Result<Envelope<'a>, RepositoryError> {
    let envelope = Envelope::parse(bytes).map_err(|error| RepositoryError::from_format(key, error))?;
    let signer = signers.iter().find(|(epoch, _)| *epoch == envelope.header.epoch);
    let (_, public) = signer.ok_or_else(|| RepositoryError::damaged(key, "it was sealed under an unknown key"))?;
    if !signature_is_good(public, &with_name(envelope.signed, key), &envelope.signature) {
        return Err(RepositoryError::damaged(key, "its signature is wrong"));
    }
    Ok(envelope)
}

fn with_name(bytes: &[u8], key: &ObjectKey) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + key.as_str().len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(key.as_str().as_bytes());
    out
}
