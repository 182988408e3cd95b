//! Arguments of `icecore stat`.

use clap::Args;

use super::JsonArgs;
use super::place::PlaceArgs;
use crate::cli::commands::stat::Settings;
use crate::cli::context::Voice;

/// Show all facts about a file in a recovery point, an image or a device, and how sure they are
#[derive(Debug, Args)]
pub(in crate::cli) struct StatArgs {
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    json: JsonArgs,
}

impl StatArgs {
    pub(in crate::cli) fn settle(self) -> (Settings, Voice) {
        (Settings { place: self.place.settle() }, self.json.settle())
    }
}
