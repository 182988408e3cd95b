//! Arguments of `icecore salvage` and `icecore check-volume`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::Args;

use super::place::VolumeArgs;
use super::{JsonArgs, RepoArgs, values};
use crate::catalog::index::Pattern;
use crate::cli::commands::check_volume::Settings as CheckSettings;
use crate::cli::commands::salvage::Settings;
use crate::cli::context::Voice;
use crate::cli::failure::Failure;
use crate::cli::place::Place;

/// A volume that may be damaged.
#[derive(Debug, Args)]
struct SourceArgs {
    /// An image, a device, or a recovery point of a damaged volume
    #[arg(value_name = "SOURCE")]
    source: OsString,
    #[command(flatten)]
    repo: RepoArgs,
    #[command(flatten)]
    volume: VolumeArgs,
    /// A repository with earlier points of this volume, from which gaps are filled
    #[arg(long, value_name = "REPO")]
    history: Option<String>,
}

impl SourceArgs {
    fn settle(self) -> (Place, Option<String>) {
        let Self { source, repo, volume, history } = self;
        (volume.place(source, repo.optional()), history)
    }
}

/// Take files out of a volume that no longer mounts
///
/// Looks for everything that is left of an ext2, ext3, ext4 or XFS file system and says of each file how sure it is: verified, probable,
/// partial or doubtful. Whole files go to their paths in the directory given with --to, files whose name is lost to lost+found, and
/// files that lack bytes to lost+found/partial, each with a list of its holes beside it. Nothing is written to SOURCE.
#[derive(Debug, Args)]
pub(in crate::cli) struct SalvageArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// A directory to fill [default: only list]
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// List what is found, and what vouches for it
    #[arg(long)]
    list: bool,
    /// Only what matches: part of a name, or a pattern with *, ? and [; with a slash it is about paths
    #[arg(long, value_name = "GLOB")]
    path: Option<OsString>,
    /// Go on with a list after this path, which was the last one shown
    #[arg(long, value_name = "PATH", requires = "list")]
    after: Option<OsString>,
    /// Write a line of JSON about each file to this new file
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Replace files that are there
    #[arg(long)]
    force: bool,
    /// Make device nodes
    #[arg(long)]
    devices: bool,
    /// Keep setuid and setgid bits and file capabilities
    #[arg(long)]
    setuid: bool,
    /// Threads that read [default: one a core]
    #[arg(long, value_name = "N", value_parser = values::threads)]
    workers: Option<usize>,
    #[command(flatten)]
    json: JsonArgs,
}

impl SalvageArgs {
    pub(in crate::cli) fn settle(self) -> Result<(Settings, Voice), Failure> {
        let (place, history) = self.source.settle();
        let pattern = self.path.map(|path| Pattern::parse(path.as_bytes())).transpose();
        let settings = Settings {
            place,
            history,
            list: self.list || self.to.is_none(),
            target: self.to,
            pattern: pattern.map_err(|reason| Failure::refused(format!("--path: {reason}")))?,
            after: self.after.map(|after| after.as_bytes().to_vec()),
            report: self.report,
            force: self.force,
            devices: self.devices,
            setuid: self.setuid,
            workers: self.workers,
        };
        if settings.list && settings.target.is_some() {
            return Err(Failure::refused("--list shows and --to extracts; do one after the other, or add --report FILE to --to"));
        }
        Ok((settings, self.json.settle()))
    }
}

/// Check the file system of a volume without mounting it
///
/// Reads all metadata of an ext2, ext3, ext4 or XFS file system and says what is damaged and which files that hits. The exit code is 3
/// when anything is: a gate before a restored volume is used.
#[derive(Debug, Args)]
pub(in crate::cli) struct CheckVolumeArgs {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    json: JsonArgs,
}

impl CheckVolumeArgs {
    pub(in crate::cli) fn settle(self) -> (CheckSettings, Voice) {
        let (place, history) = self.source.settle();
        (CheckSettings { place, history }, self.json.settle())
    }
}
