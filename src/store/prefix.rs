//! A listing's prefix: whole path segments, so that `points/a` never shows `points/ab`.

use super::{ObjectKey, StoreError, StoreErrorKind};

/// A checked prefix; no segments at all means everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Prefix(Option<ObjectKey>);

impl Prefix {
    /// Accepts the empty prefix, and object names with or without a `/` at the end.
    pub(super) fn parse(prefix: &str) -> Result<Self, StoreError> {
        if prefix.is_empty() {
            return Ok(Self(None));
        }
        let key = ObjectKey::new(prefix.strip_suffix('/').unwrap_or(prefix));
        key.map(|key| Self(Some(key))).map_err(|e| StoreError::about(StoreErrorKind::Permanent, "list", prefix).caused_by(e))
    }

    /// Its segments joined by `/`, with none at the end; empty for everything.
    pub(super) fn as_str(&self) -> &str {
        self.0.as_ref().map_or("", ObjectKey::as_str)
    }

    /// The same as an object name; none for everything.
    pub(super) fn key(&self) -> Option<&ObjectKey> {
        self.0.as_ref()
    }

    /// True when `key` lies below this prefix.
    pub(super) fn covers(&self, key: &ObjectKey) -> bool {
        match &self.0 {
            None => true,
            Some(prefix) => key.as_str().strip_prefix(prefix.as_str()).is_some_and(|rest| rest.starts_with('/')),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_covers_whole_segments_only() {
        let covers = |prefix: &str, key: &str| Prefix::parse(prefix).unwrap().covers(&ObjectKey::new(key).unwrap());
        assert!(covers("", "config"));
        assert!(covers("points", "points/a"));
        assert!(covers("points/", "points/a/b"));
        assert!(!covers("points/", "points"));
        assert!(!covers("points/a", "points/ab"));
    }

    #[test]
    fn a_prefix_that_no_key_can_have_is_refused() {
        for bad in ["/", "..", "a//", "../a", ".hidden/"] {
            assert_eq!(Prefix::parse(bad).unwrap_err().kind, StoreErrorKind::Permanent, "{bad}");
        }
    }
}
