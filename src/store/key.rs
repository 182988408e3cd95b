//! Names of objects: short ASCII paths that mean the same on every store.

use std::fmt;
use thiserror::Error;

/// The longest key; well under the limits of S3 (1,024), GCS (1,024) and common file systems (255 a segment).
const MAX_KEY_BYTES: usize = 240;

/// A name that some store would not keep as it is.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is no object name: use a-z A-Z 0-9 . _ - in segments parted by /")]
pub struct InvalidKey(pub String);

/// The name of an object, such as `packs/3f/3fa1…`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(String);

impl ObjectKey {
    /// Accepts letters, digits, `.`, `_` and `-` in non-empty segments, none of them `.` or `..`.
    pub fn new(key: impl Into<String>) -> Result<Self, InvalidKey> {
        let key = key.into();
        let sound = |segment: &str| {
            !segment.is_empty()
                && !segment.starts_with('.')
                && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        };
        if key.len() <= MAX_KEY_BYTES && key.split('/').all(sound) { Ok(Self(key)) } else { Err(InvalidKey(key)) }
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What follows the last `/`.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_every_store_keeps_are_accepted() {
        for good in ["config", "packs/3f/3fa1", "leases/a.b_c-D9"] {
            assert!(ObjectKey::new(good).is_ok(), "{good}");
        }
        for bad in ["", "/a", "a/", "a//b", "..", "a/../b", ".hidden", "a b", "ä", "a\\b", "a\0"] {
            assert!(ObjectKey::new(bad).is_err(), "{bad:?}");
        }
        assert!(ObjectKey::new("a".repeat(241)).is_err());
    }
}
