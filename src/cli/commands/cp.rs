//! Cp: a file or a tree into a directory or an archive.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;

use super::default_workers;
use crate::cli::context::Context;
use crate::cli::damage_views::{FoundElsewhereView, say_found_elsewhere};
use crate::cli::failure::Failure;
use crate::cli::file_views::{FileFindingView, SourceView, finding_kind};
use crate::cli::outcome::Outcome;
use crate::cli::place::{OpenPlace, Origin, Place};
use crate::cli::{output, text};
use crate::filesystem::printable;
use crate::job::JobError;
use crate::job::extract::{
    Archive, Destination, DirectoryOptions, DirectoryTarget, ExtractOptions, ExtractReport, FileFinding, extract,
};

/// Findings that are said; `--json` has them all.
const SAID_FINDINGS: usize = 20;

/// Where files go.
#[derive(Debug)]
pub(in crate::cli) enum Target {
    /// A directory, or a new name.
    Files(PathBuf),
    /// An archive on standard output.
    Stream,
    /// An archive in a file.
    Archive(PathBuf),
}

/// What to copy, where, and how.
#[derive(Debug)]
pub(in crate::cli) struct Settings {
    pub(in crate::cli) place: Place,
    pub(in crate::cli) target: Target,
    pub(in crate::cli) force: bool,
    pub(in crate::cli) devices: bool,
    pub(in crate::cli) setuid: bool,
    pub(in crate::cli) partial: bool,
    pub(in crate::cli) workers: Option<usize>,
}

#[derive(Debug, Serialize)]
struct View {
    schema: &'static str,
    source: SourceView,
    target: String,
    files: u64,
    directories: u64,
    symlinks: u64,
    hard_links: u64,
    special: u64,
    data_bytes: u64,
    fetched_bytes: Option<u64>,
    found_elsewhere: FoundElsewhereView,
    owners_kept: bool,
    findings: Vec<FileFindingView>,
    findings_left_out: u64,
}

/// What was done, and whether files have their owners.
struct Done {
    report: ExtractReport,
    owners_kept: bool,
}

pub(in crate::cli) fn run(context: &Context, settings: Settings) -> anyhow::Result<Outcome> {
    if matches!(settings.target, Target::Stream) && io::stdout().is_terminal() {
        return Err(Failure::refused("an archive is nothing for a terminal; redirect it, or use --to tar:FILE").into());
    }
    let place = settings.place.open(context)?;
    let done = match &settings.target {
        Target::Files(path) => copy_files(context, &settings, &place, path)?,
        Target::Archive(path) => copy_archive(context, &settings, &place, path)?,
        Target::Stream => match copy_stream(context, &settings, &place, &mut io::stdout().lock()) {
            Err(JobError::Output(error)) if error.kind() == ErrorKind::BrokenPipe => return Ok(Outcome::Clean),
            done => done?,
        },
    };
    say_findings(&done.report);
    say_found_elsewhere(&place.found_elsewhere());
    if matches!(settings.target, Target::Stream) {
        output::say(describe(&place, &settings, &done).trim_end());
    } else {
        context.report(&view(&place, &settings, &done), || describe(&place, &settings, &done))?;
    }
    Ok(Outcome::findings_if(done.report.findings.harm > 0 || place.is_stale()))
}

fn copy_files(context: &Context, settings: &Settings, place: &OpenPlace, target: &Path) -> anyhow::Result<Done> {
    let (directory, name) = destination(place, target, settings.force)?;
    let mut files = DirectoryTarget::open(&directory, DirectoryOptions { force: settings.force })?;
    let owners_kept = files.keeps_owners();
    Ok(Done { report: copy(context, settings, place, &name, &mut files)?, owners_kept })
}

/// The directory to open, and the name to make in it: as `cp` chooses them.
fn destination(place: &OpenPlace, target: &Path, force: bool) -> Result<(PathBuf, Vec<u8>), Failure> {
    if target.is_dir() {
        return match place.name() {
            Some(name) => Ok((target.to_path_buf(), name.to_vec())),
            None if place.inode.is_directory() => Ok((target.to_path_buf(), Vec::new())),
            None => Err(Failure::refused("the path has no last name; name the target in full")),
        };
    }
    if fs::symlink_metadata(target).is_ok() && (place.inode.is_directory() || !force) {
        let advice = if place.inode.is_directory() { "choose a new name" } else { "add --force to replace it" };
        return Err(Failure::Refused(format!("{} is there already; {advice}", target.display())));
    }
    let name = target.file_name().ok_or_else(|| Failure::Refused(format!("{} is no name for a file", target.display())))?;
    let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok((directory.to_path_buf(), name.as_bytes().to_vec()))
}

fn copy_archive(context: &Context, settings: &Settings, place: &OpenPlace, path: &Path) -> anyhow::Result<Done> {
    let mut file = create(path, settings.force)?;
    let done = copy_stream(context, settings, place, &mut file).map_err(anyhow::Error::from);
    let synced = done.and_then(|done| file.sync_all().map(|()| done).with_context(|| format!("cannot sync {}", path.display())));
    if synced.is_err() && file.metadata().is_ok_and(|file| file.is_file()) {
        // An archive that ends early looks whole to whoever only looks at its start.
        fs::remove_file(path).with_context(|| format!("cannot remove the incomplete {}", path.display()))?;
    }
    synced
}

fn create(path: &Path, force: bool) -> anyhow::Result<File> {
    let mut how = OpenOptions::new();
    how.write(true).create_new(!force).create(force).truncate(force);
    how.open(path).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            Failure::Refused(format!("{} is there already; choose a new name, or add --force to replace it", path.display())).into()
        }
        _ => anyhow::Error::from(error).context(format!("cannot make the archive {}", path.display())),
    })
}

fn copy_stream(context: &Context, settings: &Settings, place: &OpenPlace, out: &mut dyn Write) -> Result<Done, JobError> {
    let name = place.name().unwrap_or_default().to_vec();
    let report = copy(context, settings, place, &name, &mut Archive::new(out))?;
    Ok(Done { report, owners_kept: true })
}

fn copy(
    context: &Context,
    settings: &Settings,
    place: &OpenPlace,
    name: &[u8],
    destination: &mut dyn Destination,
) -> Result<ExtractReport, JobError> {
    let options = ExtractOptions {
        devices: settings.devices,
        setuid: settings.setuid,
        partial: settings.partial,
        workers: settings.workers.unwrap_or_else(default_workers),
    };
    let (progress, cancel) = (context.progress(), context.interrupts.cancel());
    extract(place.filesystem.as_ref(), &place.inode, name, destination, options, progress.as_ref(), &cancel)
}

fn view(place: &OpenPlace, settings: &Settings, done: &Done) -> View {
    let report = &done.report;
    View {
        schema: "icecore.cp.v1",
        source: place.into(),
        target: target_text(&settings.target),
        files: report.files,
        directories: report.directories,
        symlinks: report.symlinks,
        hard_links: report.hard_links,
        special: report.special,
        data_bytes: report.data_bytes,
        fetched_bytes: fetched_bytes(place),
        found_elsewhere: FoundElsewhereView::from(&place.found_elsewhere()),
        owners_kept: done.owners_kept,
        findings: report.findings.list.iter().map(FileFindingView::from).collect(),
        findings_left_out: report.findings.left_out,
    }
}

fn fetched_bytes(place: &OpenPlace) -> Option<u64> {
    match &place.origin {
        Origin::Point { reader, .. } => Some(reader.fetched_bytes()),
        Origin::Device { .. } => None,
    }
}

fn target_text(target: &Target) -> String {
    match target {
        Target::Files(path) | Target::Archive(path) => path.display().to_string(),
        Target::Stream => "standard output".to_owned(),
    }
}

fn say_findings(report: &ExtractReport) {
    let line = |finding: &FileFinding| {
        let missing: u64 = finding.missing.iter().map(|extent| extent.length).sum();
        let missing = if missing > 0 { format!(" ({missing} bytes missing)") } else { String::new() };
        format!("{}: {}{missing}: {}", finding_kind(finding.kind), printable(&finding.path), finding.reason)
    };
    report.findings.list.iter().take(SAID_FINDINGS).for_each(|finding| output::warn(&line(finding)));
    let more = report.findings.count().saturating_sub(SAID_FINDINGS as u64);
    if more > 0 {
        output::warn(&format!("... and {}; --json lists them", text::count(more, "more finding")));
    }
}

fn describe(place: &OpenPlace, settings: &Settings, done: &Done) -> String {
    let report = &done.report;
    let fetched = fetched_bytes(place).map_or_else(String::new, |bytes| format!(", {} fetched", text::size(bytes)));
    let owners = if done.owners_kept { "" } else { "owners were not kept: only root can give files away\n" };
    let harm = match report.findings.harm {
        0 => String::new(),
        count => format!("NOT as they were: {}, see above\n", text::count(count, "file or attribute")),
    };
    let counts = [
        (report.files, "file"),
        (report.symlinks, "symbolic link"),
        (report.hard_links, "hard link"),
        (report.special, "special file"),
    ];
    let counts =
        counts.into_iter().filter(|(count, noun)| *count > 0 || *noun == "file").map(|(count, noun)| text::count(count, noun));
    let directories = match report.directories {
        0 => None,
        1 => Some("1 directory".to_owned()),
        count => Some(format!("{count} directories")),
    };
    let counts: Vec<_> = counts.chain(directories).collect();
    format!(
        "copied {} to {}: {}\n{} of data{fetched}; {}\n{owners}{harm}",
        place.shown(),
        target_text(&settings.target),
        counts.join(", "),
        text::size(report.data_bytes),
        place.evidence(),
    )
}
