//! Chunks that their own place cannot give back, found wherever else the repository holds the same bytes.
//!
//! ```text
//!   bad chunk ─► its pack is new here ─► every id that the tree has in that pack is wanted; all of a small volume's at once
//!                  └► this tree, points of the same volume, points of others, newest first: tree by tree, each node once,
//!                     until the chunk turns up ─► fetched, and held against its id like any other
//! ```
//! Nothing is looked for, listed or kept while nothing is damaged. What nobody else has either is remembered, and not looked for twice.

mod search;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::Repository;
use super::error::RepositoryError;
use super::fetch::FrameFetcher;
use super::format::node::{FrameRef, StoredChunk};
use super::format::point::Tree;
use super::ids::{PackId, PointId, VolumeKey};
use super::live::SlotSet;
use super::points::ListedPoint;
use crate::base::extent::{Extent, ExtentSet};
use search::{OtherPlace, Search, first_search, search_of_pack};

/// How much is looked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Each search costs a look at the trees of other points, which are some thousandth of the repository.
    pub(super) searches: usize,
    /// Ids that are wanted at once, in all searches together. A volume of no more chunks costs one search.
    pub(super) wanted: usize,
}

/// 4 GiB of 16 KiB chunks, in 40 MiB of memory at the most; larger volumes are searched for damaged pack by damaged pack.
const LIMITS: Limits = Limits { searches: 256, wanted: 1 << 18 };
/// Ranges that are told apart in the report. Beyond them the bytes are only counted.
const MAX_EXTENTS: usize = 1 << 16;

/// What came from other places than its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FoundElsewhere {
    /// Bytes of the volume.
    pub bytes: u64,
    /// The points that hold the chunks in other packs, each once; the point itself if it holds them twice.
    pub points: Vec<PointId>,
    /// Too much is damaged for all of it to be looked for.
    pub gave_up: bool,
}

/// Looks for the chunks of one point in other places; shared by all threads that read it.
#[derive(Debug)]
pub struct Elsewhere {
    lookout: Mutex<Lookout>,
}

/// A tree that may hold the same chunks.
#[derive(Debug, Clone, Copy)]
struct Other {
    point: PointId,
    tree: Tree,
}

#[derive(Debug)]
struct Lookout {
    repository: Repository,
    limits: Limits,
    fetcher: FrameFetcher,
    own: Other,
    volume: VolumeKey,
    /// Listed with the first damage.
    others: Option<Arc<[Other]>>,
    searches: Vec<Search>,
    /// Packs of which all chunks are wanted already.
    sought: HashSet<PackId>,
    /// Frames that do not open.
    bad: SlotSet,
    /// The frame that was opened last: its neighbours are mostly wanted next.
    opened: Option<(FrameRef, Vec<u8>)>,
    found: FoundElsewhere,
    /// Where the found bytes lie, so that none is counted twice.
    counted: ExtentSet,
}

impl Repository {
    /// What looks in other places for what a point's own packs have lost.
    #[must_use]
    pub fn elsewhere(&self, point: &ListedPoint) -> Arc<Elsewhere> {
        self.elsewhere_within(point, LIMITS)
    }

    pub(super) fn elsewhere_within(&self, point: &ListedPoint, limits: Limits) -> Arc<Elsewhere> {
        let lookout = Lookout {
            repository: self.clone(),
            limits,
            fetcher: self.fetcher(),
            own: Other { point: point.id, tree: point.point.tree },
            volume: point.volume,
            others: None,
            searches: Vec::new(),
            sought: HashSet::new(),
            bad: SlotSet::default(),
            opened: None,
            found: FoundElsewhere::default(),
            counted: ExtentSet::new(),
        };
        Arc::new(Elsewhere { lookout: Mutex::new(lookout) })
    }
}

impl Elsewhere {
    /// What was found until now.
    #[must_use]
    pub fn found(&self) -> FoundElsewhere {
        self.lookout.lock().unwrap_or_else(PoisonError::into_inner).found.clone()
    }

    /// The bytes of a chunk whose own frame failed, which is the volume's at `extent`; `None` if no readable place holds it.
    pub(super) fn chunk(&self, failed: &StoredChunk, extent: Extent) -> Result<Option<Vec<u8>>, RepositoryError> {
        let mut lookout = self.lookout.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((bytes, point)) = lookout.look_for(failed, extent)? else { return Ok(None) };
        lookout.count(point, extent);
        Ok(Some(bytes))
    }
}

impl Lookout {
    fn count(&mut self, point: PointId, extent: Extent) {
        if !self.found.points.contains(&point) {
            self.found.points.push(point);
        }
        if self.counted.intersects(&extent) {
            return;
        }
        self.found.bytes = self.found.bytes.saturating_add(extent.length);
        if self.counted.count() < MAX_EXTENTS {
            self.counted.insert(extent);
        }
    }

    fn look_for(&mut self, failed: &StoredChunk, extent: Extent) -> Result<Option<(Vec<u8>, PointId)>, RepositoryError> {
        self.bad.insert(&failed.frame);
        let others = self.others()?;
        let Some(index) = self.search_of(failed)? else { return Ok(None) };
        let length = usize::try_from(extent.length).unwrap_or(usize::MAX);
        loop {
            while let Some(place) = self.searches.get(index).and_then(|search| search.place_of(&failed.id, &self.bad)) {
                if let Some(bytes) = self.open(&place, failed, length)? {
                    return Ok(others.get(place.other).map(|other| (bytes, other.point)));
                }
                if let Some(search) = self.searches.get_mut(index) {
                    search.drop_place(&failed.id, &place);
                }
            }
            let Self { repository, searches, bad, .. } = self;
            let Some(search) = searches.get_mut(index) else { return Ok(None) };
            if !search.advance(repository, &others, bad)? {
                return Ok(None);
            }
        }
    }

    /// Trees that may hold the same chunks, the likeliest first. Chunks of another length are other chunks.
    fn others(&mut self) -> Result<Arc<[Other]>, RepositoryError> {
        if let Some(others) = &self.others {
            return Ok(Arc::clone(others));
        }
        let mut points = self.repository.points()?.points;
        let chunk_bytes = self.own.tree.chunk_bytes;
        points.retain(|point| point.point.tree.chunk_bytes == chunk_bytes);
        points.reverse();
        points.sort_by_key(|point| point.volume != self.volume);
        let others = points.iter().map(|point| Other { point: point.id, tree: point.point.tree });
        let others: Arc<[Other]> = [self.own].into_iter().chain(others).collect();
        self.others = Some(Arc::clone(&others));
        Ok(others)
    }

    /// The search that has this chunk among what it looks for. The first one also wants what lies in packs that are missing or cut
    /// short, so that these need no search each.
    fn search_of(&mut self, failed: &StoredChunk) -> Result<Option<usize>, RepositoryError> {
        if let Some(known) = self.searches.iter().position(|search| search.wants(&failed.id)) {
            return Ok(Some(known));
        }
        let room = self.limits.wanted.saturating_sub(self.searches.iter().map(Search::wanted_count).sum());
        if self.sought.contains(&failed.frame.pack) || self.searches.len() >= self.limits.searches || room == 0 {
            self.found.gave_up = true;
            return Ok(None);
        }
        self.sought.insert(failed.frame.pack);
        let make = if self.searches.is_empty() { first_search } else { search_of_pack };
        let search = make(&self.repository, &self.own.tree, failed, room)?;
        self.searches.push(search);
        Ok(Some(self.searches.len() - 1))
    }

    /// The chunk's bytes out of another frame, if they are its bytes.
    fn open(&mut self, place: &OtherPlace, failed: &StoredChunk, length: usize) -> Result<Option<Vec<u8>>, RepositoryError> {
        if self.opened.as_ref().is_none_or(|(frame, _)| *frame != place.frame) {
            match self.fetcher.fetch(&place.frame) {
                Ok(raw) => self.opened = Some((place.frame, raw.to_vec())),
                Err(error) if error.is_damage() => {
                    self.bad.insert(&place.frame);
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
        let start = usize::from(place.place).saturating_mul(usize::try_from(self.own.tree.chunk_bytes).unwrap_or(usize::MAX));
        let raw = self.opened.as_ref().map(|(_, raw)| raw.as_slice()).unwrap_or_default();
        let bytes = raw.get(start..start.saturating_add(length));
        Ok(bytes.filter(|bytes| self.repository.ring.chunk_id(bytes) == failed.id).map(<[u8]>::to_vec))
    }
}
