//! Backup: a source becomes a recovery point.

use std::env;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::{default_workers, host_name};
use crate::base::extent::{Extent, ExtentSet};
use crate::base::finding::Finding;
use crate::base::io::{BulkRead, IoError, ReadAt};
use crate::cli::context::Context;
use crate::cli::outcome::Outcome;
use crate::cli::views::{FindingView, PointView};
use crate::cli::{metrics, output, text, times};
use crate::device::{self, DeviceFile, EngineChoice, Mounted, Pace, ReaderOptions, SourceOptions, impact};
use crate::filesystem;
use crate::job::backup::{
    BackupReport, BackupRequest, CatalogOutcome, CatalogRequest, FreeSpace, MadeCatalog, backup, backup_live, free_space,
    unwritten_space,
};
use crate::repository::Verdicts;
use crate::repository::format::frame::Codec;
use crate::repository::format::point::Consistency;
use crate::telemetry::BackupFacts;

pub(in crate::cli) mod csi;
pub(in crate::cli) mod live;
pub(in crate::cli) mod sources;

use live::LiveDisk;
use sources::ChangeSettings;

/// What to back up, and how.
#[derive(Debug)]
pub(in crate::cli) struct Settings {
    pub(in crate::cli) location: String,
    pub(in crate::cli) source: PathBuf,
    pub(in crate::cli) volume: String,
    pub(in crate::cli) changes: ChangeSettings,
    pub(in crate::cli) allocated: Allocated,
    pub(in crate::cli) chunk_bytes: Option<u32>,
    pub(in crate::cli) codec: Option<Codec>,
    pub(in crate::cli) live: bool,
    pub(in crate::cli) full: bool,
    pub(in crate::cli) limit_bytes_per_second: Option<u64>,
    pub(in crate::cli) pace: Pace,
    pub(in crate::cli) engine: EngineChoice,
    pub(in crate::cli) workers: Option<usize>,
    /// A file catalog is made if the file system is known.
    pub(in crate::cli) catalog: bool,
    /// Where metrics are written.
    pub(in crate::cli) metrics: Option<PathBuf>,
}

/// Whose word counts for what need not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Allocated {
    /// Nobody's: everything is read.
    Off,
    /// The file system's, where it is proven.
    FileSystem,
    /// The CSI driver's, where a sample bears it out.
    Driver,
}

/// Packs on their way at once: enough to hide the latency of an object store, and each holds one pack in memory.
pub(super) const UPLOAD_THREADS: usize = 4;
/// A killed run loses at most this much of its stored bytes; more often would cost tree packs.
pub(super) const CHECKPOINT_BYTES: u64 = 256 << 20;

#[derive(Debug, Serialize)]
struct View {
    schema: &'static str,
    point: PointView,
    resumed: bool,
    allocation_doubts: Vec<String>,
    findings: Vec<FindingView>,
    live: Option<live::View>,
    catalog: CatalogOutcomeView,
}

/// What became of the file catalog.
#[derive(Debug, Serialize)]
pub(super) struct CatalogOutcomeView {
    state: &'static str,
    reason: Option<String>,
    parsed_inodes: Option<u64>,
    anew: Option<bool>,
}

impl From<&CatalogOutcome> for CatalogOutcomeView {
    fn from(outcome: &CatalogOutcome) -> Self {
        let (state, reason, made) = match outcome {
            CatalogOutcome::Off => ("off", None, None),
            CatalogOutcome::None { reason } => ("none", Some(reason), None),
            CatalogOutcome::Made(made) => ("made", None, Some(made)),
            CatalogOutcome::Failed { reason } => ("failed", Some(reason), None),
        };
        Self { state, reason: reason.cloned(), parsed_inodes: made.map(|m| m.parsed), anew: made.map(|m| m.anew) }
    }
}

pub(in crate::cli) fn run(context: &Context, settings: Settings) -> anyhow::Result<Outcome> {
    if settings.pace == Pace::Gentle {
        step_back();
    }
    let freezer = settings.changes.freezer(context, &settings.location)?;
    let list = sources::list(settings.changes.list.as_deref())?;
    let repository = context.repository(&settings.location)?;
    let basis = if settings.changes.count_from_a_point() { repository.newest_basis(&settings.volume)?.0 } else { None };
    // The source may be a snapshot that does not exist before the cut.
    let ended = settings.changes.track.as_ref().map(|track| sources::epoch(context, track, basis.as_ref())).transpose()?;
    let (tracker, epoch) = ended.unzip();
    let source = Arc::new(device::open(&settings.source, &SourceOptions { live: settings.live })?);
    settings.changes.stands_still(source.mounted())?;
    let size = source.geometry().size;
    let driver = settings.changes.csi.as_ref().map(|csi| csi::Driver::new(context, csi, size)).transpose()?;
    let mut live = match (&freezer, &settings.changes.track, tracker, &epoch) {
        (Some(freezer), Some(track), Some(tracker), Some(ended)) => Some(LiveDisk::new(track, tracker, ended, freezer)),
        _ => None,
    };
    let thin = settings.changes.thin.then(|| sources::thin(context, &settings, size, basis.as_ref())).transpose()?;
    let mut sources = sources::gather(&settings, list, epoch, thin, size, driver.as_ref(), basis.as_ref());
    let space = free_space_of(context, &settings, &source, driver.as_ref())?;
    space.doubts.iter().take(FINDINGS_SHOWN).for_each(|doubt| output::say(doubt));
    let request = request(context, &settings, &source, space.free);
    let progress = context.progress();
    let mut open_reader = |window_bytes| open_reader(context, &settings, &source, window_bytes);
    let cancel = context.interrupts.cancel();
    let report = match &mut live {
        Some(live) => backup_live(&repository, &request, &mut sources, &mut open_reader, live, progress.as_ref(), &cancel)?,
        None => backup(&repository, &request, &mut sources, &mut open_reader, progress.as_ref(), &cancel)?,
    };
    drop(progress);
    say_findings(&report);
    let view = View {
        schema: "icecore.backup.v1",
        point: PointView::new(&report.point, &Verdicts::new()),
        resumed: report.resumed,
        allocation_doubts: space.doubts,
        findings: report.findings.iter().map(FindingView::from).collect(),
        live: report.live.as_ref().map(live::View::from),
        catalog: CatalogOutcomeView::from(&report.catalog),
    };
    context.report(&view, || describe(context, &report))?;
    let not_converged = report.live.as_ref().and_then(|live| live.not_converged.as_ref());
    if let Some(reason) = not_converged {
        output::warn(&format!("the point is crash-consistent at best: {reason}"));
    }
    if let Some(file) = &settings.metrics {
        let frozen = report.live.as_ref().map(|live| live.frozen);
        let (point, completed) = (&report.point.point, context.clock.now());
        metrics::tell(file, &BackupFacts { point, completed, passed_over: &report.passed_over, frozen })?;
    }
    Ok(Outcome::findings_if(!report.findings.is_empty() || not_converged.is_some()))
}

/// Before any thread starts, so that all of them step back. Where that is forbidden, reading gently is still gentle.
pub(super) fn step_back() {
    if let Err(error) = impact::lower_priority() {
        tracing::info!(%error, "the priority stays as it is");
    }
}

fn free_space_of(
    context: &Context,
    settings: &Settings,
    source: &Arc<DeviceFile>,
    driver: Option<&csi::Driver<'_>>,
) -> anyhow::Result<FreeSpace> {
    match (settings.allocated, source.mounted(), driver) {
        (Allocated::Off, _, _) | (Allocated::Driver, _, None) => Ok(FreeSpace::default()),
        (_, Mounted::ReadWrite(_), _) => Ok(FreeSpace::none("everything is read: what is free changes while it is mounted")),
        (Allocated::FileSystem, Mounted::No | Mounted::ReadOnly(_), _) => Ok(free_space(Arc::clone(source) as Arc<dyn ReadAt>)),
        (Allocated::Driver, Mounted::No | Mounted::ReadOnly(_), Some(driver)) => {
            let cancel = context.interrupts.cancel();
            Ok(unwritten_space(source.as_ref(), driver.unwritten()?, settings.changes.audit, context.entropy.as_ref(), &cancel)?)
        }
    }
}

fn request(context: &Context, settings: &Settings, source: &Arc<DeviceFile>, free: ExtentSet) -> BackupRequest {
    BackupRequest {
        volume: settings.volume.clone(),
        source: settings.source.display().to_string(),
        chunk_bytes: settings.chunk_bytes,
        codec: settings.codec,
        belief: settings.changes.belief.clone(),
        free,
        audit: settings.changes.audit,
        full: settings.full,
        consistency: match source.mounted() {
            Mounted::ReadWrite(_) => Consistency::Live,
            Mounted::No | Mounted::ReadOnly(_) => Consistency::Quiescent,
        },
        cut: context.clock.now(),
        host: host_name(),
        workers: settings.workers.unwrap_or_else(default_workers),
        upload_threads: UPLOAD_THREADS,
        checkpoint_bytes: CHECKPOINT_BYTES,
        catalog: settings.catalog.then(|| CatalogRequest {
            open: filesystem::open,
            beside: Some(Arc::clone(source) as Arc<dyn ReadAt>),
            scratch: env::temp_dir(),
        }),
    }
}

fn open_reader(
    context: &Context,
    settings: &Settings,
    source: &Arc<DeviceFile>,
    window_bytes: u64,
) -> Result<Box<dyn BulkRead>, IoError> {
    let options = ReaderOptions {
        engine: settings.engine,
        window_bytes,
        pace: settings.pace,
        limit_bytes_per_second: settings.limit_bytes_per_second,
        ..ReaderOptions::default()
    };
    let reader = device::reader(Arc::clone(source), options, Arc::clone(&context.clock)).map_err(|error| IoError::Os {
        act: "prepare to read",
        extent: Extent::new(0, source.geometry().size),
        source: io::Error::other(error),
    })?;
    tracing::info!(engine = %reader.engine(), "reading");
    Ok(Box::new(reader))
}

/// Ranges named one by one before the rest is only counted; `points show` and `--json` name them all.
const FINDINGS_SHOWN: usize = 10;

fn say_findings(report: &BackupReport) {
    // A wrong change list was warned about when it was found.
    let unreadable: Vec<_> = report.findings.iter().filter(|f| !matches!(f, Finding::ChangeListWrong { .. })).collect();
    unreadable.iter().take(FINDINGS_SHOWN).for_each(|finding| output::warn(&finding.to_string()));
    if let Some(more) = unreadable.len().checked_sub(FINDINGS_SHOWN + 1) {
        output::warn(&format!("and {}; 'icecore points show' names them", text::count(more as u64 + 1, "more range")));
    }
}

fn describe(context: &Context, report: &BackupReport) -> String {
    let (point, done) = (&report.point.point, report.point.point.statistics);
    let resumed = if report.resumed { "resumed: what a stopped run had stored was used\n" } else { "" };
    let incident = match point.incident {
        Some(extent) => format!("incident: what was said to have changed was wrong at {extent}, so the whole volume was read\n"),
        None => String::new(),
    };
    let live = report.live.as_ref().map(live::describe).unwrap_or_default();
    let lost = match point.unreadable.bytes() {
        0 => String::new(),
        bytes => format!("unreadable: {bytes} bytes in {}\n", text::count(point.unreadable.count() as u64, "range")),
    };
    let omitted = match point.omitted.bytes() {
        0 => String::new(),
        bytes => format!("left out: {} that no file uses\n", text::size(bytes)),
    };
    let catalog = match &report.catalog {
        CatalogOutcome::Made(MadeCatalog { inodes, names, .. }) => {
            format!("files: {} under {}\n", text::count(*inodes, "inode"), text::count(*names, "name"))
        }
        CatalogOutcome::None { reason } => format!("files: no catalog: {reason}\n"),
        // A failure was warned about when it happened.
        CatalogOutcome::Off | CatalogOutcome::Failed { .. } => String::new(),
    };
    format!(
        "point {} of volume {}, cut {}\nread {} of {}, new {}, stored {} in {}\n{live}{resumed}{omitted}{incident}{lost}{catalog}",
        report.point.id.short(),
        point.volume,
        times::local(point.cut, &context.zone),
        text::size(done.read_bytes),
        text::size(point.tree.size),
        text::size(done.new_bytes),
        text::size(done.data_stored_bytes + done.tree_stored_bytes),
        text::duration(Duration::from_millis(done.duration_ms)),
    )
}
