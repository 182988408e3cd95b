//! S3, Google and Azure behind the blocking face. The runtime that drives the connections lives and dies with the store.

use bytes::Bytes;
use futures::StreamExt;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use std::fmt;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use tokio::runtime::{Builder, Runtime};
use tracing::debug;

use super::error::check_length;
use super::location::Location;
use super::prefix::Prefix;
use super::settings::Settings;
use super::{Created, Deleted, ObjectEntry, ObjectKey, Store, StoreError, StoreErrorKind};
use crate::base::clock::Timestamp;

mod answer;
mod build;
mod connector;
mod failure;

use failure::{about, failed};

/// Threads that drive connections. Hashing and copying happen on the callers' threads; these move bytes and run TLS, and two of
/// them saturate 10 Gbit/s.
const RUNTIME_THREADS: usize = 2;

/// A bucket, or a prefix in one.
///
/// Each call is one request without retries of its own (a listing is one per 1,000 objects), bounded by the time limits in
/// `build`; wrap it in [`super::retry::Retrying`]. An object always travels in a single conditional or plain PUT, never as a
/// multipart upload, so there are no parts to leave behind and put-if-absent is decided by the server alone; hence the bound
/// [`super::MAX_OBJECT_BYTES`]. Calls block: they must not come from inside an async runtime.
pub struct Cloud {
    objects: Arc<dyn ObjectStore>,
    prefix: String,
    location: String,
    runtime: Runtime,
}

impl Cloud {
    /// Sets up the client for a bucket location. Nothing is asked of the cloud yet.
    pub(super) fn open(location: &Location, settings: &Settings) -> Result<Self, StoreError> {
        let wrong = || StoreError::about(StoreErrorKind::Misconfigured, "open", location.to_string());
        let (objects, prefix) = build::build(location, settings).map_err(|cause| wrong().caused_by(cause.to_string()))?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(RUNTIME_THREADS)
            .thread_name("store")
            .enable_all()
            .build()
            .map_err(|cause| StoreError::about(StoreErrorKind::Temporary, "open", location.to_string()).caused_by(cause))?;
        Ok(Self { objects, prefix, location: location.to_string(), runtime })
    }

    /// The full path in the bucket of what is called `name` below the prefix. Both are already checked to need no escapes.
    fn path(&self, name: &str) -> Path {
        Path::from_iter(self.prefix.split('/').chain(name.split('/')).filter(|segment| !segment.is_empty()))
    }

    fn put_as(&self, key: &ObjectKey, bytes: Bytes, mode: PutMode) -> Result<(), object_store::Error> {
        let options = PutOptions { mode, ..PutOptions::default() };
        self.runtime.block_on(self.objects.put_opts(&self.path(key.as_str()), bytes.into(), options)).map(|_| ())
    }

    fn get_with(&self, key: &ObjectKey, options: GetOptions) -> Result<Bytes, StoreError> {
        self.runtime.block_on(async {
            let answer = self.objects.get_opts(&self.path(key.as_str()), options).await.map_err(|e| failed(e, "get", key))?;
            check_length(answer.range.end.saturating_sub(answer.range.start), "get", key)?;
            // A connection that ends before the announced length is an error here, never a short object.
            answer.bytes().await.map_err(|e| failed(e, "get", key))
        })
    }

    fn entry(&self, meta: &ObjectMeta) -> Option<ObjectEntry> {
        let whole = meta.location.as_ref();
        let below = if self.prefix.is_empty() { Some(whole) } else { whole.strip_prefix(&self.prefix)?.strip_prefix('/') };
        let Ok(key) = ObjectKey::new(below?) else {
            debug!(object = whole, "not one of our names, so passed by");
            return None;
        };
        let modified = Timestamp(u64::try_from(meta.last_modified.timestamp_millis()).unwrap_or_default());
        Some(ObjectEntry { key, size: meta.size, modified })
    }
}

impl Store for Cloud {
    fn put(&self, key: &ObjectKey, bytes: Bytes) -> Result<(), StoreError> {
        check_length(bytes.len() as u64, "put", key)?;
        self.put_as(key, bytes, PutMode::Overwrite).map_err(|e| failed(e, "put", key))
    }

    fn put_if_absent(&self, key: &ObjectKey, bytes: Bytes) -> Result<Created, StoreError> {
        check_length(bytes.len() as u64, "put", key)?;
        match self.put_as(key, bytes, PutMode::Create) {
            Ok(()) => Ok(Created::New),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(Created::AlreadyThere),
            Err(e) => Err(failed(e, "put", key)),
        }
    }

    fn get(&self, key: &ObjectKey) -> Result<Bytes, StoreError> {
        self.get_with(key, GetOptions::default())
    }

    fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, StoreError> {
        if range.is_empty() {
            // HTTP cannot ask for nothing.
            let is_inside = range.start < self.size(key)?;
            return if is_inside { Ok(Bytes::new()) } else { Err(StoreError::new(StoreErrorKind::OutOfRange, "get", key)) };
        }
        self.get_with(key, GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() })
    }

    fn size(&self, key: &ObjectKey) -> Result<u64, StoreError> {
        let path = self.path(key.as_str());
        self.runtime.block_on(self.objects.head(&path)).map(|meta| meta.size).map_err(|e| failed(e, "get", key))
    }

    fn list(&self, prefix: &str, visit: &mut dyn FnMut(ObjectEntry) -> ControlFlow<()>) -> Result<(), StoreError> {
        let prefix = Prefix::parse(prefix)?;
        let path = self.path(prefix.as_str());
        let mut stream = self.objects.list(Some(&path));
        // The visitor runs outside the runtime, so that it may call this store in turn.
        while let Some(next) = self.runtime.block_on(stream.next()) {
            let meta = next.map_err(|e| about(e, "list", prefix.as_str()))?;
            if self.entry(&meta).is_some_and(|entry| visit(entry).is_break()) {
                break;
            }
        }
        Ok(())
    }

    fn delete(&self, key: &ObjectKey) -> Result<Deleted, StoreError> {
        match self.runtime.block_on(self.objects.delete(&self.path(key.as_str()))) {
            Ok(()) => Ok(Deleted::Gone),
            Err(object_store::Error::NotFound { .. }) => Ok(Deleted::WasAbsent),
            Err(e) => Err(failed(e, "delete", key)),
        }
    }

    fn location(&self) -> String {
        self.location.clone()
    }
}

impl fmt::Debug for Cloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client underneath would show its settings.
        f.debug_struct("Cloud").field("location", &self.location).finish_non_exhaustive()
    }
}
