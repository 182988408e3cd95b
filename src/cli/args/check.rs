//! Arguments of `icecore check`.

use clap::Args;

use super::{JsonArgs, RepoArgs};
use crate::cli::commands::check::{Depth, Settings};
use crate::cli::context::Voice;
use crate::cli::failure::Failure;

/// Find out whether every recovery point can be restored, and name the exact bytes that cannot
#[derive(Debug, Args)]
pub(in crate::cli) struct CheckArgs {
    #[command(flatten)]
    repo: RepoArgs,
    /// Check points, their trees, and that all packs are there [default]
    #[arg(long, group = "depth")]
    quick: bool,
    /// Also read every chunk and hold it against its id
    #[arg(long, group = "depth")]
    deep: bool,
    /// Verify the checksums and signatures of all objects without any key
    #[arg(long, group = "depth")]
    keyless: bool,
    #[command(flatten)]
    json: JsonArgs,
}

impl CheckArgs {
    pub(in crate::cli) fn settle(self) -> Result<(Settings, Voice), Failure> {
        let depth = match (self.deep, self.keyless) {
            (true, _) => Depth::Deep,
            (_, true) => Depth::Keyless,
            (false, false) => Depth::Quick,
        };
        Ok((Settings { location: self.repo.settle()?, depth }, self.json.settle()))
    }
}
