//! Arguments of `icecore restore`.

use std::path::PathBuf;

use clap::Args;

use super::{JsonArgs, RepoArgs, values};
use crate::cli::commands::restore::Settings;
use crate::cli::context::Voice;
use crate::cli::failure::Failure;

/// Write a recovery point to a block device or image file, every chunk verified first; one of files to a directory
///
/// A target that is mounted or in use is refused. One that holds data is refused unless --force is given.
#[derive(Debug, Args)]
pub(in crate::cli) struct RestoreArgs {
    /// The beginning of an id, 'latest', VOLUME@latest, or VOLUME@TIME for the last point cut by that time
    point: String,
    #[command(flatten)]
    repo: RepoArgs,
    /// A block device that is large enough, or a file, which is made if it is not there; of a point of files, a directory or a new name
    #[arg(long, value_name = "TARGET")]
    to: PathBuf,
    /// Read the target, and write only what differs; on a target that holds data, together with --force
    #[arg(long)]
    only_differences: bool,
    /// Read everything back that was written
    #[arg(long)]
    verify: bool,
    /// Overwrite a target that holds data
    #[arg(long)]
    force: bool,
    /// Go around what is lost everywhere or was unreadable, name it and the files that it hits, and exit with 3
    #[arg(long)]
    degraded: bool,
    /// Threads that fetch and write [default: one a core]
    #[arg(long, value_name = "N", value_parser = values::threads)]
    workers: Option<usize>,
    #[command(flatten)]
    json: JsonArgs,
}

impl RestoreArgs {
    pub(in crate::cli) fn settle(self) -> Result<(Settings, Voice), Failure> {
        let settings = Settings {
            location: self.repo.settle()?,
            point: self.point,
            target: self.to,
            only_differences: self.only_differences,
            verify: self.verify,
            force: self.force,
            degraded: self.degraded,
            workers: self.workers,
        };
        Ok((settings, self.json.settle()))
    }
}
