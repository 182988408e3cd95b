//! Backup of files: a mounted tree becomes a recovery point.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs};

use anyhow::Context as _;
use rustix::fs::{StatVfsMountFlags, statvfs};
use serde::Serialize;

use super::backup::{CHECKPOINT_BYTES, CatalogOutcomeView, UPLOAD_THREADS, step_back};
use super::{default_workers, host_name};
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::file_views::NameView;
use crate::cli::outcome::Outcome;
use crate::cli::views::PointView;
use crate::cli::{metrics, output, text, times};
use crate::device::{EngineChoice, Pace};
use crate::files::{self, Crossing, ReaderChoice, ReaderReport};
use crate::filesystem::{self, printable};
use crate::filetree::{Trouble, TroubleKind};
use crate::job::backup::{CatalogRequest, FilesReport, FilesRequest, backup_files};
use crate::repository::Verdicts;
use crate::repository::format::file_tree::FileTreeFacts;
use crate::repository::format::frame::Codec;
use crate::repository::format::point::Consistency;
use crate::telemetry::BackupFacts;

/// Files named one by one before the rest is only counted; `--json` has them all.
const TROUBLES_SHOWN: usize = 20;

/// What to back up, and how.
#[derive(Debug)]
pub(in crate::cli) struct Settings {
    pub(in crate::cli) location: String,
    pub(in crate::cli) root: PathBuf,
    pub(in crate::cli) volume: String,
    pub(in crate::cli) cross_mounts: bool,
    pub(in crate::cli) rehash: bool,
    pub(in crate::cli) chunk_bytes: Option<u32>,
    pub(in crate::cli) codec: Option<Codec>,
    pub(in crate::cli) full: bool,
    pub(in crate::cli) pace: Pace,
    pub(in crate::cli) engine: EngineChoice,
    pub(in crate::cli) workers: Option<usize>,
    pub(in crate::cli) catalog: bool,
    pub(in crate::cli) metrics: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct View {
    schema: &'static str,
    point: PointView,
    engine: &'static str,
    engine_reason: Option<String>,
    resumed: bool,
    read_files: u64,
    findings: Vec<TroubleView>,
    findings_left_out: u64,
    catalog: CatalogOutcomeView,
}

#[derive(Debug, Serialize)]
struct TroubleView {
    path: NameView,
    kind: &'static str,
    reason: String,
}

impl From<&Trouble> for TroubleView {
    fn from(trouble: &Trouble) -> Self {
        Self { path: NameView(trouble.path.clone()), kind: word(trouble.kind), reason: trouble.reason.clone() }
    }
}

fn word(kind: TroubleKind) -> &'static str {
    match kind {
        TroubleKind::Unreadable => "unreadable",
        TroubleKind::Restless => "changed_while_read",
        TroubleKind::Disguised => "changed_unseen",
    }
}

pub(in crate::cli) fn run(context: &Context, settings: Settings) -> anyhow::Result<Outcome> {
    if settings.pace == Pace::Gentle {
        step_back();
    }
    refuse_no_directory(&settings.root)?;
    let repository = context.repository(&settings.location)?;
    let mut reader = files::reader(choice(settings.engine)).context("io_uring cannot be used here; leave --engine out")?;
    let engine = reader.report().clone();
    tracing::info!(engine = engine.engine, "reading files");
    if let Some(reason) = &engine.fallback {
        output::say(&format!("files are read by plain calls: {reason}"));
    }
    let request = request(context, &settings)?;
    let progress = context.progress();
    let report = backup_files(&repository, &request, reader.as_mut(), progress.as_ref(), &context.interrupts.cancel())?;
    drop(progress);
    say_troubles(&report);
    context.report(&view(&report, engine), || describe(context, &report))?;
    if let Some(file) = &settings.metrics {
        let (point, completed) = (&report.point.point, context.clock.now());
        metrics::tell(file, &BackupFacts { point, completed, passed_over: &[], frozen: None })?;
    }
    Ok(Outcome::findings_if(!report.troubles.is_empty()))
}

fn refuse_no_directory(root: &Path) -> anyhow::Result<()> {
    let facts = fs::metadata(root).with_context(|| format!("cannot look at {}", root.display()))?;
    if facts.is_dir() {
        return Ok(());
    }
    let hint = "name a directory; a device or an image is backed up without --files";
    Err(Failure::Refused(format!("{} is no directory; {hint}", root.display())).into())
}

fn choice(engine: EngineChoice) -> ReaderChoice {
    match engine {
        EngineChoice::Auto => ReaderChoice::Auto,
        EngineChoice::Uring => ReaderChoice::Uring,
        EngineChoice::Pread => ReaderChoice::Threads,
    }
}

fn request(context: &Context, settings: &Settings) -> anyhow::Result<FilesRequest> {
    let flags = statvfs(&settings.root).with_context(|| format!("cannot look at {}", settings.root.display()))?.f_flag;
    Ok(FilesRequest {
        volume: settings.volume.clone(),
        root: settings.root.clone(),
        crossing: if settings.cross_mounts { Crossing::Allowed } else { Crossing::Refused },
        rehash: settings.rehash,
        chunk_bytes: settings.chunk_bytes,
        codec: settings.codec,
        full: settings.full,
        consistency: if flags.contains(StatVfsMountFlags::RDONLY) { Consistency::Quiescent } else { Consistency::Live },
        cut: context.clock.now(),
        host: host_name(),
        workers: settings.workers.unwrap_or_else(default_workers),
        upload_threads: UPLOAD_THREADS,
        checkpoint_bytes: CHECKPOINT_BYTES,
        catalog: settings.catalog.then(|| CatalogRequest { open: filesystem::open, beside: None, scratch: env::temp_dir() }),
    })
}

fn say_troubles(report: &FilesReport) {
    let line = |trouble: &Trouble| format!("{}: {}", printable(&trouble.path), trouble.reason);
    report.troubles.iter().take(TROUBLES_SHOWN).for_each(|trouble| output::warn(&line(trouble)));
    let more = (report.troubles.len() as u64 + report.troubles_left_out).saturating_sub(TROUBLES_SHOWN as u64);
    if more > 0 {
        output::warn(&format!("... and {}; --json lists them", text::count(more, "more file")));
    }
}

fn view(report: &FilesReport, engine: ReaderReport) -> View {
    View {
        schema: "icecore.backup_files.v1",
        point: PointView::new(&report.point, &Verdicts::new()),
        engine: engine.engine,
        engine_reason: engine.fallback,
        resumed: report.resumed,
        read_files: report.read_files,
        findings: report.troubles.iter().map(TroubleView::from).collect(),
        findings_left_out: report.troubles_left_out,
        catalog: CatalogOutcomeView::from(&report.catalog),
    }
}

fn describe(context: &Context, report: &FilesReport) -> String {
    let (point, done) = (&report.point.point, report.point.point.statistics);
    let FileTreeFacts { inodes, content_bytes, troubled } = point.file_tree.unwrap_or_default();
    let resumed = if report.resumed { "resumed: what a stopped run had stored was used\n" } else { "" };
    let troubled = match troubled {
        0 => String::new(),
        count => format!("NOT as they are: {}, see above\n", text::count(count, "file")),
    };
    format!(
        "point {} of volume {}, cut {}\n{} of {}\nread {} with {}, new {}, stored {} in {}\n{resumed}{troubled}",
        report.point.id.short(),
        point.volume,
        times::local(point.cut, &context.zone),
        text::count(inodes, "inode"),
        text::size(content_bytes),
        text::count(report.read_files, "file"),
        text::size(done.read_bytes),
        text::size(done.new_bytes),
        text::size(done.data_stored_bytes + done.tree_stored_bytes),
        text::duration(Duration::from_millis(done.duration_ms)),
    )
}
