//! Salvage: files out of a volume that no longer mounts.

mod entries;
mod list;
mod view;

use std::fs;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::default_workers;
use crate::catalog::index::Pattern;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::file_views::finding_kind;
use crate::cli::outcome::Outcome;
use crate::cli::place::Place;
use crate::cli::wreck::OpenWreck;
use crate::cli::{output, text};
use crate::filesystem::{Filesystem, printable};
use crate::job::JobError;
use crate::job::extract::{DirectoryOptions, DirectoryTarget, ExtractOptions};
use crate::job::salvage::{SalvageReport, salvage};
use entries::EntryView;

pub(super) use entries::{EntryView as Described, damaged as damaged_entries};
pub(super) use view::{SummaryView, damage};

/// Lines that are said about single files; a report has them all.
const SAID_LINES: usize = 10_000;

/// What to salvage, where to, and how.
#[derive(Debug)]
pub(in crate::cli) struct Settings {
    pub(in crate::cli) place: Place,
    pub(in crate::cli) history: Option<String>,
    pub(in crate::cli) list: bool,
    pub(in crate::cli) target: Option<PathBuf>,
    pub(in crate::cli) pattern: Option<Pattern>,
    pub(in crate::cli) after: Option<Vec<u8>>,
    pub(in crate::cli) report: Option<PathBuf>,
    pub(in crate::cli) force: bool,
    pub(in crate::cli) devices: bool,
    pub(in crate::cli) setuid: bool,
    pub(in crate::cli) workers: Option<usize>,
}

pub(in crate::cli) fn run(context: &Context, settings: Settings) -> anyhow::Result<Outcome> {
    let target = settings.target.as_deref().map(|path| open_target(path, &settings)).transpose()?;
    let opened = OpenWreck::open(context, &settings.place, settings.history.as_deref())?;
    damage(&opened).iter().for_each(|line| output::warn(line));
    if let Some(pattern) = &settings.pattern {
        let wants = |path: &[u8]| pattern.covers(&[b"/", path].concat());
        let wanted = opened.tree.select(&wants).map_err(JobError::from)?;
        if wanted == 0 {
            return Err(anyhow::Error::from(Failure::refused(
                "nothing that was found matches --path; list everything with --list",
            )));
        }
    }
    if let Some(path) = &settings.report {
        write_report(&opened, path)?;
    }
    match target {
        Some(target) => extract(context, &settings, &opened, target),
        None => list::list(context, &settings, &opened),
    }
}

fn open_target(path: &Path, settings: &Settings) -> anyhow::Result<DirectoryTarget> {
    if !path.exists() {
        fs::create_dir(path)
            .with_context(|| format!("cannot make the directory {}; name one in a directory that exists", path.display()))?;
    }
    Ok(DirectoryTarget::open(path, DirectoryOptions { force: settings.force })?)
}

fn extract(context: &Context, settings: &Settings, opened: &OpenWreck, mut target: DirectoryTarget) -> anyhow::Result<Outcome> {
    let options = ExtractOptions {
        devices: settings.devices,
        setuid: settings.setuid,
        partial: true,
        workers: settings.workers.unwrap_or_else(default_workers),
    };
    let (progress, cancel) = (context.progress(), context.interrupts.cancel());
    let report = salvage(&opened.tree, &mut target, options, progress.as_ref(), &cancel)?;
    say(opened, &report)?;
    let shown = settings.target.as_deref().unwrap_or(Path::new("")).display().to_string();
    context.report(&view::view(opened, &shown, &report), || view::describe(opened, settings, &shown, &report))?;
    let harmed = report.whole.findings.harm > 0 || !report.incomplete.is_empty();
    Ok(Outcome::findings_if(harmed || !is_sound(opened)))
}

/// True when nothing of the volume is damaged, made up or doubtful.
pub(super) fn is_sound(opened: &OpenWreck) -> bool {
    let summary = opened.tree.summary();
    let harm =
        [summary.made_up, summary.broken_directories, summary.adrift, summary.partial, summary.doubtful, summary.lost_inodes];
    let stale = opened.tree.view().stale().is_some();
    opened.tree.damage().is_empty() && harm.iter().all(|count| *count == 0) && summary.lost_names == 0 && !stale
}

/// Names every file that is not what it was.
fn say(opened: &OpenWreck, report: &SalvageReport) -> Result<(), JobError> {
    let incomplete = report.incomplete.iter().map(view::incomplete_line);
    let findings = report.whole.findings.list.iter();
    let findings =
        findings.map(|finding| format!("{}: {}: {}", finding_kind(finding.kind), printable(&finding.path), finding.reason));
    let mut lines: Vec<String> = incomplete.chain(findings).collect();
    let mut more = report.whole.findings.left_out;
    if opened.tree.summary().doubtful > 0 {
        let (doubtful, unsaid) = entries::doubtful(&opened.tree, SAID_LINES)?;
        lines.extend(doubtful.iter().map(EntryView::line));
        more += unsaid;
    }
    lines.iter().take(SAID_LINES).for_each(|line| output::warn(line));
    more += lines.len().saturating_sub(SAID_LINES) as u64;
    if more > 0 {
        output::warn(&format!("... and {}; --report FILE lists them", text::count(more, "more finding")));
    }
    Ok(())
}

/// One line of JSON about each file.
fn write_report(opened: &OpenWreck, path: &Path) -> anyhow::Result<()> {
    let context = || format!("cannot write the report {}; name a new file in a directory that exists", path.display());
    let mut out = BufWriter::new(File::create_new(path).with_context(context)?);
    entries::each(&opened.tree, None, &mut |entry: EntryView| {
        serde_json::to_writer(&mut out, &entry)?;
        Ok::<(), anyhow::Error>(out.write_all(b"\n")?)
    })?;
    out.flush().with_context(context)
}
