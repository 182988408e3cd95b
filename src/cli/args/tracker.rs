//! Where the tracker lives, as several commands must know.

use std::path::PathBuf;

use clap::Args;

use crate::tracking;

/// The tracker's two places.
#[derive(Debug, Args)]
pub(super) struct TrackerArgs {
    /// The BPF file system that holds the programs of the tracker; it is mounted if it is not
    #[arg(long, value_name = "FOLDER", global = true, default_value = "/sys/fs/bpf")]
    bpffs: PathBuf,
    /// What the tracker remembers of disks between commands
    #[arg(long, value_name = "FOLDER", global = true, default_value = "/run/icecore/tracking")]
    tracker_state: PathBuf,
}

impl TrackerArgs {
    pub(super) fn settle(self) -> tracking::Settings {
        tracking::Settings { bpffs: self.bpffs, state: self.tracker_state, ..tracking::Settings::default() }
    }
}
