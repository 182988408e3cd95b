//! Arguments of `icecore track`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::tracker::TrackerArgs;
use super::{JsonArgs, values};
use crate::cli::commands::track::{Act, Settings};
use crate::cli::context::Voice;

/// Track which blocks of a disk change, so that a backup need not read it to find out
///
/// Programs inside the kernel mark what is written; they go on when icecore ends, until the machine is booted. An answer is exact, or
/// unknown with a reason, never a guess.
#[derive(Debug, Args)]
pub(in crate::cli) struct TrackArgs {
    #[command(flatten)]
    tracker: TrackerArgs,
    #[command(flatten)]
    json: JsonArgs,
    #[command(subcommand)]
    command: TrackCommand,
}

#[derive(Debug, Subcommand)]
enum TrackCommand {
    /// Begin to track a whole disk
    Add {
        /// The disk; of a partition, the disk that it is on
        device: PathBuf,
        /// Changes are told apart in chunks of this size [default: 16KiB, more on disks above 1 TiB]
        #[arg(long, value_name = "SIZE", value_parser = values::bytes_u32)]
        chunk_size: Option<u32>,
    },
    /// List the tracked disks, and what was written to them since their last epoch
    List,
    /// End an epoch: print what changed since the cut whose token is given, as 'backup --changed' takes it
    ///
    /// Exits with 3 when that is not known; back up without --changed then. The new token is written beside the given one, as FILE.new.
    /// Rename it to FILE when the backup of this cut is done; if that backup fails, leave FILE as it is.
    Epoch {
        /// The disk
        device: PathBuf,
        /// The token of the last cut that has a backup; a first epoch finds none there
        #[arg(long, value_name = "FILE")]
        token: PathBuf,
        /// A shell command that takes the cut: a snapshot of the disk. Without one, the disk must not be written until it is backed up
        #[arg(long, value_name = "COMMAND")]
        cut: Option<String>,
    },
    /// Stop tracking a disk, or with --all every disk
    Remove {
        /// The disk
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        device: Option<PathBuf>,
        /// Detach the tracker, whatever version of icecore attached it
        #[arg(long)]
        all: bool,
    },
}

/// Thaw a file system when its time is over, or when the process that froze it is gone; a backup starts this by itself
#[derive(Debug, Args)]
pub(in crate::cli) struct GuardFrozenArgs {
    /// Where it is mounted
    mount: PathBuf,
    /// How many milliseconds it may stay frozen
    limit: u64,
}

impl GuardFrozenArgs {
    pub(in crate::cli) fn settle(self) -> (PathBuf, Duration) {
        (self.mount, Duration::from_millis(self.limit))
    }
}

impl TrackArgs {
    pub(in crate::cli) fn settle(self) -> (Settings, Voice) {
        let act = match self.command {
            TrackCommand::Add { device, chunk_size } => Act::Add { device, chunk_bytes: chunk_size },
            TrackCommand::List => Act::List,
            TrackCommand::Epoch { device, token, cut } => Act::Epoch { device, token, cut },
            TrackCommand::Remove { device: Some(device), .. } => Act::Remove { device },
            TrackCommand::Remove { device: None, .. } => Act::Detach,
        };
        (Settings { place: self.tracker.settle(), act }, self.json.settle())
    }
}
