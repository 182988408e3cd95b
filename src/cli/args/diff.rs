//! Arguments of `icecore diff`.

use std::ffi::OsString;

use clap::Args;

use super::files::IndexArgs;
use super::{JsonArgs, RepoArgs};
use crate::cli::commands::diff::Settings;
use crate::cli::context::Voice;
use crate::cli::failure::Failure;
use crate::cli::place::Place;

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
    /// Implied by a path, an image and a device. Two whole points of one volume that have file catalogs are answered out of these
    /// without reading files; then a file is modified if its length, its time or its place on disk differs.
    #[arg(long)]
    files: bool,
    /// Compare the bytes of all files of equal length, not only where inode or times differ; implies --files
    #[arg(long)]
    content: bool,
    #[command(flatten)]
    repo: RepoArgs,
    /// The partition that holds the file system in both, counted from 1; implies --files
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    partition: Option<u32>,
    /// Follow symbolic links in both PATHs; they never lead out of the volume
    #[arg(short = 'L', long)]
    follow: bool,
    /// Read a device although it is mounted read-write; what is compared may be mixed
    #[arg(long)]
    live: bool,
    #[command(flatten)]
    index: IndexArgs,
    #[command(flatten)]
    json: JsonArgs,
}

impl DiffArgs {
    pub(in crate::cli) fn settle(self) -> Result<(Settings, Voice), Failure> {
        let Self { old, new, files, content, repo, partition, follow, live, index, json } = self;
        let location = repo.optional();
        let place = |text| Place { text, location: location.clone(), partition, follow, live };
        let files = files || content || partition.is_some();
        let settings = Settings { old: place(old), new: place(new), files, content, index: index.settle() };
        Ok((settings, json.settle()))
    }
}
