//! Restore: a recovery point is written to a device or file, every chunk verified before it is written.
//!
//! ```text
//!   walk the tree ─► batches of neighbouring chunks ─► fetch, verify, compare, write (several threads)
//!                                                        └ damaged: the same chunk out of other points' packs
//! ```

mod batch;
mod memory;

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::base::cancel::Cancel;
use crate::base::extent::Extent;
use crate::base::finding::Finding;
use crate::base::io::{ReadAt, WriteAt};
use crate::base::progress::Progress;
use crate::job::JobError;
use crate::job::affected::{AffectedFiles, affected_files};
use crate::repository::format::node::ChunkEntry;
use crate::repository::format::point::Tree;
use crate::repository::{
    ChunkReader, Elsewhere, FoundElsewhere, ListedPoint, Repository, RepositoryError, VolumePiece, chunk_extent,
};
use batch::BatchWriter;

/// What a point can be restored to: written, and read back.
pub trait RestoreTarget: ReadAt + WriteAt {}
impl<T: ReadAt + WriteAt> RestoreTarget for T {}

/// How to restore.
#[derive(Debug, Clone, Copy)]
pub struct RestoreOptions {
    /// The target holds nothing but zeros already, so holes need no work.
    pub target_is_zero: bool,
    /// Read the target and write only what differs.
    pub only_differences: bool,
    /// Go around what is damaged instead of failing.
    pub degraded: bool,
    /// Read back what was written.
    pub verify: bool,
    /// Threads that fetch and write.
    pub workers: usize,
}

/// What a restore did.
#[derive(Debug, Default)]
pub struct RestoreReport {
    /// Size of the volume in bytes.
    pub size: u64,
    /// Bytes of data written.
    pub written_bytes: u64,
    /// Bytes zeroed or left as the holes that they were.
    pub zero_bytes: u64,
    /// Bytes left alone because the target had them already.
    pub same_bytes: u64,
    /// Bytes that the point left out because no file used them: zeroed, or left alone where only differences are written.
    pub omitted_bytes: u64,
    /// Ranges of the target that were not restored, ascending.
    pub findings: Vec<Finding>,
    /// What the point's own packs have lost and others gave.
    pub found_elsewhere: FoundElsewhere,
    /// Which files the findings hit, if the caller asked for what there is.
    pub files: Vec<AffectedFiles>,
}

/// A batch holds this many bytes of the volume, unless one chunk is longer: large enough for the disk, small enough for every thread
/// to have one.
const BATCH_BYTES: u64 = 1 << 20;

/// A piece of work for one thread.
#[derive(Debug)]
enum Batch {
    Zero(Extent),
    Chunks { first_chunk: u64, entries: Vec<ChunkEntry> },
}

/// Restores a whole point. Every byte written was verified against the id that the manifest reaches.
pub fn restore(
    repository: &Repository,
    point: &ListedPoint,
    target: &dyn RestoreTarget,
    options: RestoreOptions,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<RestoreReport, JobError> {
    let (tree, lost_at_source) = (&point.point.tree, &point.point.unreadable);
    if !lost_at_source.is_empty() && !options.degraded {
        return Err(JobError::IncompletePoint { bytes: lost_at_source.bytes(), count: lost_at_source.count() });
    }
    progress.begin("restoring", tree.size);
    let writer = BatchWriter::new(&point.point, target, options, progress);
    let elsewhere = repository.elsewhere(point);
    let ended = run_threads(repository, tree, &elsewhere, &writer, options.workers.max(1), cancel);
    let mut report = RestoreReport { found_elsewhere: elsewhere.found(), ..writer.into_report() };
    if !options.degraded {
        refuse_damage(&report)?;
    }
    ended?;
    WriteAt::sync(target)?;
    progress.finish();
    if !report.findings.is_empty() {
        let lost = report.findings.iter().map(Finding::extent).collect();
        report.files = affected_files(repository, point, &elsewhere, &lost, cancel)?;
    }
    report.found_elsewhere = elsewhere.found();
    Ok(report)
}

fn run_threads(
    repository: &Repository,
    tree: &Tree,
    elsewhere: &Arc<Elsewhere>,
    writer: &BatchWriter<'_>,
    workers: usize,
    cancel: &Cancel,
) -> Result<(), JobError> {
    thread::scope(|scope| {
        let (to_write, work) = sync_channel(workers);
        // Owned by the workers alone: once all of them have stopped, the walk finds nobody to send to, and stops too.
        let work = Arc::new(Mutex::new(work));
        let threads: Vec<_> = (0..workers)
            .map(|_| {
                let work = Arc::clone(&work);
                scope.spawn(move || serve(repository.chunk_reader_with(elsewhere), writer, &work, cancel))
            })
            .collect();
        drop(work);
        let walked = send_batches(repository, tree, writer, &to_write, cancel);
        drop(to_write);
        let results = threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| JobError::Worker("restoring".to_owned())).and_then(|ended| ended));
        // A worker's failure is why the walk ended early, so it is told first.
        results.fold(Ok(()), Result::and).and(walked)
    })
}

/// Damage stops a restore unless the caller asked for what there is; the error names all that was met until then.
fn refuse_damage(report: &RestoreReport) -> Result<(), JobError> {
    let damaged = report.findings.iter().filter_map(|finding| match finding {
        Finding::Damaged { extent, reason } => Some((*extent, reason)),
        _ => None,
    });
    match damaged.clone().next() {
        None => Ok(()),
        Some((_, first)) => {
            let unsought = if report.found_elsewhere.gave_up { "; not all of it was looked for in other points" } else { "" };
            let extents = damaged.map(|(extent, _)| extent).collect();
            Err(JobError::Damaged { extents, first: format!("{first}{unsought}") })
        }
    }
}

/// Walks the tree in the order of the volume and hands out its parts.
fn send_batches(
    repository: &Repository,
    tree: &Tree,
    writer: &BatchWriter<'_>,
    to_write: &SyncSender<Batch>,
    cancel: &Cancel,
) -> Result<(), JobError> {
    let stopped = |_| RepositoryError::Cancelled;
    let walked = repository.walk_volume(tree, &mut |piece| {
        if cancel.is_cancelled() {
            return Err(RepositoryError::Cancelled);
        }
        match piece {
            VolumePiece::Hole(extent) => to_write.send(Batch::Zero(extent)).map_err(stopped),
            VolumePiece::Lost { extent, error } => {
                writer.damaged(extent, &error);
                Ok(())
            }
            VolumePiece::Chunks { first_chunk, entries, extent } => {
                let per_batch = usize::try_from((BATCH_BYTES / u64::from(tree.chunk_bytes)).max(1)).unwrap_or(1);
                let mut next = first_chunk;
                for entries in entries.chunks(per_batch) {
                    to_write.send(Batch::Chunks { first_chunk: next, entries: entries.to_vec() }).map_err(stopped)?;
                    next += entries.len() as u64;
                }
                let rest = Extent::between(chunk_extent(tree, next).offset.min(extent.end()), extent.end());
                if rest.is_empty() { Ok(()) } else { to_write.send(Batch::Zero(rest)).map_err(stopped) }
            }
        }
    });
    match walked {
        Err(RepositoryError::Cancelled) => Err(JobError::Cancelled),
        other => Ok(other?),
    }
}

fn serve(
    mut reader: ChunkReader,
    writer: &BatchWriter<'_>,
    work: &Mutex<Receiver<Batch>>,
    cancel: &Cancel,
) -> Result<(), JobError> {
    let mut memory = memory::AlignedMemory::default();
    loop {
        let next = work.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(batch) = next else { return Ok(()) };
        let done = match batch {
            _ if cancel.is_cancelled() || writer.has_failed() => return Ok(()),
            Batch::Zero(extent) => writer.zero(extent, &mut memory),
            Batch::Chunks { first_chunk, entries } => writer.write(&mut reader, first_chunk, &entries, &mut memory),
        };
        if let Err(error) = done {
            writer.fail();
            return Err(error);
        }
    }
}
