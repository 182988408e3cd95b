//! A damaged volume, opened and pieced together, with earlier points to fill its gaps.

use std::cmp::Reverse;
use std::sync::Arc;

use super::context::Context;
use super::failure::Failure;
use super::output;
use super::place::{OpenSource, Origin, Place, Unlocked};
use crate::filesystem::{self, Filesystem, Wreck};
use crate::job::JobError;
use crate::repository::{ListedPoint, Repository};
use crate::salvage::{MAX_PASTS, Past, PiecedTree};

/// Points of a repository that are opened to see whether they hold an earlier state of the volume.
const MAX_ASKED: usize = 64;

/// A damaged volume as a tree.
#[derive(Debug)]
pub(super) struct OpenWreck {
    pub(super) tree: PiecedTree,
    pub(super) source: OpenSource,
}

impl OpenWreck {
    /// Opens what `place` names and looks for everything in it; gaps are filled from the repository `history`.
    pub(super) fn open(context: &Context, place: &Place, history: Option<&str>) -> anyhow::Result<Self> {
        let source = place.open_source(context, &Unlocked::default())?;
        if source.path != b"/" {
            let advice = "name the volume alone, and what you want of it with --path";
            return Err(Failure::refused(format!("a damaged volume has no paths yet; {advice}")).into());
        }
        let wreck = filesystem::salvage(Arc::clone(&source.bytes)).map_err(JobError::from)?;
        let pasts = match history {
            Some(location) => pasts(context, place, location, wreck.as_ref(), &source.origin)?,
            None => Vec::new(),
        };
        let (progress, cancel) = (context.progress(), context.interrupts.cancel());
        let tree = PiecedTree::piece_together(wreck, pasts, progress.as_ref(), &cancel).map_err(JobError::from)?;
        if let Some(reason) = tree.view().stale() {
            output::warn(&format!("the journal could not be applied, so all this may be older than what was there: {reason}"));
        }
        Ok(Self { tree, source })
    }
}

/// The newest points that hold an earlier state of this filesystem.
fn pasts(context: &Context, place: &Place, location: &str, wreck: &dyn Wreck, origin: &Origin) -> anyhow::Result<Vec<Past>> {
    let repository = context.repository(location)?;
    let mut points = Context::points(&repository)?.points;
    // A damaged volume that is itself a point can only be helped by older ones.
    if let Origin::Point { id, .. } = origin
        && let Some(cut) = points.iter().find(|point| point.id.to_string() == *id).map(|point| point.point.cut)
    {
        points.retain(|point| point.point.cut < cut);
    }
    points.sort_by_key(|point| Reverse(point.point.cut));
    let known = points.iter().take(MAX_ASKED).filter_map(|point| past(&repository, place, point, wreck));
    let pasts: Vec<Past> = known.take(MAX_PASTS).collect();
    if pasts.is_empty() {
        let uuid: String = wreck.identity().uuid.iter().map(|byte| format!("{byte:02x}")).collect();
        output::warn(&format!(
            "{location} holds no earlier point of this file system (UUID {uuid}); nothing can be filled in from it"
        ));
    }
    Ok(pasts)
}

fn past(repository: &Repository, place: &Place, point: &ListedPoint, wreck: &dyn Wreck) -> Option<Past> {
    let reader = place.partition_of(Arc::new(repository.read_point(point))).ok()?;
    let filesystem = filesystem::open(reader).ok()?;
    let (then, now) = (filesystem.identity(), wreck.identity());
    (then.uuid == now.uuid && then.kind == now.kind).then(|| Past { filesystem, label: point.id.to_string() })
}
