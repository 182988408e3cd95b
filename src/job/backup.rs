//! Backup: a volume becomes a recovery point, at the cost of what changed where that is known.
//!
//! ```text
//!   plan ─► reader ─► cut, compare, compress (one thread a core) ─► append in order ─► packs, tree, catalog, point
//! ```
//! A window's memory goes back to the reader only when the window has been appended, so whatever is slow, no more than the reader's
//! pool is ever waiting.

mod audit;
mod capture;
mod catalog;
mod files;
mod free;
mod omission;
mod pipeline;
mod plan;

pub use audit::{AuditPolicy, audit_sample_chunks};
pub use capture::{LiveReport, LiveVolume, Written};
pub use catalog::{CatalogOutcome, CatalogRequest, MadeCatalog, OpenFilesystem};
pub use files::{FilesReport, FilesRequest, backup_files};
pub use free::{FreeSpace, free_space, unwritten_space};

use crate::base::cancel::Cancel;
use crate::base::clock::Timestamp;
use crate::base::extent::{Extent, ExtentSet};
use crate::base::finding::Finding;
use crate::base::io::{BulkRead, IoError};
use crate::base::progress::Progress;
use crate::job::JobError;
use crate::repository::format::changes::{ChangeRecord, ChangeSource as Known, Rung, Word};
use crate::repository::format::config::is_chunk_size;
use crate::repository::format::frame::Codec;
use crate::repository::format::node::FAN_OUT_U64;
use crate::repository::format::point::Consistency;
use crate::repository::{Gaps, ListedPoint, PointFacts, PointWriter, Repository, WriterOptions};
use crate::tracking::{self, ChangePlan, ChangeSource, Objection, PassedOver, PlanPolicy, Told};
use capture::{Capture, Captured};
use pipeline::{Pipeline, ReadOutcome};
use plan::Plan;

/// Opens the source for reading in windows of the given length.
pub type OpenReader<'a> = dyn FnMut(u64) -> Result<Box<dyn BulkRead>, IoError> + 'a;

/// What to back up, and how.
#[derive(Debug, Clone)]
pub struct BackupRequest {
    /// The volume's name.
    pub volume: String,
    /// What is read, in words: a path.
    pub source: String,
    /// Chunk size in bytes; the volume's own, or the repository's default, if not given.
    pub chunk_bytes: Option<u32>,
    /// Codec; the repository's default if not given.
    pub codec: Option<Codec>,
    /// How far those who say what changed are believed.
    pub belief: PlanPolicy,
    /// Bytes that belong to no file, and need not be read. Whoever says so has proven it for this very state of the source.
    pub free: ExtentSet,
    /// How the claim is audited.
    pub audit: AuditPolicy,
    /// Store everything again, sharing nothing with earlier points.
    pub full: bool,
    /// The state of the volume.
    pub consistency: Consistency,
    /// When it was cut.
    pub cut: Timestamp,
    /// Who writes, in words.
    pub host: String,
    /// Threads that cut and compress.
    pub workers: usize,
    /// Threads that put packs.
    pub upload_threads: usize,
    /// Stored bytes between two checkpoints.
    pub checkpoint_bytes: u64,
    /// How the file catalog is made; none is made without.
    pub catalog: Option<CatalogRequest>,
}

/// What a backup did.
#[derive(Debug)]
pub struct BackupReport {
    /// The new point.
    pub point: ListedPoint,
    /// What the reader of the report must know about the data.
    pub findings: Vec<Finding>,
    /// Whose word about changes was not taken, and why.
    pub passed_over: Vec<PassedOver>,
    /// A killed run's work was used.
    pub resumed: bool,
    /// What became of the file catalog.
    pub catalog: CatalogOutcome,
    /// How a live capture went, if it was one.
    pub live: Option<LiveReport>,
}

/// Windows are this long unless chunks are longer.
const WINDOW_BYTES: u64 = 256 << 10;

/// Those who may know what changed since the volume's newest point.
pub type Sources<'a> = [Box<dyn ChangeSource + 'a>];

/// Backs up a volume. Nothing exists until the very end; a failed or cancelled run leaves a checkpoint that the next one uses.
pub fn backup(
    repository: &Repository,
    request: &BackupRequest,
    sources: &mut Sources<'_>,
    open_reader: &mut OpenReader<'_>,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<BackupReport, JobError> {
    back_up(repository, request, sources, open_reader, None, progress, cancel)
}

/// Backs up a volume that is written meanwhile, as it is at one moment near the end.
pub fn backup_live(
    repository: &Repository,
    request: &BackupRequest,
    sources: &mut Sources<'_>,
    open_reader: &mut OpenReader<'_>,
    live: &mut dyn LiveVolume,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<BackupReport, JobError> {
    back_up(repository, request, sources, open_reader, Some(live), progress, cancel)
}

fn back_up(
    repository: &Repository,
    request: &BackupRequest,
    sources: &mut Sources<'_>,
    open_reader: &mut OpenReader<'_>,
    mut live: Option<&mut dyn LiveVolume>,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<BackupReport, JobError> {
    let clock = repository.environment().clock.clone();
    let started = clock.monotonic();
    let previous = newest_point(repository, &request.volume, progress)?;
    refuse_other_kind(previous.as_ref(), false)?;
    let chunk_bytes = chunk_size(repository, request.chunk_bytes, previous.as_ref())?;
    let mut reader = open_reader(WINDOW_BYTES.max(chunk_bytes.into()))?;
    let mut planned = whose_word(request, previous.as_ref(), sources, progress)?;
    let told = planned.told.as_ref().map(|told| &told.ranges);
    let mut plan = Plan::new(request, previous.as_ref(), told, reader.size(), chunk_bytes);
    let options = writer_options(repository, request, previous.clone(), reader.size(), chunk_bytes, &plan);
    let mut writer = repository.write_point(options.clone())?;
    let (mut incident, mut pending) = (None, ExtentSet::new());
    let mut sampled = 0;
    if let Plan::Listed { .. } = &plan {
        let outcome =
            audit::audit(&plan, request.audit, &writer, reader.as_mut(), repository.environment().entropy.as_ref(), cancel)?;
        sampled = outcome.chunks;
        incident = audit::contradiction(&outcome.mismatches, &mut pending, live.as_deref_mut(), reader.size())?;
        if let Some(wrong) = incident {
            progress.warn(&format!("{wrong} changed although it was said that it did not: reading the whole volume instead"));
            plan = Plan::whole(request, reader.size(), chunk_bytes);
            writer.abandon()?;
            writer = repository.write_point(WriterOptions { whole: true, ..options })?;
        }
        plan.add(&outcome.unreadable);
    }
    let resumed = writer.is_resumed();
    progress.begin("backing up", plan.bytes());
    let examined = planned.examined.as_ref().zip(previous.as_ref());
    let examined = examined.map(|(told, previous)| plan::due(&told.ranges, previous, reader.size(), chunk_bytes));
    let pipeline = Pipeline { workers: request.workers.max(1), examined: examined.as_ref(), progress, cancel };
    let window_bytes = WINDOW_BYTES.max(chunk_bytes.into());
    let mut outcome = match pipeline.run(reader.as_mut(), plan.windows(window_bytes), plan.omitted(), &mut writer) {
        Ok(outcome) => outcome,
        Err(error) => return Err(give_up(writer, error)),
    };
    if examined.is_some() {
        incident = match audit::contradiction(&outcome.contradicted, &mut pending, live.as_deref_mut(), reader.size()) {
            Ok(incident) => incident,
            Err(error) => return Err(give_up(writer, error)),
        };
        incident.iter().for_each(|wrong| progress.warn(&format!("{wrong} changed although it was said that it did not")));
    }
    let live = match live {
        Some(live) => {
            let (size, pipeline) = (reader.size(), Pipeline { examined: None, ..pipeline });
            let capture = Capture { live: &mut *live, pending, pipeline: &pipeline, size, chunk_bytes, window_bytes };
            let Captured { report, cut_name } = match capture.run(reader.as_mut(), &mut writer, &mut outcome) {
                Ok(captured) => captured,
                Err(error) => return Err(give_up(writer, error)),
            };
            planned.cut_names.retain(|word| word.rung != Rung::Epoch);
            planned.cut_names.extend(cut_name);
            Some(report)
        }
        None => None,
    };
    let gaps = Gaps { lost_at_source: outcome.unreadable.clone(), omitted: plan.omitted().clone() };
    let trusted = previous.as_ref().filter(|_| !request.full);
    let passed_over = passed_over(&planned, incident);
    let catalog = catalog::make(repository, request.catalog.as_ref(), trusted, gaps, &mut writer, progress)?;
    let facts = PointFacts {
        cut: request.cut,
        source: request.source.clone(),
        changes: record(request, previous.as_ref(), &plan, planned, Audited { sampled, incident, passed_over: &passed_over }),
        consistency: match &live {
            Some(LiveReport { not_converged: None, .. }) => Consistency::Frozen,
            _ => request.consistency,
        },
        unreadable: outcome.unreadable.clone(),
        omitted: plan.omitted().clone(),
        incident,
        read_bytes: outcome.read_bytes,
        file_tree: None,
        duration_ms: u64::try_from((clock.monotonic().saturating_sub(started)).as_millis()).unwrap_or(u64::MAX),
    };
    let point = writer.commit(facts)?;
    progress.finish();
    Ok(BackupReport { point, findings: findings(incident, &outcome), passed_over, resumed, catalog, live })
}

/// Keeps what was stored for the next run, unless the failure was the store's own.
fn give_up(writer: PointWriter, error: JobError) -> JobError {
    match writer.abandon() {
        Ok(()) => error,
        Err(second) => {
            tracing::debug!(%second, "no checkpoint could be left");
            error
        }
    }
}

fn newest_point(repository: &Repository, volume: &str, progress: &dyn Progress) -> Result<Option<ListedPoint>, JobError> {
    let (newest, damaged) = repository.newest_basis(volume)?;
    damaged.iter().for_each(|error| progress.warn(&error.to_string()));
    Ok(newest)
}

/// A volume is a device's bytes or a tree of files, and stays what it is.
fn refuse_other_kind(previous: Option<&ListedPoint>, files: bool) -> Result<(), JobError> {
    let Some(point) = previous.filter(|point| point.point.file_tree.is_some() != files) else { return Ok(()) };
    let volume = &point.point.volume;
    Err(JobError::Refused(if files {
        format!("volume {volume:?} holds the blocks of a device; give the tree of files another name with --volume")
    } else {
        format!("volume {volume:?} holds a tree of files; back it up with --files, or give the device another name with --volume")
    }))
}

fn chunk_size(repository: &Repository, wanted: Option<u32>, previous: Option<&ListedPoint>) -> Result<u32, JobError> {
    let own = previous.map(|point| point.point.tree.chunk_bytes);
    match (wanted, own) {
        (Some(asked), _) if !is_chunk_size(asked) => {
            Err(JobError::Refused(format!("a chunk size is a power of two from 4 KiB to 1 MiB, not {asked} bytes")))
        }
        (Some(asked), Some(own)) if asked != own => Err(JobError::Refused(format!(
            "volume {:?} has chunks of {own} bytes and keeps them; leave --chunk out, or give the volume another name",
            previous.map_or("", |point| point.point.volume.as_str())
        ))),
        (Some(asked), _) => Ok(asked),
        (None, own) => Ok(own.unwrap_or(repository.config().chunk_bytes)),
    }
}

fn writer_options(
    repository: &Repository,
    request: &BackupRequest,
    previous: Option<ListedPoint>,
    size: u64,
    chunk_bytes: u32,
    plan: &Plan,
) -> WriterOptions {
    WriterOptions {
        volume: request.volume.clone(),
        size,
        chunk_bytes,
        codec: request.codec.unwrap_or(repository.config().codec),
        previous,
        whole: matches!(plan, Plan::Whole { .. }),
        distrust: request.full,
        host: request.host.clone(),
        upload_threads: request.upload_threads,
        checkpoint_bytes: request.checkpoint_bytes,
    }
}

/// Asks who knows what changed, and says so when nobody does.
fn whose_word(
    request: &BackupRequest,
    previous: Option<&ListedPoint>,
    sources: &mut Sources<'_>,
    progress: &dyn Progress,
) -> Result<ChangePlan, JobError> {
    let basis = previous.filter(|_| !request.full).map(|point| &point.point.changes);
    let planned = tracking::plan(sources, basis, &request.belief)?;
    if planned.told.is_none() {
        planned.passed_over.iter().for_each(|word| progress.warn(&format!("everything is read: {}: {}", word.by, word.reason)));
    }
    Ok(planned)
}

/// What an audit found.
struct Audited<'a> {
    sampled: u64,
    incident: Option<Extent>,
    passed_over: &'a [PassedOver],
}

/// Whose word is not taken, whoever was caught just now included.
fn passed_over(planned: &ChangePlan, incident: Option<Extent>) -> Vec<PassedOver> {
    let caught = planned.told.as_ref().or(planned.examined.as_ref()).zip(incident).map(|(told, wrong)| PassedOver {
        by: told.by,
        objection: Objection::Caught,
        reason: format!("{wrong} changed although it said that it did not"),
    });
    planned.passed_over.iter().cloned().chain(caught).collect()
}

/// What the point keeps about changes.
fn record(
    request: &BackupRequest,
    previous: Option<&ListedPoint>,
    plan: &Plan,
    planned: ChangePlan,
    audited: Audited<'_>,
) -> ChangeRecord {
    let ChangePlan { told, examined, cut_names, .. } = planned;
    let basis = previous.map(|point| &point.point.changes);
    let mut distrusted = basis.map(|basis| basis.distrusted.clone()).unwrap_or_default();
    let source = match (plan, &told, previous) {
        (Plan::Listed { listed_bytes, .. }, Some(Told { by, proof, .. }), _) => {
            Known::Told { by: *by, listed_bytes: *listed_bytes, sampled_chunks: audited.sampled, proof: proof.clone() }
        }
        (_, _, Some(_)) if !request.full => Known::Compare,
        _ => Known::Full,
    };
    if let Some(Told { by, .. }) = told.or(examined) {
        distrusted.retain(|rung| *rung != by);
        distrusted.extend(audited.incident.map(|_| by));
    }
    let passed_over = audited.passed_over.iter().map(|word| Word { rung: word.by, text: word.reason.clone() }).collect();
    let told_in_a_row = match source {
        Known::Told { .. } => basis.map_or(0, |basis| basis.told_in_a_row).saturating_add(1),
        Known::Full | Known::Compare => 0,
    };
    ChangeRecord { source, cut_names, passed_over, told_in_a_row, distrusted }
}

fn findings(incident: Option<Extent>, outcome: &ReadOutcome) -> Vec<Finding> {
    let wrong = incident.map(|extent| Finding::ChangeListWrong { extent });
    wrong.into_iter().chain(outcome.unreadable.as_slice().iter().map(|e| Finding::Unreadable { extent: *e })).collect()
}

/// The ranges that a point must have read anew: what is not certain in the previous one, and what lies beyond its end.
///
/// What the previous point left out is uncertain whatever a change list says: a block can be written while it is still free, and
/// become part of a file later without being written again.
fn uncertain(previous: &ListedPoint, size: u64) -> ExtentSet {
    let tree = previous.point.tree;
    let mut set = previous.point.unreadable.union(&previous.point.omitted);
    if tree.size != size {
        let leaf = u64::from(tree.chunk_bytes) * FAN_OUT_U64;
        let end = tree.size.min(size);
        set.insert(Extent::between(end - end % leaf, size));
    }
    set
}
