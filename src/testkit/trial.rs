//! A repository over any store with simulated time and seeded randomness, and the jobs with short arguments.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::base::cancel::Cancel;
use crate::base::clock::Clock;
use crate::base::extent::ExtentSet;
use crate::base::progress::{Progress, Silent};
use crate::job::JobError;
use crate::job::backup::{AuditPolicy, BackupReport, BackupRequest, backup};
use crate::job::restore::{RestoreOptions, RestoreReport, restore};
use crate::repository::format::frame::Codec;
use crate::repository::format::point::Consistency;
use crate::repository::format::slot::SlotKind;
use crate::repository::{Environment, InitOptions, KeyBytes, ListedPoint, NewSlot, Repository, RepositoryError, Secret};
use crate::store::Store;
use crate::testkit::lockstep::LockstepReader;
use crate::testkit::manual_clock::ManualClock;
use crate::testkit::seeded_entropy::SeededEntropy;
use crate::testkit::volume::MemoryVolume;
use crate::tracking::{ChangeList, ChangeSource, PlanPolicy};

/// The key of test repositories.
#[must_use]
pub fn secret() -> Secret {
    Secret::Key(KeyBytes(Zeroizing::new([0x42; 32])))
}

/// Simulated time and seeded randomness.
#[must_use]
pub fn environment(clock: &Arc<ManualClock>, seed: u64) -> Environment {
    Environment { clock: Arc::clone(clock) as Arc<dyn Clock>, entropy: Arc::new(SeededEntropy::new(seed)) }
}

/// Small chunks and packs, so that small volumes make deep trees and many objects.
#[must_use]
pub fn small_options() -> InitOptions {
    InitOptions { chunk_bytes: 4096, pack_bytes: 64 << 10, codec: Codec::Lz4 }
}

/// Makes a repository.
pub fn init(store: &Arc<dyn Store>, environment: Environment) -> Result<Repository, RepositoryError> {
    let first = NewSlot { secret: secret(), kind: SlotKind::KeyFile, label: "test".to_owned() };
    Repository::init(Arc::clone(store), environment, small_options(), &first)
}

/// Opens it again.
pub fn open(store: &Arc<dyn Store>, environment: Environment) -> Result<Repository, RepositoryError> {
    Repository::open(Arc::clone(store), environment, &secret())
}

/// A request that does everything in few threads.
#[must_use]
pub fn request(repository: &Repository, volume: &str) -> BackupRequest {
    BackupRequest {
        volume: volume.to_owned(),
        source: "memory".to_owned(),
        chunk_bytes: None,
        codec: None,
        belief: PlanPolicy { compare_every: 0, ..PlanPolicy::default() },
        free: ExtentSet::new(),
        audit: AuditPolicy::default(),
        full: false,
        consistency: Consistency::Quiescent,
        cut: repository.environment().clock.now(),
        host: "test".to_owned(),
        workers: 1,
        upload_threads: 0,
        checkpoint_bytes: 256 << 10,
        catalog: None,
    }
}

/// Backs a volume up.
pub fn back_up(repository: &Repository, name: &str, volume: &MemoryVolume) -> Result<BackupReport, JobError> {
    run(repository, &request(repository, name), volume)
}

/// Backs a volume up by a change list.
pub fn back_up_changed(
    repository: &Repository,
    name: &str,
    volume: &MemoryVolume,
    changed: ChangeList,
    audit: AuditPolicy,
) -> Result<BackupReport, JobError> {
    let request = BackupRequest { audit, ..request(repository, name) };
    run_told(repository, &request, Some(changed), volume)
}

/// A change list as a source of changes.
#[must_use]
pub fn told(changed: Option<ChangeList>) -> Vec<Box<dyn ChangeSource>> {
    changed.into_iter().map(|list| Box::new(list) as Box<dyn ChangeSource>).collect()
}

/// Runs any request.
pub fn run(repository: &Repository, request: &BackupRequest, volume: &MemoryVolume) -> Result<BackupReport, JobError> {
    run_told(repository, request, None, volume)
}

/// Runs any request, by a change list.
pub fn run_told(
    repository: &Repository,
    request: &BackupRequest,
    changed: Option<ChangeList>,
    volume: &MemoryVolume,
) -> Result<BackupReport, JobError> {
    let mut open = |window: u64| Ok(volume.reader(window));
    backup(repository, request, &mut told(changed), &mut open, &Silent, &Cancel::new())
}

/// Runs a request over `bytes`, one window after the other, so that it makes the same calls each time.
pub fn run_in_lockstep(
    repository: &Repository,
    request: &BackupRequest,
    changed: Option<ChangeList>,
    bytes: &[u8],
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<BackupReport, JobError> {
    let bytes = Arc::new(bytes.to_vec());
    let mut open = |window: u64| Ok(Box::new(LockstepReader::new(Arc::clone(&bytes), window)) as _);
    backup(repository, request, &mut told(changed), &mut open, progress, cancel)
}

/// What the repository said, if it is what failed.
#[must_use]
pub fn repository_error<T>(outcome: &Result<T, JobError>) -> Option<&RepositoryError> {
    match outcome {
        Err(JobError::Repository(error)) => Some(error),
        _ => None,
    }
}

/// Options of a plain restore.
pub const PLAIN: RestoreOptions =
    RestoreOptions { target_is_zero: false, only_differences: false, degraded: false, verify: false, workers: 2 };

/// Restores into a new volume filled with junk, and gives back what it holds then.
pub fn restored(
    repository: &Repository,
    point: &ListedPoint,
    options: RestoreOptions,
) -> Result<(Vec<u8>, RestoreReport), JobError> {
    let size = usize::try_from(point.point.tree.size).unwrap_or(usize::MAX);
    let target = MemoryVolume::new(vec![if options.target_is_zero { 0 } else { 0xee }; size]);
    let report = restore(repository, point, &target, options, &Silent, &Cancel::new())?;
    Ok((target.bytes(), report))
}
