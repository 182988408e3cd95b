//! Forget: which points retention keeps, volume by volume, and why; and the forgetting itself.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;

use crate::base::progress::{Progress, Step};
use crate::job::JobError;
use crate::repository::format::verdict::VerdictKind;
use crate::repository::ids::PointId;
use crate::repository::retention::{Decision, Point, Policy, decide};
use crate::repository::{ListedPoint, Repository, RepositoryError, Verdicts};

/// What is decided for the points of one volume.
#[derive(Debug)]
pub struct VolumeDecisions {
    /// The volume's name.
    pub volume: String,
    /// Each point with its decision, newest first.
    pub decisions: Vec<(ListedPoint, Decision<PointId>)>,
}

/// Decides what to keep. Nothing is changed.
pub fn plan(
    repository: &Repository,
    volume: Option<&str>,
    policy: &Policy,
    zone: &TimeZone,
) -> Result<Vec<VolumeDecisions>, JobError> {
    let listing = match volume {
        Some(volume) => repository.points_of(volume)?,
        None => repository.points()?,
    };
    if let (Some(volume), true) = (volume, listing.points.is_empty()) {
        return Err(RepositoryError::NoSuchPoint { selector: format!("{volume}@latest") }.into());
    }
    let verdicts = repository.verdicts()?;
    let mut volumes: BTreeMap<String, Vec<ListedPoint>> = BTreeMap::new();
    for point in listing.points {
        volumes.entry(point.point.volume.clone()).or_default().push(point);
    }
    let now = repository.environment().clock.now();
    Ok(volumes
        .into_iter()
        .map(|(volume, points)| {
            let subjects: Vec<_> = points.iter().map(|point| subject(point, &verdicts)).collect();
            let mut by_id: BTreeMap<_, _> = points.into_iter().map(|point| (point.id, point)).collect();
            let decisions = decide(&subjects, policy, now, zone)
                .into_iter()
                .filter_map(|decision| by_id.remove(&decision.id).map(|point| (point, decision)))
                .collect();
            VolumeDecisions { volume, decisions }
        })
        .collect())
}

/// Forgets what the plan does not keep. Points that a running backup builds on stay, and are returned.
pub fn carry_out(
    repository: &Repository,
    plan: &[VolumeDecisions],
    progress: &dyn Progress,
) -> Result<Vec<(ListedPoint, String)>, JobError> {
    let doomed: Vec<_> = plan.iter().flat_map(|v| &v.decisions).filter(|(_, d)| !d.keep).map(|(p, _)| p).collect();
    progress.begin("forgetting", doomed.len() as u64);
    let mut spared = Vec::new();
    for point in doomed {
        match repository.forget_point(point) {
            Ok(()) => {}
            Err(error @ RepositoryError::Busy { .. }) => spared.push((point.clone(), error.to_string())),
            Err(error) => return Err(error.into()),
        }
        progress.step(Step { done_bytes: 1, new_bytes: 0 });
    }
    progress.finish();
    Ok(spared)
}

fn subject(point: &ListedPoint, verdicts: &Verdicts) -> Point<PointId> {
    let said = verdicts.get(&point.id).map(Vec::as_slice).unwrap_or_default();
    let held = said.iter().find(|(_, verdict)| verdict.kind == VerdictKind::Held);
    Point {
        id: point.id,
        cut: point.point.cut,
        pinned: said.iter().any(|(_, verdict)| verdict.kind == VerdictKind::Pinned),
        held: held.map(|(_, verdict)| verdict.note.clone()),
    }
}
