//! A store in a local directory: every finished put is on stable storage, and no crash leaves half an object.
//!
//! ```text
//! put:            write .tmp/x -> fsync it -> rename over the name          -> fsync the folder
//! put_if_absent:  write .tmp/x -> fsync it -> rename or link if name is free -> fsync the folder
//! ```
//! Key segments never begin with a dot, so nothing in `.tmp` can be taken for an object. Symbolic links inside the directory are
//! never followed: each path is walked one segment at a time from a handle on the root.

use bytes::Bytes;
use nix::errno::Errno;
use std::io::{self, Read};
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use tracing::debug;

use super::error::check_length;
use super::open::Missing;
use super::prefix::Prefix;
use super::{Created, Deleted, ObjectEntry, ObjectKey, Store, StoreError, StoreErrorKind};
use crate::base::clock::Clock;

mod create;
mod errno;
mod root;
mod temporary;
mod walk;

use errno::kind_of;
use root::Root;
use temporary::{Temporaries, Temporary};

/// How often a put finds its folder again after somebody removed it under its feet.
const FOLDER_ATTEMPTS: usize = 3;

/// Objects as files below one directory, `packs/3f/x` at `<root>/packs/3f/x`. Unlike in an object store, a name cannot be both an
/// object and the start of other names.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    root: Root,
    temporaries: Temporaries,
}

/// Where a new object goes: over whatever is there, or only where nothing is.
#[derive(Debug, Clone, Copy)]
enum Place {
    Over,
    IfFree,
}

impl Directory {
    /// Opens the directory at `path`, or makes it first. `clock` tells which leftovers of crashed writers are old enough to remove.
    pub fn open(path: &Path, missing: Missing, clock: &dyn Clock) -> Result<Self, StoreError> {
        let failed = |cause: io::Error| {
            let kind = match kind_of(&cause) {
                StoreErrorKind::NotFound | StoreErrorKind::Permanent => StoreErrorKind::Misconfigured,
                kind => kind,
            };
            StoreError::about(kind, "open", path.display().to_string()).caused_by(cause)
        };
        if let Missing::Create = missing {
            create::make_durable_directory(path).map_err(failed)?;
        }
        let root = Root::open(path).map_err(failed)?;
        let temporaries = Temporaries::default();
        // A store that cannot be tidied (read-only, say) can still be read.
        if let Err(cause) = temporaries.remove_old(&root, clock.now()) {
            debug!(path = %path.display(), %cause, "leftovers of crashed writers stay");
        }
        Ok(Self { path: path.to_owned(), root, temporaries })
    }

    fn write(&self, key: &ObjectKey, bytes: &Bytes, place: Place) -> io::Result<Created> {
        let mut temporary = self.temporaries.write(&self.root, bytes)?;
        let (folder, name) = split(key);
        for _ in 1..FOLDER_ATTEMPTS {
            match self.publish(&mut temporary, folder, name, place) {
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => self.root.forget_folder(folder),
                outcome => return outcome,
            }
        }
        self.publish(&mut temporary, folder, name, place)
    }

    fn publish(&self, temporary: &mut Temporary, folder: &str, name: &str, place: Place) -> io::Result<Created> {
        let folder = self.root.durable_folder(folder)?;
        let created = match place {
            Place::Over => temporary.rename_over(&folder, name).map(|()| Created::New)?,
            Place::IfFree => temporary.rename_if_free(&folder, name)?,
        };
        // Also when it was already there: its writer may not have come this far, and our caller is about to rely on it.
        root::sync_folder(&folder)?;
        Ok(created)
    }

    fn read_whole(&self, key: &ObjectKey) -> Result<Bytes, StoreError> {
        let (file, length) = self.root.open_object(key).map_err(|cause| failure("get", key, cause))?;
        check_length(length, "get", key)?;
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
        file.take(length).read_to_end(&mut bytes).map_err(|cause| failure("get", key, cause))?;
        Ok(bytes.into())
    }

    fn read_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, StoreError> {
        let (file, length) = self.root.open_object(key).map_err(|cause| failure("get", key, cause))?;
        if range.start >= length {
            return Err(StoreError::new(StoreErrorKind::OutOfRange, "get", key));
        }
        let wanted = range.end.min(length).saturating_sub(range.start);
        check_length(wanted, "get", key)?;
        let mut bytes = vec![0; usize::try_from(wanted).unwrap_or_default()];
        file.read_exact_at(&mut bytes, range.start).map_err(|cause| failure("get", key, cause))?;
        Ok(bytes.into())
    }

    fn remove(&self, key: &ObjectKey) -> io::Result<Deleted> {
        let (folder, name) = split(key);
        let folder = self.root.folder(folder)?;
        root::unlink(&folder, name)?;
        // Collectors delete what nothing points to any more, in that order; a crash must not bring the pointer back alone.
        root::sync_folder(&folder)?;
        Ok(Deleted::Gone)
    }
}

/// Folder ("" for the root) and file name.
fn split(key: &ObjectKey) -> (&str, &str) {
    key.as_str().rsplit_once('/').unwrap_or(("", key.as_str()))
}

fn failure(act: &'static str, key: &ObjectKey, cause: io::Error) -> StoreError {
    StoreError::new(kind_of(&cause), act, key).caused_by(cause)
}

/// A put finds "no such file" only when its folder vanishes again and again, and that is no missing object.
fn put_failure(key: &ObjectKey, cause: io::Error) -> StoreError {
    match kind_of(&cause) {
        StoreErrorKind::NotFound => StoreError::new(StoreErrorKind::Permanent, "put", key).caused_by(cause),
        _ => failure("put", key, cause),
    }
}

impl Store for Directory {
    fn put(&self, key: &ObjectKey, bytes: Bytes) -> Result<(), StoreError> {
        check_length(bytes.len() as u64, "put", key)?;
        self.write(key, &bytes, Place::Over).map(|_| ()).map_err(|cause| put_failure(key, cause))
    }

    fn put_if_absent(&self, key: &ObjectKey, bytes: Bytes) -> Result<Created, StoreError> {
        check_length(bytes.len() as u64, "put", key)?;
        self.write(key, &bytes, Place::IfFree).map_err(|cause| put_failure(key, cause))
    }

    fn get(&self, key: &ObjectKey) -> Result<Bytes, StoreError> {
        self.read_whole(key)
    }

    fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.read_range(key, range)
    }

    fn size(&self, key: &ObjectKey) -> Result<u64, StoreError> {
        self.root.open_object(key).map(|(_, length)| length).map_err(|cause| failure("get", key, cause))
    }

    fn list(&self, prefix: &str, visit: &mut dyn FnMut(ObjectEntry) -> ControlFlow<()>) -> Result<(), StoreError> {
        let prefix = Prefix::parse(prefix)?;
        let failed = |cause: io::Error| StoreError::about(kind_of(&cause), "list", prefix.as_str()).caused_by(cause);
        match self.root.folder(prefix.as_str()) {
            Ok(folder) => walk::walk(folder, prefix.as_str(), visit).map(|_| ()).map_err(failed),
            Err(cause) if kind_of(&cause) == StoreErrorKind::NotFound => Ok(()),
            Err(cause) => Err(failed(cause)),
        }
    }

    fn delete(&self, key: &ObjectKey) -> Result<Deleted, StoreError> {
        match self.remove(key) {
            Err(cause) if is_absent(&cause) => Ok(Deleted::WasAbsent),
            outcome => outcome.map_err(|cause| failure("delete", key, cause)),
        }
    }

    fn location(&self) -> String {
        self.path.display().to_string()
    }
}

/// A folder of that name is no object, and neither is a name below a file.
fn is_absent(cause: &io::Error) -> bool {
    kind_of(cause) == StoreErrorKind::NotFound || cause.raw_os_error() == Some(Errno::EISDIR as i32)
}

#[cfg(test)]
mod tests;
