//! The keyring: all keys of a repository, as they are sealed into every key slot.
//!
//! ```text
//! 0   keyring version u8 (1)
//! 1   reserved u8
//! 2   active epoch u16: the one that new objects use
//! 4   repository id [16]
//! 20  content key [32]: fixed for life, since chunk ids come from it
//! 52  epoch count u16, then epoch u16 and key [32] each
//! ```

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::bounds::{FormatError, In, expect_end};
use super::slot::MAX_EPOCHS;
use crate::base::bytes::{ByteReader, PutBytes};
use crate::repository::ids::RepositoryId;

const WHAT: &str = "keyring";

/// The keys of a repository.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct KeyringBytes {
    /// The repository that they open.
    #[zeroize(skip)]
    pub repository: RepositoryId,
    /// The epoch that new objects use.
    pub active: u16,
    /// Key of chunk ids, node ids and volume names.
    pub content_key: [u8; 32],
    /// Sealing keys, oldest first.
    pub epochs: Vec<(u16, [u8; 32])>,
}

impl fmt::Debug for KeyringBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyringBytes({}, {} epochs, keys withheld)", self.repository, self.epochs.len())
    }
}

impl KeyringBytes {
    /// The bytes to seal.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_u8(1);
        out.put_u8(0);
        out.put_u16(self.active);
        out.put(&self.repository.0);
        out.put(&self.content_key);
        out.put_u16(u16::try_from(self.epochs.len()).unwrap_or(u16::MAX));
        for (epoch, key) in &self.epochs {
            out.put_u16(*epoch);
            out.put(key);
        }
        out
    }

    /// Reads unsealed bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = ByteReader::new(bytes);
        match reader.u8().within(WHAT)? {
            1 => {}
            found => return Err(FormatError::Version { what: WHAT, found, known: 1 }),
        }
        reader.u8().within(WHAT)?;
        let active = reader.u16().within(WHAT)?;
        let repository = RepositoryId(reader.array().within(WHAT)?);
        let content_key = reader.array().within(WHAT)?;
        let count = reader.u16().within(WHAT)?;
        if usize::from(count) > MAX_EPOCHS {
            return Err(FormatError::Value { what: WHAT, field: "epoch count", value: count.into() });
        }
        let epochs: Vec<_> =
            (0..count).map(|_| Ok((reader.u16().within(WHAT)?, reader.array().within(WHAT)?))).collect::<Result<_, _>>()?;
        expect_end(&reader, WHAT)?;
        if !epochs.iter().any(|(epoch, _)| *epoch == active) {
            return Err(FormatError::Value { what: WHAT, field: "active epoch", value: active.into() });
        }
        Ok(Self { repository, active, content_key, epochs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyring_comes_back_as_it_was_written_and_prints_no_key() {
        let ring = KeyringBytes {
            repository: RepositoryId([1; 16]),
            active: 4,
            content_key: [0xaa; 32],
            epochs: vec![(0, [3; 32]), (4, [0xbb; 32])],
        };
        assert_eq!(KeyringBytes::parse(&ring.encode()), Ok(ring.clone()));
        let printed = format!("{ring:?}");
        assert!(!printed.contains("170") && !printed.contains("aa") && !printed.contains("187"), "{printed}");
    }

    #[test]
    fn an_active_epoch_without_a_key_is_refused() {
        let ring = KeyringBytes { repository: RepositoryId([1; 16]), active: 1, content_key: [2; 32], epochs: vec![(0, [3; 32])] };
        assert!(KeyringBytes::parse(&ring.encode()).is_err());
    }
}
