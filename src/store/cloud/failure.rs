//! From the client library's errors to ours.

use object_store::Error as ClientError;
use object_store::client::HttpError;
use std::error::Error;

use super::answer::Refusal;
use crate::store::{ObjectKey, StoreError, StoreErrorKind};

/// A failed call on an object.
pub(super) fn failed(error: ClientError, act: &'static str, key: &ObjectKey) -> StoreError {
    about(error, act, key.as_str())
}

/// A failed call on an object or a prefix.
pub(super) fn about(error: ClientError, act: &'static str, object: &str) -> StoreError {
    let refusal = find::<Refusal>(&error).cloned();
    match refusal {
        Some(refusal) => StoreError::about(refusal.kind, act, object).caused_by(refusal),
        // Each layer of the client repeats the ones beneath, so its text is the whole chain.
        None => StoreError::about(kind_of(&error), act, object).caused_by(error.to_string()),
    }
}

fn kind_of(error: &ClientError) -> StoreErrorKind {
    match error {
        ClientError::NotFound { .. } => StoreErrorKind::NotFound,
        ClientError::PermissionDenied { .. } | ClientError::Unauthenticated { .. } => StoreErrorKind::Denied,
        ClientError::NotImplemented { .. } | ClientError::NotSupported { .. } | ClientError::UnknownConfigurationKey { .. } => {
            StoreErrorKind::Misconfigured
        }
        // No answer, or half of one: names that do not resolve, refused or broken connections, time limits.
        _ if find::<HttpError>(error).is_some() => StoreErrorKind::Temporary,
        _ => StoreErrorKind::Permanent,
    }
}

/// The first error of type `T` in the chain.
fn find<T: Error + 'static>(error: &ClientError) -> Option<&T> {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(current) = next {
        if let Some(found) = current.downcast_ref() {
            return Some(found);
        }
        next = current.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::client::HttpErrorKind;
    use std::io;

    #[test]
    fn a_refusal_is_found_however_deep_it_lies() {
        let refusal =
            Refusal { kind: StoreErrorKind::Full, status: Some(507), code: "Full".to_owned(), message: "no room".to_owned() };
        let deep = ClientError::Generic { store: "x", source: Box::new(HttpError::new(HttpErrorKind::Unknown, refusal.clone())) };
        let error = about(deep, "put", "a");
        assert_eq!(error.kind, StoreErrorKind::Full);
        assert_eq!(error.source.unwrap().to_string(), "the server answered 507 Full: no room");
    }

    #[test]
    fn a_broken_connection_is_temporary_and_the_unknown_is_permanent() {
        let broken = HttpError::new(HttpErrorKind::Interrupted, io::Error::from(io::ErrorKind::ConnectionReset));
        let error = ClientError::Generic { store: "x", source: Box::new(broken) };
        assert_eq!(about(error, "get", "a").kind, StoreErrorKind::Temporary);
        let error = ClientError::Generic { store: "x", source: "odd".into() };
        assert_eq!(about(error, "get", "a").kind, StoreErrorKind::Permanent);
    }
}
