//! Object stores behind one blocking face: put, put-if-absent, ranged get, list, delete.
//!
//! ```text
//!   Retrying ( Faulty* ( Directory | Cloud(S3, GCS, Azure) | Memory ) )      * in tests only
//! ```
//! Decorators wrap the same trait; none of them is a flag of another.

use bytes::Bytes;
use std::fmt;
use std::ops::{ControlFlow, Range};

use crate::base::clock::Timestamp;

pub mod cloud;
#[cfg(any(test, feature = "testkit"))]
pub mod contract;
pub mod counting;
pub mod directory;
mod error;
#[cfg(any(test, feature = "testkit"))]
pub mod fault;
mod key;
mod location;
pub mod memory;
mod open;
mod prefix;
pub mod retry;
mod settings;

pub use error::{StoreError, StoreErrorKind};
pub use key::{InvalidKey, ObjectKey};
pub use open::{Missing, Options, open};
pub use settings::Settings;

/// The largest object that is put or got, in bytes. One object is one request and one buffer, so this bounds memory against a
/// store that announces nonsense. It is under the single-request limits of S3 (5 GiB), GCS (5 TiB) and Azure (5,000 MiB).
pub const MAX_OBJECT_BYTES: u64 = 1 << 30;

/// What a put-if-absent did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// The object is there now, and it was not before.
    New,
    /// Something was already there; it is unchanged.
    AlreadyThere,
}

/// What a delete did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// The object was there, or the store does not say. It is gone now.
    Gone,
    /// There was no such object.
    WasAbsent,
}

/// One object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectEntry {
    /// Its name.
    pub key: ObjectKey,
    /// Its size in bytes.
    pub size: u64,
    /// When the store says it was last written.
    pub modified: Timestamp,
}

/// A flat namespace of immutable-looking objects. Every call blocks, is bounded in time, and may come from any thread.
///
/// All implementations promise, and `contract` checks: a finished `put` is durable and seen by every later call; an object is never
/// seen half written; of several racing `put_if_absent` exactly one is told [`Created::New`] and its bytes stay.
pub trait Store: Send + Sync + fmt::Debug {
    /// Writes an object whole, replacing what was there.
    fn put(&self, key: &ObjectKey, bytes: Bytes) -> Result<(), StoreError>;

    /// Writes an object only if nothing has its name.
    fn put_if_absent(&self, key: &ObjectKey, bytes: Bytes) -> Result<Created, StoreError>;

    /// The whole object. [`StoreErrorKind::NotFound`] if there is none.
    fn get(&self, key: &ObjectKey) -> Result<Bytes, StoreError>;

    /// The bytes `range` of an object, fewer if it ends earlier; [`StoreErrorKind::OutOfRange`] if it ends before `range` begins.
    fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, StoreError>;

    /// The size of an object in bytes. [`StoreErrorKind::NotFound`] if there is none.
    fn size(&self, key: &ObjectKey) -> Result<u64, StoreError>;

    /// Shows every object whose key starts with `prefix` (whole path segments: `points/` or `points/ab/`) to `visit`, in no
    /// particular order, until it breaks. Objects written or deleted meanwhile may or may not be shown.
    fn list(&self, prefix: &str, visit: &mut dyn FnMut(ObjectEntry) -> ControlFlow<()>) -> Result<(), StoreError>;

    /// Removes an object. Removing what is not there is no error.
    fn delete(&self, key: &ObjectKey) -> Result<Deleted, StoreError>;

    /// The location in words for messages: a path or URL without secrets.
    fn location(&self) -> String;
}
