//! Arguments of `icecore prune`.

use std::time::Duration;

use clap::Args;

use super::{JsonArgs, RepoArgs};
use crate::cli::commands::prune::Settings;
use crate::cli::context::Voice;
use crate::cli::failure::Failure;
use crate::cli::times;
use crate::repository::SAFE_WAIT;

/// Free the space that no recovery point needs any more
///
/// What nobody needs is condemned first, and deleted by a later run once no running backup can still count on it. Run it regularly.
#[derive(Debug, Args)]
pub(in crate::cli) struct PruneArgs {
    #[command(flatten)]
    repo: RepoArgs,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// How long the condemned wait, such as 2h [default: 1h30m]; less is refused while a backup runs
    #[arg(long, value_name = "DURATION", value_parser = times::parse_duration)]
    wait: Option<Duration>,
    /// Delete at once; refused while a backup runs
    #[arg(long, conflicts_with = "wait")]
    now: bool,
    #[command(flatten)]
    json: JsonArgs,
}

impl PruneArgs {
    pub(in crate::cli) fn settle(self) -> Result<(Settings, Voice), Failure> {
        let wait = if self.now { Duration::ZERO } else { self.wait.unwrap_or(SAFE_WAIT) };
        Ok((Settings { location: self.repo.settle()?, dry_run: self.dry_run, wait }, self.json.settle()))
    }
}
