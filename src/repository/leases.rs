//! Leases held by a running writer and honoured by collection.
//!
//! ```text
//!   writer     put lease ─► check that what it builds on stays ─► packs ... renew ... ─► point ─► delete lease
//!   forgetter  put note ─► check that no lease names the point ─► delete point
//!   collector  list packs ─► leases ─► points ─► leases again ─► what none of them reaches is condemned
//! ```
//! Either the forgetter sees the lease, or the writer sees the note: what a writer builds on is there as long as its lease. So a
//! collector that sees neither a lease nor its point, because one ended and the other began while it looked, sees the basis of
//! both. `docs/decisions/0003-leases.md` has the argument in full.

use std::time::Duration;

use super::error::RepositoryError;
use super::format::envelope::EnvelopeKind;
use super::format::lease::Lease;
use super::format::point::Tree;
use super::ids::{LeaseId, PointId, VolumeKey};
use super::points::ListedPoint;
use super::{Repository, exists, list_all, names};

/// A lease lapses this long after its last renewal.
pub const LEASE_DURATION: Duration = Duration::from_secs(60 * 60);
/// It is renewed when this much has passed.
const RENEW_AFTER: Duration = Duration::from_secs(15 * 60);
/// A commit needs this much left, so that its put has landed, or failed for good, before the lease lapses.
const COMMIT_MARGIN: Duration = Duration::from_secs(15 * 60);
/// How far apart the clocks of writers and collectors may be.
pub const CLOCK_SKEW: Duration = Duration::from_secs(30 * 60);

/// A lease that this process holds.
#[derive(Debug)]
pub(crate) struct HeldLease {
    repository: Repository,
    id: LeaseId,
    lease: Lease,
    /// Monotonic time of the last successful renewal.
    renewed: Duration,
}

impl HeldLease {
    /// Publishes a new lease.
    pub(crate) fn take(
        repository: &Repository,
        volume: VolumeKey,
        basis: Option<&ListedPoint>,
        host: &str,
    ) -> Result<Self, RepositoryError> {
        let environment = repository.environment();
        let id = LeaseId::random(environment.entropy.as_ref())?;
        let expires = environment.clock.now().plus(LEASE_DURATION);
        let lease = Lease {
            volume,
            expires,
            points: basis.iter().map(|point| point.id).collect(),
            host: host.to_owned(),
            basis: basis.map(|point| point.point.tree),
            basis_catalog: basis.and_then(|point| point.point.catalog).map(|catalog| catalog.tree),
            progress: 0,
            ended: false,
            checkpoint: None,
            resumed: None,
        };
        let renewed = environment.clock.monotonic();
        let held = Self { repository: repository.clone(), id, lease, renewed };
        held.put()?;
        Ok(held)
    }

    pub(crate) fn id(&self) -> LeaseId {
        self.id
    }

    /// Renews the lease if it is time to.
    pub(crate) fn keep(&mut self) -> Result<(), RepositoryError> {
        if self.age() < RENEW_AFTER { Ok(()) } else { self.renew() }
    }

    /// Publishes the unfinished tree, which covers `progress` bytes.
    pub(crate) fn checkpoint(&mut self, tree: Tree, progress: u64) -> Result<(), RepositoryError> {
        self.lease.checkpoint = Some(tree);
        self.lease.progress = progress;
        self.renew()
    }

    /// Holds the checkpoint of an earlier run.
    pub(crate) fn hold(&mut self, tree: Tree) -> Result<(), RepositoryError> {
        self.lease.resumed = Some(tree);
        self.renew()
    }

    /// Makes sure that enough time is left for a commit.
    pub(crate) fn prepare_commit(&mut self) -> Result<(), RepositoryError> {
        self.renew()
    }

    /// True if a put that began after [`Self::prepare_commit`] and has ended now was inside the lease.
    pub(crate) fn covers_commit(&self) -> bool {
        let spare = self.lease.expires.since(self.repository.environment.clock.now());
        self.age() < LEASE_DURATION.saturating_sub(COMMIT_MARGIN) && spare > COMMIT_MARGIN
    }

    /// Says that the writer has given up. What it left stays for the next run until the lease lapses.
    pub(crate) fn give_up(&mut self) -> Result<(), RepositoryError> {
        self.lease.ended = true;
        self.renew()
    }

    /// Ends the lease.
    pub(crate) fn release(self) -> Result<(), RepositoryError> {
        self.repository.store.delete(&names::lease(self.id))?;
        Ok(())
    }

    fn age(&self) -> Duration {
        self.repository.environment.clock.monotonic().saturating_sub(self.renewed)
    }

    fn renew(&mut self) -> Result<(), RepositoryError> {
        // A lapsed lease may have been collected, and with it what it protected: there is no way back. The wall clock is asked too,
        // since the monotonic one stands still while the machine sleeps.
        let lapsed = self.age() >= LEASE_DURATION || self.repository.environment.clock.now() > self.lease.expires;
        if lapsed || !exists(self.repository.store.as_ref(), &names::lease(self.id))? {
            return Err(RepositoryError::LeaseLost);
        }
        let now = self.repository.environment.clock.monotonic();
        self.lease.expires = self.repository.environment.clock.now().plus(LEASE_DURATION);
        self.put()?;
        self.renewed = now;
        Ok(())
    }

    fn put(&self) -> Result<(), RepositoryError> {
        let key = names::lease(self.id);
        let object = self.repository.seal(EnvelopeKind::Lease, &key, self.lease.encode())?;
        Ok(self.repository.store.put(&key, object)?)
    }
}

impl Repository {
    /// All leases. A damaged one counts as a lease of unknown contents; see [`ListedLease`].
    pub(crate) fn leases(&self) -> Result<Vec<ListedLease>, RepositoryError> {
        let mut leases = Vec::new();
        for entry in list_all(self.store.as_ref(), names::LEASES)? {
            let Some(id) = names::parse_lease(&entry.key) else { continue };
            match self.open_sealed(EnvelopeKind::Lease, &entry.key) {
                Ok(fields) => match Lease::parse(&fields) {
                    Ok(lease) => leases.push(ListedLease { id, lease: Ok(lease) }),
                    Err(error) => leases.push(ListedLease { id, lease: Err(RepositoryError::from_format(&entry.key, error)) }),
                },
                Err(RepositoryError::Store(error)) if error.is_not_found() => {}
                Err(error) if error.is_damage() => leases.push(ListedLease { id, lease: Err(error) }),
                Err(error) => return Err(error),
            }
        }
        Ok(leases)
    }

    /// The furthest checkpoint that an earlier run of the same volume on the same basis left behind.
    pub(crate) fn find_checkpoint(
        &self,
        volume: VolumeKey,
        basis: &[PointId],
        chunk_bytes: u32,
    ) -> Result<Option<Checkpoint>, RepositoryError> {
        let fitting = self.leases()?.into_iter().filter_map(|listed| {
            let lease = listed.lease.ok()?;
            let tree = lease.checkpoint.filter(|tree| tree.chunk_bytes == chunk_bytes)?;
            let found = Checkpoint { lease: listed.id, tree, ended: lease.ended };
            (lease.volume == volume && lease.points == basis).then_some((lease.progress, found))
        });
        Ok(fitting.max_by_key(|(progress, _)| *progress).map(|(_, found)| found))
    }
}

/// What an earlier run left.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Checkpoint {
    pub(crate) lease: LeaseId,
    pub(crate) tree: Tree,
    /// Its writer has given up, and does not come back.
    pub(crate) ended: bool,
}

/// A lease as collection sees it.
#[derive(Debug)]
pub(crate) struct ListedLease {
    pub(crate) id: LeaseId,
    pub(crate) lease: Result<Lease, RepositoryError>,
}

impl ListedLease {
    /// True while its writer may still commit, for all that can be read of it.
    pub(crate) fn may_commit(&self) -> bool {
        self.lease.as_ref().map_or(true, |lease| !lease.ended)
    }
}
