//! Secrets that people hold: passphrases and key files, and what they become before they open a slot.

use std::{fmt, str};

use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;
use zeroize::Zeroizing;

use super::crypt::{CryptError, derive, stretch};
use super::format::slot::SlotKind;
use super::ids::parse_hex;
use super::paper::{self, PaperError};

/// What opens a key slot.
#[derive(Debug, Clone)]
pub enum Secret {
    /// Something to remember.
    Passphrase(SecretString),
    /// 32 bytes from a key file or from paper.
    Key(KeyBytes),
}

/// 32 secret bytes.
#[derive(Clone)]
pub struct KeyBytes(pub Zeroizing<[u8; 32]>);

impl fmt::Debug for KeyBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyBytes(withheld)")
    }
}

/// A key file that holds no key.
#[derive(Debug, Error)]
pub enum KeyFileError {
    /// The file is no text and not 32 bytes long.
    #[error("a key file holds the text that icecore wrote into it, 64 hexadecimal digits, or 32 raw bytes")]
    Shape,
    /// The text is not a key.
    #[error(transparent)]
    Text(#[from] PaperError),
}

impl KeyBytes {
    /// Reads the contents of a key file.
    pub fn parse(contents: &[u8]) -> Result<Self, KeyFileError> {
        if let Ok(raw) = <[u8; 32]>::try_from(contents) {
            return Ok(Self(Zeroizing::new(raw)));
        }
        let text = str::from_utf8(contents).map_err(|_| KeyFileError::Shape)?.trim();
        if let Some(raw) = parse_hex(text) {
            return Ok(Self(Zeroizing::new(raw)));
        }
        Ok(Self(paper::from_text(text)?))
    }

    /// The contents of a new key file, and the form to keep on paper.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        paper::to_text(&self.0)
    }
}

impl Secret {
    /// True when the secret is of the kind that the slot wants.
    pub(crate) fn fits(&self, kind: SlotKind) -> bool {
        matches!((self, kind), (Self::Passphrase(_), SlotKind::Passphrase(_)) | (Self::Key(_), SlotKind::KeyFile | SlotKind::Paper))
    }

    /// The key that wraps a slot's private key. Slow on purpose for passphrases.
    pub(crate) fn wrapping_key(&self, kind: SlotKind, salt: &[u8; 16]) -> Result<Zeroizing<[u8; 32]>, CryptError> {
        match (self, kind) {
            (Self::Passphrase(passphrase), SlotKind::Passphrase(cost)) => {
                stretch(passphrase.expose_secret().as_bytes(), salt, cost)
            }
            (Self::Key(key), SlotKind::KeyFile | SlotKind::Paper) => {
                let mut salted = Zeroizing::new(key.0.to_vec());
                salted.extend_from_slice(salt);
                Ok(derive("icecore v1 key file", &salted))
            }
            _ => Err(CryptError("matching the secret to the slot")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_files_are_read_as_text_hexadecimal_or_raw_bytes() {
        let key = KeyBytes(Zeroizing::new([0xc3; 32]));
        let text = key.to_text();
        for contents in [text.as_bytes(), format!("{}\n", *text).as_bytes(), "c3".repeat(32).as_bytes(), &[0xc3; 32]] {
            assert_eq!(*KeyBytes::parse(contents).unwrap().0, [0xc3; 32]);
        }
        assert!(matches!(KeyBytes::parse(&[0xff; 5]), Err(KeyFileError::Shape)));
        assert!(matches!(KeyBytes::parse(b"hello"), Err(KeyFileError::Text(_))));
        assert!(!format!("{key:?}").contains("195"));
    }
}
