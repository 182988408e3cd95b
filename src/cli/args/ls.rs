//! Arguments of `icecore ls`.

use clap::Args;

use super::JsonArgs;
use super::place::PlaceArgs;
use crate::cli::commands::ls::Settings;
use crate::cli::context::Voice;

/// List the files in a recovery point, an image or a device, without mounting anything
#[derive(Debug, Args)]
pub(in crate::cli) struct LsArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Show mode, links, owner, group, size and time
    #[arg(short, long)]
    long: bool,
    /// Go into directories
    #[arg(short = 'R', long)]
    recursive: bool,
    #[command(flatten)]
    json: JsonArgs,
}

impl LsArgs {
    pub(in crate::cli) fn settle(self) -> (Settings, Voice) {
        let settings = Settings { place: self.place.settle(), long: self.long, recursive: self.recursive };
        (settings, self.json.settle())
    }
}
