//! Lists a tree of folders as a stream: one open folder per level, never the whole listing in memory.

use nix::dir::{Dir, Entry, Type};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat};
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use tracing::warn;

use super::errno::kind_of;
use super::root::open_folder;
use crate::base::clock::Timestamp;
use crate::store::{ObjectEntry, ObjectKey, StoreErrorKind};

/// Shows every object below `folder`, whose own path is `path`. What vanishes meanwhile is left out.
///
/// The depth is bounded by the length of a key: names that would make a longer one are passed by.
pub(super) fn walk(
    folder: OwnedFd,
    path: &str,
    visit: &mut dyn FnMut(ObjectEntry) -> ControlFlow<()>,
) -> io::Result<ControlFlow<()>> {
    for entry in stream(&folder)?.iter() {
        let entry = entry?;
        let Some(key) = key_of(path, &entry) else { continue };
        let flow = match look(&folder, &entry, &key)? {
            Seen::Object(object) => visit(object),
            Seen::Folder => walk_into(&folder, &key, visit)?,
            Seen::Nothing => ControlFlow::Continue(()),
        };
        if flow.is_break() {
            return Ok(flow);
        }
    }
    Ok(ControlFlow::Continue(()))
}

fn walk_into(
    parent: &OwnedFd,
    key: &ObjectKey,
    visit: &mut dyn FnMut(ObjectEntry) -> ControlFlow<()>,
) -> io::Result<ControlFlow<()>> {
    match open_folder(parent.as_fd(), key.file_name()) {
        Ok(folder) => walk(folder, key.as_str(), visit),
        Err(cause) if kind_of(&cause) == StoreErrorKind::NotFound => Ok(ControlFlow::Continue(())),
        Err(cause) => Err(cause),
    }
}

/// What an entry of a folder turned out to be.
enum Seen {
    Object(ObjectEntry),
    Folder,
    Nothing,
}

fn look(folder: &OwnedFd, entry: &Entry, key: &ObjectKey) -> io::Result<Seen> {
    if entry.file_type() == Some(Type::Directory) {
        return Ok(Seen::Folder);
    }
    let stat = match fstatat(folder, key.file_name(), AtFlags::AT_SYMLINK_NOFOLLOW) {
        Err(Errno::ENOENT) => return Ok(Seen::Nothing),
        stat => stat?,
    };
    Ok(match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFREG => Seen::Object(ObjectEntry { key: key.clone(), size: length(&stat), modified: modified(&stat) }),
        SFlag::S_IFDIR => Seen::Folder,
        _ => {
            warn!(%key, "neither a file nor a folder, so no object; symbolic links are not followed");
            Seen::Nothing
        }
    })
}

/// The key of an entry, or nothing for what no object is called: `.`, `..`, `.tmp`, foreign files.
fn key_of(path: &str, entry: &Entry) -> Option<ObjectKey> {
    let name = entry.file_name().to_str().ok()?;
    let whole = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
    ObjectKey::new(whole).ok()
}

/// A stream of the entries of `folder`, from the first on.
fn stream(folder: &OwnedFd) -> io::Result<Dir> {
    // A handle of its own: a duplicated one would share its place in the listing.
    let own = openat(folder, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    Ok(Dir::from_fd(own)?)
}

/// Up to `limit` names in a folder.
pub(super) fn names(folder: &OwnedFd, limit: usize) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in stream(folder)?.iter().take(limit) {
        let entry = entry?;
        if entry.file_type() != Some(Type::Directory) {
            names.extend(entry.file_name().to_str().ok().map(str::to_owned));
        }
    }
    Ok(names)
}

fn length(stat: &FileStat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or_default()
}

/// When a file was last written; 1970 for anything before.
pub(super) fn modified(stat: &FileStat) -> Timestamp {
    let seconds = u64::try_from(stat.st_mtime).unwrap_or_default();
    let nanoseconds = u64::try_from(stat.st_mtime_nsec).unwrap_or_default();
    Timestamp(seconds.saturating_mul(1_000).saturating_add(nanoseconds / 1_000_000))
}
