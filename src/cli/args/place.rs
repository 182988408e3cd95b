//! The arguments that name a file in a recovery point, an image or a device.

use std::ffi::OsString;

use clap::Args;

use super::RepoArgs;
use crate::cli::place::Place;

/// What every command on files takes.
#[derive(Debug, Args)]
pub(in crate::cli) struct PlaceArgs {
    /// POINT[:/PATH], or IMAGE-OR-DEVICE[:/PATH]
    ///
    /// What exists as a file or device, or begins with /, ./ or ../, is an image or device; anything else is a point: the beginning of
    /// an id, 'latest', VOLUME@latest, or VOLUME@TIME. The path begins at the first ':/'; without one it is the root directory.
    #[arg(value_name = "PLACE")]
    place: OsString,
    #[command(flatten)]
    repo: RepoArgs,
    #[command(flatten)]
    reading: ReadingArgs,
}

/// How a place is read; what is said of PATH holds for each PLACE.
#[derive(Debug, Args)]
pub(super) struct ReadingArgs {
    #[command(flatten)]
    volume: VolumeArgs,
    /// Follow symbolic links in PATH; they never lead out of the volume
    #[arg(short = 'L', long)]
    follow: bool,
}

/// Which part of what is named holds the file system, and in which state it may be.
#[derive(Debug, Args)]
pub(super) struct VolumeArgs {
    /// The partition that holds the file system, counted from 1
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    partition: Option<u32>,
    /// Read a device although it is mounted read-write; what is read may be mixed
    #[arg(long)]
    live: bool,
}

impl PlaceArgs {
    pub(super) fn settle(self) -> Place {
        self.reading.place(self.place, self.repo.optional())
    }
}

impl ReadingArgs {
    /// The place that `text` names.
    pub(super) fn place(&self, text: OsString, location: Option<String>) -> Place {
        Place { follow: self.follow, ..self.volume.place(text, location) }
    }
}

impl VolumeArgs {
    /// The volume that `text` names.
    pub(super) fn place(&self, text: OsString, location: Option<String>) -> Place {
        Place { text, location, partition: self.partition, follow: false, live: self.live }
    }
}
