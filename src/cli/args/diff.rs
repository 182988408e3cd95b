//! Arguments of `icecore diff`.

use clap::Args;

use super::files::IndexArgs;
use super::{JsonArgs, RepoArgs};
use crate::cli::commands::diff::Settings;
use crate::cli::context::Voice;
use crate::cli::failure::Failure;

/// Print where two recovery points differ, as lines of 'offset length' in bytes
///
/// 'backup --changed' reads the same lines. A point is named by the beginning of its id, 'latest', VOLUME@latest, or VOLUME@TIME.
#[derive(Debug, Args)]
pub(in crate::cli) struct DiffArgs {
    /// The older point
    #[arg(value_name = "POINT")]
    old: String,
    /// The newer point
    #[arg(value_name = "POINT")]
    new: String,
    /// Print which files differ instead: + added, - removed, M modified, A attributes, R renamed
    ///
    /// Both points must be of one volume and have file catalogs.
    #[arg(long)]
    files: bool,
    #[command(flatten)]
    repo: RepoArgs,
    #[command(flatten)]
    index: IndexArgs,
    #[command(flatten)]
    json: JsonArgs,
}

impl DiffArgs {
    pub(in crate::cli) fn settle(self) -> Result<(Settings, Voice), Failure> {
        let index = self.index.settle();
        let settings = Settings { location: self.repo.settle()?, old: self.old, new: self.new, files: self.files, index };
        Ok((settings, self.json.settle()))
    }
}
