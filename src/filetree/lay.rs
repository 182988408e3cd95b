//! What the walk found is laid out: holes, contents, appendices, records and state, in one ascending order.

use super::error::FileTreeError;
use super::fill::{DISGUISED, Filler};
use super::occupancy::{Gathered, Occupancy};
use super::opener::Opener;
use super::packing::Packing;
use super::records::{Nodes, put_records};
use super::stream::{LayOut, Stream};
use super::survey::Survey;
use super::trouble::{Trouble, TroubleKind};
use crate::base::bytes::PutBytes;
use crate::base::cancel::Cancel;
use crate::base::extent::{Extent, ExtentSet};
use crate::files::FileReader;
use crate::filesystem::file_tree::{FIRST_PLACE, FileTree, MAX_IDLE, STATE_PLACE, TreeHeader, TreeRecord, TreeState};
use crate::filesystem::{Filesystem, FilesystemError, Object};

/// A tree that was laid out.
#[derive(Debug)]
pub struct LaidTree {
    /// How far it goes.
    pub state: TreeState,
    /// What is wrong with single files.
    pub troubles: Vec<Trouble>,
    /// How much more is wrong.
    pub troubles_left_out: u64,
    /// Bytes of content that were read.
    pub read_bytes: u64,
    /// Files whose content was read.
    pub read_files: u64,
    /// Long files that look unchanged and were read: place and path of each.
    doubted: Vec<(Extent, Vec<u8>)>,
}

impl LaidTree {
    /// Names the files among those that looked unchanged whose chunks differ from the earlier point's. The first place of one.
    pub fn unmask(&mut self, changed: &ExtentSet) -> Option<Extent> {
        let mut first = None;
        for (place, path) in self.doubted.drain(..).filter(|(place, _)| changed.intersects(place)) {
            first = first.or(Some(place));
            self.troubles.push(Trouble { path, kind: TroubleKind::Disguised, reason: DISGUISED.to_owned() });
        }
        first
    }
}

/// Lays a tree out in windows of `window_bytes`.
pub fn lay(
    mut survey: Survey<'_>,
    header: &TreeHeader,
    reader: &mut dyn FileReader,
    out: &mut dyn LayOut,
    window_bytes: u64,
    cancel: &Cancel,
) -> Result<LaidTree, FileTreeError> {
    let chunk = u64::from(survey.request.chunk_bytes);
    let earlier = survey.request.earlier;
    let occupancy = earlier.map(|earlier| Occupancy::measure(&survey, earlier)).transpose()?.unwrap_or_default();
    let tail = earlier.map_or(FIRST_PLACE, |earlier| earlier.state().next_place).next_multiple_of(chunk);
    let mut stream = Stream::new(out, chunk, window_bytes);
    if earlier.is_none_or(|earlier| earlier.header() != header) {
        stream.put(0, &header.encode())?;
    }
    let mut filler = Filler {
        survey: &mut survey,
        reader,
        stream,
        occupancy,
        tail,
        chunk,
        cancel,
        abandoned: ExtentSet::new(),
        doubted: Vec::new(),
        read_bytes: 0,
        read_files: 0,
        packing: Packing::default(),
    };
    filler.rewrite()?;
    filler.append()?;
    filler.survey.forget_vanished()?;
    if let Some(earlier) = earlier {
        filler.empty_thin(earlier)?;
    }
    filler.put_appendices()?;
    let idle = filler.put_idle(earlier)?;
    let state = TreeState {
        started: filler.survey.request.started,
        next_number: filler.survey.numbers.next(),
        next_place: filler.tail,
        inodes: filler.survey.numbers.count.saturating_sub(filler.survey.vanished.count()),
        content_bytes: filler.survey.content_bytes,
        idle,
    };
    put_records(filler.survey, chunk, &mut filler.stream)?;
    filler.stream.put(STATE_PLACE, &state.encode())?;
    filler.stream.flush()?;
    let (read_bytes, read_files) = (filler.read_bytes, filler.read_files);
    let doubted = filler.paths_of_doubted()?;
    let troubles_left_out = survey.troubles.left_out;
    Ok(LaidTree { state, troubles: survey.troubles.list, troubles_left_out, read_bytes, read_files, doubted })
}

impl Filler<'_, '_, '_> {
    /// Copies what lies in chunks that are nearly empty behind everything else, so that these become holes.
    fn empty_thin(&mut self, earlier: &FileTree) -> Result<(), FileTreeError> {
        let mut thin = Vec::new();
        let is_thin = |part: Extent| !part.is_empty() && self.occupancy.is_thin(part);
        earlier.each_record(&mut |number, old| {
            let is_moved = is_thin(old.appendix) || (old.is_packed() && is_thin(old.content));
            if is_moved && self.survey.is_present(number) {
                thin.push((number, old));
            }
            Ok::<_, FileTreeError>(())
        })?;
        thin.into_iter().try_for_each(|(number, old)| self.move_parts(earlier, number, &old))
    }

    /// Moves those parts of an inode that are still where the earlier tree has them.
    fn move_parts(&mut self, earlier: &FileTree, number: u64, old: &TreeRecord) -> Result<(), FileTreeError> {
        let mut record = self.survey.ledger.node(number)?.unwrap_or(*old);
        let is_thin = |part: Extent| !part.is_empty() && self.occupancy.is_thin(part);
        let (content, appendix) = (old.is_packed() && is_thin(old.content), is_thin(old.appendix));
        if content && record.content == old.content {
            record.content = self.copy(earlier, old.content)?;
        }
        if appendix && record.appendix == old.appendix {
            record.appendix = self.copy(earlier, old.appendix)?;
        }
        Ok(self.survey.ledger.put_node(number, &record)?)
    }

    fn copy(&mut self, earlier: &FileTree, part: Extent) -> Result<Extent, FileTreeError> {
        // What is thin is not longer than a chunk.
        let mut bytes = vec![0; usize::try_from(part.length).unwrap_or(0)];
        let failed = |source| FilesystemError::Io { object: Object::Superblock, source };
        earlier.volume().read_at(part.offset, &mut bytes).map_err(failed)?;
        self.put_packed(&bytes)
    }

    /// Gives appendices their places.
    fn put_appendices(&mut self) -> Result<(), FileTreeError> {
        self.tail = self.tail.next_multiple_of(self.chunk);
        let mut next = 0;
        loop {
            let numbers = self.survey.ledger.appendices_from(next)?;
            let Some(last) = numbers.last() else { return Ok(()) };
            next = last + 1;
            numbers.into_iter().try_for_each(|number| self.put_appendix(number))?;
        }
    }

    fn put_appendix(&mut self, number: u64) -> Result<(), FileTreeError> {
        let Some(mut record) = self.survey.ledger.node(number)?.filter(|_| !self.survey.vanished.holds(number)) else {
            return Ok(());
        };
        let (start, mut part) = (self.tail, 0);
        while let Some(bytes) = self.survey.ledger.appendix_part(number, part)? {
            self.put_packed(&bytes)?;
            part += 1;
        }
        record.appendix = Extent::between(start, self.tail);
        Ok(self.survey.ledger.put_node(number, &record)?)
    }

    /// Writes down what nothing uses and could not be made a hole in this run: what was left after the order had passed it.
    fn put_idle(&mut self, earlier: Option<&FileTree>) -> Result<Extent, FileTreeError> {
        let mut idle = self.abandoned.clone();
        if let Some(earlier) = earlier {
            idle = idle.union(&self.left_behind(earlier)?);
        }
        let idle: Vec<Extent> = idle.as_slice().iter().copied().take(MAX_IDLE).collect();
        let mut list = Vec::with_capacity(idle.len() * 16);
        for extent in idle {
            list.put_u64(extent.offset);
            list.put_u64(extent.length);
        }
        self.put_packed(&list)
    }

    /// The chunks of the earlier tree that were in use when the walk ended and are not any more.
    fn left_behind(&mut self, earlier: &FileTree) -> Result<ExtentSet, FileTreeError> {
        let (mut nodes, mut used) = (Nodes::new(&self.survey.ledger), Gathered::default());
        earlier.each_record(&mut |number, old| {
            let now = nodes.at(number)?.unwrap_or(old);
            if self.survey.is_present(number) {
                used.add_record(&now, self.chunk);
            }
            Ok::<_, FileTreeError>(())
        })?;
        Ok(self.occupancy.kept.difference(&used.finish()))
    }

    fn paths_of_doubted(&self) -> Result<Vec<(Extent, Vec<u8>)>, FileTreeError> {
        let path = |(place, id): &(Extent, i64)| {
            let (directory, name) = self.survey.ledger.name_of_work(*id)?;
            Ok((*place, Opener::path(&self.survey.ledger, directory, &name)?))
        };
        self.doubted.iter().map(path).collect()
    }
}
