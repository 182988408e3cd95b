//! Arguments of `icecore cat`.

use clap::Args;

use super::place::PlaceArgs;
use super::values;
use crate::cli::commands::cat::Settings;
use crate::cli::context::Voice;

/// Write the content of a file in a recovery point, an image or a device to standard output
///
/// It ends with exit code 3 at the first byte that is missing; what was written until then is right.
#[derive(Debug, Args)]
pub(in crate::cli) struct CatArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Threads that read [default: one a core]
    #[arg(long, value_name = "N", value_parser = values::threads)]
    workers: Option<usize>,
}

impl CatArgs {
    pub(in crate::cli) fn settle(self) -> (Settings, Voice) {
        (Settings { place: self.place.settle(), workers: self.workers }, Voice::Text)
    }
}
