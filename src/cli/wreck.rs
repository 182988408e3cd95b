//! A damaged volume, opened and pieced together, with earlier points to fill its gaps.

use std::cmp::Reverse;
use std::sync::Arc;

use super::context::Context;
use super::failure::Failure;
use super::file_views::hex;
use super::output;
use super::place::{OpenSource, Origin, Place, Unlocked};
use crate::base::io::ReadAt;
use crate::filesystem::{self, Filesystem, Identity, Wreck};
use crate::job::JobError;
use crate::job::kinship::is_later_state;
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
        let history = history.map(|location| History::open(context, place, location, &source.origin)).transpose()?;
        let wreck = salvage(&source.bytes, history.as_ref())?;
        let pasts = history.map(|history| history.pasts(wreck.as_ref())).unwrap_or_default();
        let (progress, cancel) = (context.progress(), context.interrupts.cancel());
        let tree = PiecedTree::piece_together(wreck, pasts, progress.as_ref(), &cancel).map_err(JobError::from)?;
        if let Some(reason) = tree.view().stale() {
            output::warn(&format!("the journal could not be applied, so all this may be older than what was there: {reason}"));
        }
        Ok(Self { tree, source })
    }
}

/// Opens what is left; if that is too little, by what an earlier state of the volume says of it.
fn salvage(bytes: &Arc<dyn ReadAt>, history: Option<&History<'_>>) -> anyhow::Result<Box<dyn Wreck>> {
    let error = match filesystem::salvage(Arc::clone(bytes)) {
        Ok(wreck) => return Ok(wreck),
        Err(error) => error,
    };
    let states = history.iter().flat_map(|history| history.states());
    for State { reader, filesystem, label } in states {
        if is_later_state(bytes.as_ref(), filesystem.as_ref())
            && let Ok(wreck) = filesystem::salvage_as(Arc::clone(bytes), reader.as_ref())
        {
            output::warn(&format!(
                "no superblock is left ({error}): that of point {label} is used, for files of it still lie in place"
            ));
            return Ok(wreck);
        }
    }
    Err(JobError::from(error).into())
}

/// Points that may hold earlier states of a volume, newest first.
struct History<'a> {
    place: &'a Place,
    location: &'a str,
    repository: Repository,
    points: Vec<ListedPoint>,
}

/// What one of them holds.
struct State {
    reader: Arc<dyn ReadAt>,
    filesystem: Box<dyn Filesystem>,
    label: String,
}

impl<'a> History<'a> {
    fn open(context: &Context, place: &'a Place, location: &'a str, origin: &Origin) -> anyhow::Result<Self> {
        let repository = context.repository(location)?;
        let mut points = Context::points(&repository)?.points;
        // A damaged volume that is itself a point can only be helped by older ones.
        if let Origin::Point { id, .. } = origin
            && let Some(cut) = points.iter().find(|point| point.id.to_string() == *id).map(|point| point.point.cut)
        {
            points.retain(|point| point.point.cut < cut);
        }
        points.sort_by_key(|point| Reverse(point.point.cut));
        points.truncate(MAX_ASKED);
        Ok(Self { place, location, repository, points })
    }

    /// The states that can be opened.
    fn states(&self) -> impl Iterator<Item = State> {
        self.points.iter().filter_map(|point| {
            let reader = self.place.partition_of(Arc::new(self.repository.read_point(point))).ok()?;
            let filesystem = filesystem::open(Arc::clone(&reader)).ok()?;
            Some(State { reader, filesystem, label: point.id.to_string() })
        })
    }

    /// The newest states of this filesystem.
    fn pasts(&self, wreck: &dyn Wreck) -> Vec<Past> {
        let now = wreck.identity();
        let is_earlier = |then: &Identity| then.uuid == now.uuid && then.kind == now.kind;
        let known = self.states().filter(|state| is_earlier(state.filesystem.identity()));
        let pasts: Vec<Past> = known.take(MAX_PASTS).map(|State { filesystem, label, .. }| Past { filesystem, label }).collect();
        if pasts.is_empty() {
            let uuid = hex(&now.uuid);
            output::warn(&format!(
                "{} holds no earlier point of this file system (UUID {uuid}); nothing can be filled in from it",
                self.location
            ));
        }
        pasts
    }
}
