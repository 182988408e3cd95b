//! Arguments of `icecore find` and `icecore history`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::Args;
use jiff::tz::TimeZone;

use super::{JsonArgs, RepoArgs, values};
use crate::base::clock::Timestamp;
use crate::catalog::index::Pattern;
use crate::cli::catalog::IndexSettings;
use crate::cli::commands::find::{Scope, Settings as FindSettings, SizeRange};
use crate::cli::commands::history::Settings as HistorySettings;
use crate::cli::context::Voice;
use crate::cli::failure::Failure;
use crate::cli::times;

/// The local index of files.
#[derive(Debug, Args)]
pub(in crate::cli) struct IndexArgs {
    /// Where the local index is kept, which can be removed at any time [default: icecore in $XDG_CACHE_HOME or ~/.cache]
    #[arg(long, value_name = "FOLDER", env = "ICECORE_CACHE_DIR")]
    cache_dir: Option<PathBuf>,
    /// Throw the local index away and make it anew
    #[arg(long)]
    rebuild_index: bool,
}

impl IndexArgs {
    pub(super) fn settle(self) -> IndexSettings {
        IndexSettings { folder: self.cache_dir, rebuild: self.rebuild_index }
    }
}

/// Find files by name in the newest point of each volume, or in others
///
/// PATTERN is part of a name, or a pattern with *, ? and [. With a slash it is about paths. The files come from the catalogs that
/// backups make of ext2, ext3, ext4 and XFS volumes.
#[derive(Debug, Args)]
pub(in crate::cli) struct FindArgs {
    /// Part of a name, or a pattern
    pattern: OsString,
    #[command(flatten)]
    repo: RepoArgs,
    /// Only in this volume
    #[arg(long, value_name = "NAME")]
    volume: Option<String>,
    /// In this point: the beginning of an id, 'latest', VOLUME@latest, or VOLUME@TIME
    #[arg(long, value_name = "POINT", conflicts_with = "all")]
    point: Option<String>,
    /// In all points
    #[arg(long)]
    all: bool,
    /// +SIZE for this long or longer, -SIZE for no longer, SIZE for exactly so long
    #[arg(long, value_parser = size_range, allow_hyphen_values = true)]
    size: Option<SizeRange>,
    /// Modified after this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    newer: Option<Timestamp>,
    /// Modified no later than this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    older: Option<Timestamp>,
    /// f for files, d for directories, l for symbolic links
    #[arg(long = "type", value_name = "f|d|l", value_parser = kind)]
    kind: Option<char>,
    /// Show no more files than this
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    limit: usize,
    #[command(flatten)]
    index: IndexArgs,
    #[command(flatten)]
    json: JsonArgs,
}

impl FindArgs {
    pub(in crate::cli) fn settle(self) -> Result<(FindSettings, Voice), Failure> {
        let pattern = Pattern::parse(self.pattern.as_bytes());
        let scope = match (self.point, self.all) {
            (Some(point), _) => Scope::Point(point),
            (None, true) => Scope::All,
            (None, false) => Scope::Latest,
        };
        let settings = FindSettings {
            location: self.repo.settle()?,
            index: self.index.settle(),
            pattern: pattern.map_err(|reason| Failure::refused(format!("this is no pattern: {reason}")))?,
            volume: self.volume,
            scope,
            size: self.size,
            newer: self.newer,
            older: self.older,
            kind: self.kind,
            limit: self.limit,
        };
        Ok((settings, self.json.settle()))
    }
}

/// Show the versions of one file over the points of a volume
#[derive(Debug, Args)]
pub(in crate::cli) struct HistoryArgs {
    /// VOLUME:/path, or a path with --volume
    path: OsString,
    #[command(flatten)]
    repo: RepoArgs,
    /// The volume
    #[arg(long, value_name = "NAME")]
    volume: Option<String>,
    #[command(flatten)]
    index: IndexArgs,
    #[command(flatten)]
    json: JsonArgs,
}

impl HistoryArgs {
    pub(in crate::cli) fn settle(self) -> Result<(HistorySettings, Voice), Failure> {
        let bytes = self.path.as_bytes();
        let parted = bytes.windows(2).position(|pair| pair == b":/").and_then(|at| Some((bytes.get(..at)?, bytes.get(at + 1..)?)));
        let (volume, path) = match (self.volume, parted) {
            (Some(volume), _) => (volume, bytes.to_vec()),
            (None, Some((volume, path))) => (String::from_utf8_lossy(volume).into_owned(), path.to_vec()),
            (None, None) => return Err(Failure::refused("of which volume? write VOLUME:/path, or name it with --volume")),
        };
        let settings = HistorySettings { location: self.repo.settle()?, index: self.index.settle(), volume, path };
        Ok((settings, self.json.settle()))
    }
}

fn size_range(text: &str) -> Result<SizeRange, String> {
    match (text.strip_prefix('+'), text.strip_prefix('-')) {
        (Some(size), _) => values::bytes_short(size).map(SizeRange::AtLeast),
        (_, Some(size)) => values::bytes_short(size).map(SizeRange::AtMost),
        (None, None) => values::bytes_short(text).map(SizeRange::Exactly),
    }
}

fn time(text: &str) -> Result<Timestamp, String> {
    let parsed = times::parse_until(text, &TimeZone::system());
    parsed.ok_or_else(|| "write 2026-05-31, 2026-05-31T14:00, or 2026-05-31T14:00:00Z".to_owned())
}

fn kind(text: &str) -> Result<char, String> {
    match text {
        "f" => Ok('f'),
        "d" => Ok('d'),
        "l" => Ok('l'),
        _ => Err("write f, d or l".to_owned()),
    }
}
