//! Why a store call failed: what was being done, to which object, and whether trying again can help.

use std::error::Error;
use std::fmt;

use super::{MAX_OBJECT_BYTES, ObjectKey};

/// The few kinds of failure that callers tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// There is no such object.
    NotFound,
    /// The object ends before the range begins.
    OutOfRange,
    /// The store refused these credentials, or this act for them.
    Denied,
    /// The store has no room.
    Full,
    /// A passing fault: network, throttling, a server error. Retrying can help.
    Temporary,
    /// The address or the configuration is wrong.
    Misconfigured,
    /// Anything else. Retrying does not help.
    Permanent,
}

impl StoreErrorKind {
    /// True when the same call may succeed later.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Temporary)
    }
}

/// A failed store call.
#[derive(Debug)]
pub struct StoreError {
    /// Which kind of failure.
    pub kind: StoreErrorKind,
    /// What was being done: "put", "get", "list", "delete", "open".
    pub act: &'static str,
    /// To which object or prefix.
    pub object: String,
    /// What lies beneath, if anything does.
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl StoreError {
    /// A failure of `act` on `key`.
    #[must_use]
    pub fn new(kind: StoreErrorKind, act: &'static str, key: &ObjectKey) -> Self {
        Self { kind, act, object: key.to_string(), source: None }
    }

    /// A failure of `act` on something that is no object: a prefix, or the store itself.
    #[must_use]
    pub fn about(kind: StoreErrorKind, act: &'static str, what: impl Into<String>) -> Self {
        Self { kind, act, object: what.into(), source: None }
    }

    /// The same failure with its cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// True when the object is simply not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.kind == StoreErrorKind::NotFound
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hint = match self.kind {
            StoreErrorKind::NotFound => "there is no such object",
            StoreErrorKind::OutOfRange => "the object is shorter than the range asked for",
            StoreErrorKind::Denied => "access denied; check the credentials and what they may do",
            StoreErrorKind::Full => "no room left; free space, then run it again",
            StoreErrorKind::Temporary => "the store did not answer well; run it again when it does",
            StoreErrorKind::Misconfigured => "the location or its settings are wrong",
            StoreErrorKind::Permanent => "the store refused",
        };
        write!(f, "cannot {} {}: {hint}", self.act, self.object)
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| source.as_ref() as &(dyn Error + 'static))
    }
}

/// Refuses an object of `length` bytes when it is beyond [`MAX_OBJECT_BYTES`].
pub(super) fn check_length(length: u64, act: &'static str, key: &ObjectKey) -> Result<(), StoreError> {
    if length <= MAX_OBJECT_BYTES {
        return Ok(());
    }
    let cause = format!("{length} bytes are more than the {MAX_OBJECT_BYTES} that one object may have");
    Err(StoreError::new(StoreErrorKind::Permanent, act, key).caused_by(cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_of_exactly_the_bound_passes_and_one_byte_more_does_not() {
        let key = ObjectKey::new("a").unwrap();
        assert!(check_length(MAX_OBJECT_BYTES, "put", &key).is_ok());
        assert_eq!(check_length(MAX_OBJECT_BYTES + 1, "put", &key).unwrap_err().kind, StoreErrorKind::Permanent);
    }
}
