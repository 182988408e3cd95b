//! Arguments of `icecore points`.

use clap::{Args, Subcommand};

use super::{JsonArgs, RepoArgs};
use crate::cli::commands::points::Settings;
use crate::cli::context::Voice;
use crate::cli::failure::Failure;

/// List the recovery points, or show one
#[derive(Debug, Args)]
pub(in crate::cli) struct PointsArgs {
    #[command(flatten)]
    repo: RepoArgs,
    /// Only the points of this volume
    #[arg(long, value_name = "NAME", global = true)]
    volume: Option<String>,
    #[command(flatten)]
    json: JsonArgs,
    #[command(subcommand)]
    command: Option<PointsCommand>,
}

#[derive(Debug, Subcommand)]
enum PointsCommand {
    /// List the recovery points, oldest first; without a command, 'points' does the same
    List,
    /// Show everything about one recovery point
    Show {
        /// The beginning of an id, 'latest', VOLUME@latest, or VOLUME@TIME for the last point cut by that time
        point: String,
    },
}

impl PointsArgs {
    pub(in crate::cli) fn settle(self) -> Result<(Settings, Voice), Failure> {
        let location = self.repo.settle()?;
        let show = match self.command {
            Some(PointsCommand::Show { point }) => Some(point),
            Some(PointsCommand::List) | None => None,
        };
        Ok((Settings { location, volume: self.volume, show }, self.json.settle()))
    }
}
