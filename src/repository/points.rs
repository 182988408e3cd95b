//! Recovery points as the repository lists them, and the verdicts about them.

use bytes::Bytes;
use std::collections::BTreeMap;

use super::error::RepositoryError;
use super::format::envelope::EnvelopeKind;
use super::format::lease::Lease;
use super::format::point::{Point, Previous};
use super::format::verdict::{Verdict, VerdictKind};
use super::ids::{PointId, RecordId, VolumeKey};
use super::{Repository, list_all, names, sealed};
use crate::store::{Created, ObjectKey};

/// A recovery point that could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedPoint {
    /// Its name.
    pub id: PointId,
    /// The keyed name of its volume.
    pub volume: VolumeKey,
    /// BLAKE3 of its object.
    pub digest: [u8; 32],
    /// What it says.
    pub point: Point,
}

/// All points, and what is wrong with those that could not be read.
#[derive(Debug, Default)]
pub struct PointListing {
    /// Readable points, oldest commit first.
    pub points: Vec<ListedPoint>,
    /// Objects that should be points.
    pub damaged: Vec<(ObjectKey, RepositoryError)>,
    /// How many were forgotten between being listed and being read.
    pub vanished: u64,
}

impl Repository {
    /// All points of all volumes.
    pub fn points(&self) -> Result<PointListing, RepositoryError> {
        self.points_below(names::POINTS)
    }

    /// The points of one volume.
    pub fn points_of(&self, volume: &str) -> Result<PointListing, RepositoryError> {
        self.points_below(&names::points_of(self.volume_key(volume)))
    }

    fn points_below(&self, prefix: &str) -> Result<PointListing, RepositoryError> {
        let mut listing = PointListing::default();
        for entry in list_all(self.store.as_ref(), prefix)? {
            match self.point_object(&entry.key) {
                Ok(point) => listing.points.push(point),
                Err(RepositoryError::Store(error)) if error.is_not_found() => listing.vanished += 1,
                Err(error) if error.is_damage() => listing.damaged.push((entry.key, error)),
                Err(error) => return Err(error),
            }
        }
        listing.points.sort_by_key(|point| point.id);
        Ok(listing)
    }

    fn point_object(&self, key: &ObjectKey) -> Result<ListedPoint, RepositoryError> {
        let object = self.store.get(key)?;
        let (volume, id) = names::parse_point(key).ok_or_else(|| RepositoryError::damaged(key, "its name is no point's name"))?;
        let fields = sealed::open(&self.ring, EnvelopeKind::Point, key, &object)?;
        let point = Point::parse(&fields).map_err(|error| RepositoryError::from_format(key, error))?;
        if self.volume_key(&point.volume) != volume {
            return Err(RepositoryError::damaged(key, "it belongs to another volume"));
        }
        Ok(ListedPoint { id, volume, digest: *blake3::hash(&object).as_bytes(), point })
    }

    /// Writes a point's manifest. From this moment on, the point exists.
    pub(super) fn put_point(&self, id: PointId, point: &Point) -> Result<ListedPoint, RepositoryError> {
        let volume = self.volume_key(&point.volume);
        let key = names::point(volume, id);
        let object: Bytes = self.seal(EnvelopeKind::Point, &key, point.encode())?;
        let digest = *blake3::hash(&object).as_bytes();
        match self.store.put_if_absent(&key, object)? {
            Created::New => Ok(ListedPoint { id, volume, digest, point: point.clone() }),
            Created::AlreadyThere => Err(RepositoryError::NameTaken { object: key.to_string() }),
        }
    }

    /// Says something about a point.
    pub fn add_verdict(&self, point: PointId, kind: VerdictKind, note: &str) -> Result<RecordId, RepositoryError> {
        let id = RecordId::random(self.environment.entropy.as_ref())?;
        let key = names::verdict(point, id);
        let verdict = Verdict { kind, made: self.environment.clock.now(), note: note.to_owned() };
        let object = self.seal(EnvelopeKind::Verdict, &key, verdict.encode())?;
        self.store.put(&key, object)?;
        Ok(id)
    }

    /// Takes back what was said of a point: all verdicts of `kind`'s name. Returns how many there were.
    pub fn remove_verdicts(&self, point: PointId, kind: &VerdictKind) -> Result<usize, RepositoryError> {
        let all = self.verdicts_below(&names::verdicts_of(point))?;
        let matching = all.into_values().flatten().filter(|(_, verdict)| verdict.kind.name() == kind.name());
        let mut removed = 0;
        for (id, _) in matching {
            self.store.delete(&names::verdict(point, id))?;
            removed += 1;
        }
        Ok(removed)
    }

    /// Everything that was said, by point.
    pub fn verdicts(&self) -> Result<Verdicts, RepositoryError> {
        self.verdicts_below(names::VERDICTS)
    }

    fn verdicts_below(&self, prefix: &str) -> Result<Verdicts, RepositoryError> {
        let mut verdicts = Verdicts::new();
        for entry in list_all(self.store.as_ref(), prefix)? {
            let Some((point, id)) = names::parse_verdict(&entry.key) else { continue };
            let fields = match self.open_sealed(EnvelopeKind::Verdict, &entry.key) {
                Ok(fields) => fields,
                Err(RepositoryError::Store(error)) if error.is_not_found() => continue,
                // A verdict that cannot be read says nothing; `check` reports the object.
                Err(error) if error.is_damage() => continue,
                Err(error) => return Err(error),
            };
            // Nor does one of a kind that only a newer icecore knows.
            let Ok(verdict) = Verdict::parse(&fields) else { continue };
            verdicts.entry(point).or_default().push((id, verdict));
        }
        Ok(verdicts)
    }

    /// Forgets a point on purpose: first the note that keeps the chain whole, then the manifest.
    ///
    /// Refused while a writer builds on it and while it is held. Its chunks stay until they are collected.
    pub fn forget_point(&self, point: &ListedPoint) -> Result<(), RepositoryError> {
        let said = self.verdicts_below(&names::verdicts_of(point.id))?;
        if said.values().flatten().any(|(_, verdict)| verdict.kind == VerdictKind::Held) {
            return Err(RepositoryError::Busy { what: format!("point {} is held", point.id.short()) });
        }
        let kind = VerdictKind::Forgotten { digest: point.digest, previous: point.point.previous };
        // The note comes before the look at the leases, and a writer's lease before its look at the notes: one sees the other.
        let note = self.add_verdict(point.id, kind, "")?;
        let builds_on_it = |lease: &Lease| lease.points.contains(&point.id) && !lease.ended;
        if self.leases()?.iter().any(|listed| listed.lease.as_ref().is_ok_and(builds_on_it)) {
            self.store.delete(&names::verdict(point.id, note))?;
            return Err(RepositoryError::Busy { what: format!("a running backup builds on point {}", point.id.short()) });
        }
        self.store.delete(&names::point(point.volume, point.id))?;
        Ok(())
    }

    /// The newest point of a volume that the next one can build on, and what is wrong with newer ones that cannot be read. Older ones
    /// are not looked at, however many there are.
    ///
    /// A point that is being forgotten is none, even if whoever forgot it was stopped half-way.
    pub fn newest_basis(&self, volume: &str) -> Result<(Option<ListedPoint>, Vec<RepositoryError>), RepositoryError> {
        let mut damaged = Vec::new();
        for entry in list_all(self.store.as_ref(), &names::points_of(self.volume_key(volume)))?.into_iter().rev() {
            match self.point_object(&entry.key) {
                Ok(point) if self.is_being_forgotten(point.id)? => {}
                Ok(point) => return Ok((Some(point), damaged)),
                Err(RepositoryError::Store(error)) if error.is_not_found() => {}
                Err(error) if error.is_damage() => damaged.push(error),
                Err(error) => return Err(error),
            }
        }
        Ok((None, damaged))
    }

    /// True once somebody has begun to forget a point.
    pub(super) fn is_being_forgotten(&self, point: PointId) -> Result<bool, RepositoryError> {
        Ok(forgotten_digest(&self.verdicts_below(&names::verdicts_of(point))?, &point).is_some())
    }

    /// Breaks in the chain of points: a point that was built on another which is neither there nor forgotten, or has changed.
    pub fn chain_breaks(&self, points: &[ListedPoint], verdicts: &Verdicts) -> Vec<(PointId, Previous)> {
        let present: BTreeMap<PointId, [u8; 32]> = points.iter().map(|point| (point.id, point.digest)).collect();
        let digest_of = |id: &PointId| present.get(id).copied().or_else(|| forgotten_digest(verdicts, id));
        points
            .iter()
            .filter_map(|point| point.point.previous.map(|previous| (point.id, previous)))
            .filter(|(_, previous)| digest_of(&previous.id) != Some(previous.digest))
            .collect()
    }
}

/// Verdicts by point.
pub type Verdicts = BTreeMap<PointId, Vec<(RecordId, Verdict)>>;

fn forgotten_digest(verdicts: &Verdicts, id: &PointId) -> Option<[u8; 32]> {
    verdicts.get(id)?.iter().find_map(|(_, verdict)| match verdict.kind {
        VerdictKind::Forgotten { digest, .. } => Some(digest),
        _ => None,
    })
}
