//! Arguments of `icecore doctor`.

use std::path::PathBuf;

use clap::Args;

use super::{JsonArgs, RepoArgs};
use crate::cli::commands::doctor::Settings;
use crate::cli::context::Voice;

/// Find out what this machine, a source and a repository allow, and what to do about what they do not
#[derive(Debug, Args)]
pub(in crate::cli) struct DoctorArgs {
    /// A block device or image file to look at
    source: Option<PathBuf>,
    #[command(flatten)]
    repo: RepoArgs,
    #[command(flatten)]
    json: JsonArgs,
}

impl DoctorArgs {
    pub(in crate::cli) fn settle(self) -> (Settings, Voice) {
        (Settings { source: self.source, location: self.repo.settle().ok() }, self.json.settle())
    }
}
