//! Arguments of `icecore diff`.

use std::ffi::OsString;

use clap::Args;

use super::files::IndexArgs;
use super::place::ReadingArgs;
use super::{JsonArgs, RepoArgs};
use crate::cli::commands::diff::Settings;
use crate::cli::context::Voice;
use crate::cli::failure::Failure;

/// Print where two recovery points differ, as lines of 'offset length' in bytes; or which files differ between any two places
///
/// 'backup --changed' reads the same lines. A point is named by the beginning of its id, 'latest', VOLUME@latest, or VOLUME@TIME.
///
/// A PLACE with a path, and an IMAGE-OR-DEVICE, is compared file by file: both file systems are read without mounting them, and walked
/// side by side. A file is modified if its bytes, its length or its kind differ, and has other attributes if only its mode, owner,
/// time of modification or extended attributes do. What cannot be read is a finding, and ends in exit code 3.
#[derive(Debug, Args)]
pub(in crate::cli) struct DiffArgs {
    /// The older one: POINT[:/PATH], or IMAGE-OR-DEVICE[:/PATH]
    #[arg(value_name = "PLACE")]
    old: OsString,
    /// The newer one
    #[arg(value_name = "PLACE")]
    new: OsString,
    /// Print which files differ instead: + added, - removed, M modified, A attributes, R renamed
    ///
    /// Implied by a path, --partition, an image and a device. Two whole points of one volume that have file catalogs are answered out of these
    /// without reading files; then a file is modified if its length, its time or its place on disk differs.
    #[arg(long)]
    files: bool,
    /// Compare the bytes of all files of equal length, not only where inode or times differ; implies --files
    #[arg(long)]
    content: bool,
    #[command(flatten)]
    repo: RepoArgs,
    #[command(flatten)]
    reading: ReadingArgs,
    #[command(flatten)]
    index: IndexArgs,
    #[command(flatten)]
    json: JsonArgs,
}

impl DiffArgs {
    pub(in crate::cli) fn settle(self) -> Result<(Settings, Voice), Failure> {
        let Self { old, new, files, content, repo, reading, index, json } = self;
        let location = repo.optional();
        let (old, new) = (reading.place(old, location.clone()), reading.place(new, location));
        let files = files || content || old.has_partition();
        let settings = Settings { old, new, files, content, index: index.settle() };
        Ok((settings, json.settle()))
    }
}
