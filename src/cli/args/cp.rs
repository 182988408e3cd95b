//! Arguments of `icecore cp`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::Args;

use super::place::PlaceArgs;
use super::{JsonArgs, values};
use crate::cli::commands::cp::{Settings, Target};
use crate::cli::context::Voice;
use crate::cli::failure::Failure;

/// Copy a file or a tree out of a recovery point, an image or a device
///
/// Owner, mode, times, extended attributes, holes, hard links and symbolic links are kept. Nothing is ever made outside TARGET, and
/// nothing that is there is replaced without --force. What could not be had is named, and the exit code is 3.
#[derive(Debug, Args)]
pub(in crate::cli) struct CpArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// A directory to copy into, or a new name
    #[arg(value_name = "TARGET", required_unless_present = "to", conflicts_with = "to")]
    target: Option<PathBuf>,
    /// Write an archive: tar or tar:- to standard output, tar:FILE to a new file
    #[arg(long, value_name = "tar[:FILE]")]
    to: Option<OsString>,
    /// Replace files that are there
    #[arg(long)]
    force: bool,
    /// Make device nodes
    #[arg(long)]
    devices: bool,
    /// Keep setuid and setgid bits and file capabilities
    #[arg(long)]
    setuid: bool,
    /// Keep files that lack bytes, with holes in their place, and name the missing ranges
    #[arg(long)]
    partial: bool,
    /// Threads that read [default: one a core]
    #[arg(long, value_name = "N", value_parser = values::threads)]
    workers: Option<usize>,
    #[command(flatten)]
    json: JsonArgs,
}

impl CpArgs {
    pub(in crate::cli) fn settle(self) -> Result<(Settings, Voice), Failure> {
        let voice = self.json.settle();
        let target = match (self.target, self.to) {
            (Some(target), _) => Target::Files(target),
            (None, Some(to)) => archive(&to)?,
            (None, None) => return Err(Failure::refused("copy to where? name a TARGET, or --to tar")),
        };
        if matches!(target, Target::Stream) && voice == Voice::Json {
            return Err(Failure::refused("the archive and the report cannot both go to standard output; use --to tar:FILE"));
        }
        let settings = Settings {
            place: self.place.settle(),
            target,
            force: self.force,
            devices: self.devices,
            setuid: self.setuid,
            partial: self.partial,
            workers: self.workers,
        };
        Ok((settings, voice))
    }
}

fn archive(to: &OsString) -> Result<Target, Failure> {
    match to.as_bytes() {
        b"tar" | b"tar:-" => Ok(Target::Stream),
        [b't', b'a', b'r', b':', path @ ..] if !path.is_empty() => Ok(Target::Archive(PathBuf::from(OsStr::from_bytes(path)))),
        _ => Err(Failure::refused(format!("{} is no way to write; --to takes tar, tar:- or tar:FILE", to.display()))),
    }
}
