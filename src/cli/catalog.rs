//! What the commands about files share: the local index brought up to date, and how files are said.

use std::env;
use std::path::PathBuf;

use serde::Serialize;

use super::context::Context;
use super::failure::Failure;
use super::{output, times};
use crate::base::clock::Timestamp;
use crate::catalog::Record;
use crate::catalog::index::{Filled, Index};
use crate::filesystem::{FileKind, FileTime, printable};
use crate::repository::{PointListing, Repository};

/// Where the local index is kept, and whether it is to be made anew.
#[derive(Debug, Clone)]
pub(super) struct IndexSettings {
    /// The folder of all repositories' indexes.
    pub(super) folder: Option<PathBuf>,
    pub(super) rebuild: bool,
}

/// A point whose files cannot be searched.
#[derive(Debug, Serialize)]
pub(super) struct UnusableView {
    point: String,
    reason: String,
}

/// Opens the index of a repository and adds what is missing in it.
pub(super) fn open(repository: &Repository, settings: IndexSettings, listing: &PointListing) -> anyhow::Result<(Index, Filled)> {
    let folder = settings.folder.or_else(default_folder).ok_or_else(|| {
        Failure::refused("where may the local index be kept? name a folder with --cache-dir, or in the variable ICECORE_CACHE_DIR")
    })?;
    let folder = folder.join(repository.config().id.to_string());
    let mut index = if settings.rebuild { Index::anew(&folder)? } else { Index::open(&folder)? };
    if let Some(reason) = &index.rebuilt {
        output::warn(&format!("the local index is made anew: {reason}"));
    }
    let filled = index.fill(repository, &listing.points)?;
    for unusable in &filled.unusable {
        output::warn(&format!("the files of point {} cannot be searched: {}", unusable.point, unusable.reason));
    }
    Ok((index, filled))
}

fn default_folder() -> Option<PathBuf> {
    let absolute = |path: PathBuf| path.is_absolute().then_some(path);
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).and_then(absolute);
    let home = || env::var_os("HOME").map(PathBuf::from).and_then(absolute).map(|home| home.join(".cache"));
    cache.or_else(home).map(|folder| folder.join("icecore"))
}

pub(super) fn unusable(filled: &Filled) -> Vec<UnusableView> {
    filled.unusable.iter().map(|u| UnusableView { point: u.point.clone(), reason: u.reason.clone() }).collect()
}

/// A path in JSON: as text, and in hexadecimal where text cannot say it.
pub(super) fn path_views(path: &[u8]) -> (String, Option<String>) {
    let hex = str::from_utf8(path).is_err().then(|| path.iter().map(|byte| format!("{byte:02x}")).collect());
    (String::from_utf8_lossy(path).into_owned(), hex)
}

/// Attributes of a file.
#[derive(Debug, Serialize)]
pub(super) struct FileView {
    inode: u64,
    kind: &'static str,
    mode: String,
    uid: u32,
    gid: u32,
    links: u32,
    size_bytes: u64,
    modified: String,
    changed: String,
}

impl From<&Record> for FileView {
    fn from(record: &Record) -> Self {
        Self {
            inode: record.inode,
            kind: kind(record.kind),
            mode: format!("{:04o}", record.mode),
            uid: record.uid,
            gid: record.gid,
            links: record.links,
            size_bytes: record.size,
            modified: utc(record.modified),
            changed: utc(record.changed),
        }
    }
}

/// The name of a kind of file.
pub(super) fn kind(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Regular => "file",
        FileKind::Directory => "directory",
        FileKind::Symlink => "symlink",
        FileKind::CharacterDevice { .. } => "character_device",
        FileKind::BlockDevice { .. } => "block_device",
        FileKind::Fifo => "fifo",
        FileKind::Socket => "socket",
    }
}

/// The moment as other times are said; what lies before 1970 counts as its beginning.
pub(super) fn moment(time: FileTime) -> Timestamp {
    let seconds = u64::try_from(time.seconds).unwrap_or(0);
    Timestamp(seconds.saturating_mul(1000).saturating_add(u64::from(time.nanoseconds) / 1_000_000))
}

fn utc(time: FileTime) -> String {
    times::utc(moment(time))
}

/// One line about a file, as `ls -l` would begin it.
pub(super) fn line(context: &Context, record: &Record, path: &[u8]) -> String {
    let letter = match record.kind {
        FileKind::Regular => '-',
        FileKind::Directory => 'd',
        FileKind::Symlink => 'l',
        FileKind::CharacterDevice { .. } => 'c',
        FileKind::BlockDevice { .. } => 'b',
        FileKind::Fifo => 'p',
        FileKind::Socket => 's',
    };
    let modified = times::local(moment(record.modified), &context.zone);
    format!("{letter}{:04o} {:>12} {modified} {}", record.mode, record.size, printable(path))
}
