//! Contents: files are read in order, many ahead, and each gets its place.

use std::collections::VecDeque;
use std::ffi::CString;
use std::{io, mem};

use blake3::Hasher;

use super::appendices::{Appendix, without};
use super::error::FileTreeError;
use super::keep::{digest, is_unchanged, nameless_directory, record_of, xattrs};
use super::ledger::Work;
use super::long::{Long, runs_of, slice};
use super::occupancy::Occupancy;
use super::opener::Opener;
use super::packing::Packing;
use super::stream::Stream;
use super::survey::{Survey, is_same};
use super::trouble::TroubleKind;
use crate::base::cancel::Cancel;
use crate::base::extent::{Extent, ExtentSet};
use crate::files::{Event, Facts, FileReader, Opened, ReadFailure, Reading, Request, WholeFile};
use crate::filesystem::FileKind;
use crate::filesystem::file_tree::{DIGEST_BYTES, RECORDS_FIRST, TreeRecord};

/// Files that are being read at once.
const AHEAD: usize = 64;
/// Bytes that they may hold. The one whose turn it is may hold more.
const AHEAD_BYTES: u64 = 24 << 20;
/// What one reading holds at most.
const READING_BYTES: u64 = 2 << 20;
/// A file that changes is read so often.
const TRIES: u32 = 3;

/// Reads contents and gives them places.
pub(super) struct Filler<'s, 'e, 'o> {
    pub(super) survey: &'s mut Survey<'e>,
    pub(super) reader: &'s mut dyn FileReader,
    pub(super) stream: Stream<'o>,
    pub(super) occupancy: Occupancy,
    /// The first place that nothing has.
    pub(super) tail: u64,
    pub(super) chunk: u64,
    pub(super) cancel: &'s Cancel,
    /// Chunks that were written and are nobody's, because a file changed meanwhile.
    pub(super) abandoned: ExtentSet,
    /// Long files that look unchanged and were read all the same: place, and the id of their work.
    pub(super) doubted: Vec<(Extent, i64)>,
    pub(super) read_bytes: u64,
    pub(super) read_files: u64,
    /// Short files that wait for neighbours.
    pub(super) packing: Packing,
}

/// A file that is being read.
struct Turn {
    work: Work,
    /// Where it is written over, if it is.
    rewrite: Option<u64>,
    reading: Result<Reading, io::Error>,
    bytes: u64,
}

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// The file has its record.
    Done,
    /// It changed meanwhile.
    Again,
    /// It does not fit its old place any more.
    Outgrown,
}

impl Filler<'_, '_, '_> {
    /// Writes long files over their places, and makes holes of what is dead, in one ascending order.
    pub(super) fn rewrite(&mut self) -> Result<(), FileTreeError> {
        let dead = self.occupancy.dead.clone();
        let mut dead = dead.as_slice().iter().copied().peekable();
        let mut ahead = VecDeque::new();
        let mut last = 0;
        loop {
            if ahead.is_empty() {
                let batch = self.survey.ledger.rewrites_after(last)?;
                let Some((place, _)) = batch.last() else { break };
                last = *place;
                ahead.extend(batch);
            }
            // A few at a time: what is begun holds memory.
            let mut turns = VecDeque::new();
            while let Some((place, work)) = ahead.pop_front() {
                turns.push_back(self.begin(work, Some(place))?);
                if turns.len() >= AHEAD / 8 {
                    break;
                }
            }
            for turn in turns {
                let place = turn.rewrite.unwrap_or(0);
                while let Some(extent) = dead.next_if(|extent| extent.offset < place) {
                    self.stream.omit(extent)?;
                }
                self.turn(turn)?;
            }
        }
        dead.try_for_each(|extent| self.stream.omit(extent))
    }

    /// Reads everything else, and puts it behind everything.
    pub(super) fn append(&mut self) -> Result<(), FileTreeError> {
        let (mut turns, mut held, mut last) = (VecDeque::<Turn>::new(), 0, 0);
        let mut waiting: VecDeque<Work> = VecDeque::new();
        loop {
            while turns.len() < AHEAD && (held < AHEAD_BYTES || turns.is_empty()) {
                if waiting.is_empty() {
                    waiting = self.survey.ledger.work_after(last)?.into();
                    last = waiting.back().map_or(last, |work| work.id);
                }
                let Some(work) = waiting.pop_front() else { break };
                let turn = self.begin(work, None)?;
                held += turn.bytes;
                turns.push_back(turn);
            }
            let Some(turn) = turns.pop_front() else { return self.put_packing() };
            held -= turn.bytes;
            self.turn(turn)?;
        }
    }

    fn begin(&mut self, work: Work, rewrite: Option<u64>) -> Result<Turn, FileTreeError> {
        let bytes = work.size.min(READING_BYTES);
        let opened = self.survey.opener.open(&self.survey.ledger, work.directory)?;
        let reading = opened.and_then(|directory| {
            let name = CString::new(work.name.clone())?;
            Ok(self.reader.begin(Request { directory, name }))
        });
        Ok(Turn { work, rewrite, reading, bytes })
    }

    fn turn(&mut self, turn: Turn) -> Result<(), FileTreeError> {
        let Turn { work, rewrite, mut reading, .. } = turn;
        for left in (0..TRIES).rev() {
            if self.cancel.is_cancelled() {
                return Err(FileTreeError::Cancelled);
            }
            let kept = match reading {
                Ok(reading) => self.keep(&work, rewrite, reading, left == 0)?,
                Err(source) => return self.lose(&work, ReadFailure { act: "open the directory of", source }),
            };
            match (kept, rewrite) {
                (Kept::Done, _) => return Ok(()),
                // Its turn comes again behind everything: nothing can be put before what was put.
                (Kept::Again | Kept::Outgrown, Some(place)) => return Ok(self.survey.ledger.give_up_rewrite(place)?),
                (Kept::Again | Kept::Outgrown, None) => reading = self.begin(work.clone(), None)?.reading,
            }
        }
        Ok(())
    }

    fn keep(&mut self, work: &Work, rewrite: Option<u64>, mut reading: Reading, is_last: bool) -> Result<Kept, FileTreeError> {
        match reading.next() {
            Some(Event::Whole(file)) if file.opened.facts.size <= self.chunk && rewrite.is_none() => {
                self.keep_packed(work, *file, is_last)
            }
            Some(Event::Whole(file)) => self.keep_whole(work, rewrite, *file, is_last),
            Some(Event::Begins(opened)) => self.keep_long(work, rewrite, *opened, reading, is_last),
            Some(Event::Failed(failure)) => self.lose(work, failure).map(|()| Kept::Done),
            _ => self.lose(work, interrupted()).map(|()| Kept::Done),
        }
    }

    /// A file of up to a chunk lies behind its neighbour.
    fn keep_packed(&mut self, work: &Work, file: WholeFile, is_last: bool) -> Result<Kept, FileTreeError> {
        let WholeFile { opened, bytes, after } = file;
        let held_still = opened.facts.held_still(&after) && bytes.len() as u64 == opened.facts.size;
        self.count(&bytes);
        if !held_still && !is_last {
            return Ok(Kept::Again);
        }
        let mut record =
            TreeRecord { size: bytes.len() as u64, restless: !held_still, ..record_of(&opened.facts, FileKind::Regular) };
        if !bytes.is_empty() {
            let mut hasher = Hasher::new();
            hasher.update(&bytes);
            record.content_digest = digest(&hasher);
        }
        if let Some(old) = work.old.filter(|old| old.content_digest != record.content_digest)
            && self.is_doubted(work, &opened.facts)
            && old.size == record.size
        {
            self.trouble(work, TroubleKind::Disguised, DISGUISED)?;
        }
        let is_there = |old: &TreeRecord| old.content_digest == record.content_digest && old.size == record.size;
        let there = work.old.filter(is_there).map(|old| old.content).filter(|content| !self.occupancy.is_thin(*content));
        record.content = there.unwrap_or(Extent::new(0, 0));
        let record = self.complete(work, opened, record)?;
        if there.is_some() || bytes.is_empty() {
            return self.put_record(work, &record).map(|()| Kept::Done);
        }
        self.packing.push(work.number, record, &bytes);
        if self.packing.is_full() { self.put_packing().map(|()| Kept::Done) } else { Ok(Kept::Done) }
    }

    /// Gives the short files that waited their places.
    fn put_packing(&mut self) -> Result<(), FileTreeError> {
        let packing = mem::take(&mut self.packing);
        let place = self.put_packed(&packing.bytes)?;
        packing.records.into_iter().try_for_each(|(number, at, record)| {
            let content = Extent::new(place.offset + at, record.size);
            Ok(self.survey.ledger.put_node(number, &TreeRecord { content, ..record })?)
        })
    }

    /// Puts bytes behind everything.
    pub(super) fn put_packed(&mut self, bytes: &[u8]) -> Result<Extent, FileTreeError> {
        let place = self.take_room(bytes.len() as u64)?;
        self.stream.put(place.offset, bytes)?;
        Ok(place)
    }

    fn take_room(&mut self, length: u64) -> Result<Extent, FileTreeError> {
        let end =
            self.tail.checked_add(length).filter(|end| *end <= RECORDS_FIRST).ok_or(FileTreeError::Full { what: "places" })?;
        let place = Extent::between(self.tail, end);
        self.tail = end;
        Ok(place)
    }

    /// A file of more than a chunk that came at once.
    fn keep_whole(&mut self, work: &Work, rewrite: Option<u64>, file: WholeFile, is_last: bool) -> Result<Kept, FileTreeError> {
        let WholeFile { opened, bytes, after } = file;
        self.count(&bytes);
        let Some(mut long) = self.begin_long(work, rewrite, &opened)? else { return Ok(Kept::Outgrown) };
        for run in runs_of(&opened) {
            long.put(&mut self.stream, run.offset, slice(&bytes, run))?;
        }
        self.end_long(work, opened, long, &after, is_last)
    }

    fn keep_long(
        &mut self,
        work: &Work,
        rewrite: Option<u64>,
        opened: Opened,
        mut reading: Reading,
        is_last: bool,
    ) -> Result<Kept, FileTreeError> {
        let Some(mut long) = self.begin_long(work, rewrite, &opened)? else { return Ok(Kept::Outgrown) };
        loop {
            if self.cancel.is_cancelled() {
                return Err(FileTreeError::Cancelled);
            }
            match reading.next() {
                Some(Event::Bytes { offset, bytes }) => {
                    self.count(&bytes);
                    long.put(&mut self.stream, offset, &bytes)?;
                }
                Some(Event::Ends(after)) => return self.end_long(work, opened, long, &after, is_last),
                ended => {
                    self.abandoned.insert(long.content);
                    let failure = if let Some(Event::Failed(failure)) = ended { failure } else { interrupted() };
                    return self.lose(work, failure).map(|()| Kept::Done);
                }
            }
        }
    }

    /// Finds room for a long file; none if it was to be written over its place and does not fit it.
    fn begin_long(&mut self, work: &Work, rewrite: Option<u64>, opened: &Opened) -> Result<Option<Long>, FileTreeError> {
        let size = opened.facts.size;
        let old = work.old.filter(|old| !old.is_packed() && !old.content.is_empty());
        let content = match (rewrite, old) {
            (Some(_), Some(old)) if size > self.chunk && size <= old.content.length => old.content,
            (Some(_), _) => return Ok(None),
            (None, old) => {
                self.tail = self.tail.next_multiple_of(self.chunk);
                // What has grown once will grow again.
                let wanted = if old.is_some_and(|old| size > old.content.length) { size.saturating_mul(2) } else { size };
                self.take_room(wanted.checked_next_multiple_of(self.chunk).unwrap_or(u64::MAX))?
            }
        };
        // Holes need to be made only where something was, and where nothing should have changed there are none to be made.
        let was = old.filter(|_| rewrite.is_some() && !self.is_doubted(work, &opened.facts));
        let holes_until = was.map_or(0, |old| old.size.min(content.length));
        Ok(Some(Long { content, at: 0, holes_until, chunk: self.chunk, is_rewritten: rewrite.is_some() }))
    }

    fn end_long(
        &mut self,
        work: &Work,
        opened: Opened,
        mut long: Long,
        after: &Facts,
        is_last: bool,
    ) -> Result<Kept, FileTreeError> {
        let data_end = runs_of(&opened).last().map_or(0, Extent::end);
        let is_whole = long.at >= data_end;
        let held_still = is_whole && opened.facts.held_still(after);
        if !held_still && !is_last {
            self.abandoned.insert(long.content);
            return Ok(Kept::Again);
        }
        let until = long.holes_until;
        long.skip_to(&mut self.stream, until)?;
        if long.is_rewritten && self.is_doubted(work, &opened.facts) {
            self.doubted.push((Extent::new(long.content.offset, opened.facts.size), work.id));
        }
        let size = if is_whole { opened.facts.size } else { long.at };
        let record =
            TreeRecord { size, content: long.content, restless: !held_still, ..record_of(&opened.facts, FileKind::Regular) };
        let record = self.complete(work, opened, record)?;
        self.put_record(work, &record).map(|()| Kept::Done)
    }

    /// Completes the record of a file, but for its place.
    fn complete(&mut self, work: &Work, opened: Opened, mut record: TreeRecord) -> Result<TreeRecord, FileTreeError> {
        self.read_files += 1;
        if record.restless {
            self.trouble(work, TroubleKind::Restless, RESTLESS)?;
        }
        let size = record.size;
        let runs: Option<Vec<Extent>> = opened
            .runs
            .map(|runs| runs.iter().map(|run| run.intersect(&Extent::new(0, size))).filter(|run| !run.is_empty()).collect());
        record.sparse = runs.is_some();
        let attributes = xattrs(opened.attributes);
        if runs.is_none() && attributes.is_empty() {
            without(&mut record);
        } else {
            let appendix = Appendix::new(work.number, &attributes, &runs.unwrap_or_default());
            appendix.finish(&self.survey.ledger, work.old.as_ref(), &mut record)?;
        }
        Ok(record)
    }

    fn put_record(&mut self, work: &Work, record: &TreeRecord) -> Result<(), FileTreeError> {
        if work.old.is_some_and(|old| is_same(&old, record)) {
            return Ok(());
        }
        Ok(self.survey.ledger.put_node(work.number, record)?)
    }

    /// A file that cannot be read. One that is gone is none.
    fn lose(&mut self, work: &Work, failure: ReadFailure) -> Result<(), FileTreeError> {
        if failure.is_vanished() && work.links <= 1 {
            self.survey.vanished.add(work.directory, work.number);
            return Ok(());
        }
        let facts = CString::new(work.name.clone()).ok().and_then(|name| {
            let directory = self.survey.opener.open(&self.survey.ledger, work.directory).ok()?.ok()?;
            directory.facts(&name).ok()
        });
        let known = facts.map(|facts| record_of(&facts, FileKind::Regular)).or(work.old);
        let mut record = known.unwrap_or_else(|| TreeRecord { kind: FileKind::Regular, mode: 0o600, ..nameless_directory() });
        record.lost = true;
        record.sparse = false;
        record.kind = FileKind::Regular;
        record.content = Extent::new(0, 0);
        record.content_digest = [0; DIGEST_BYTES];
        without(&mut record);
        self.survey.ledger.put_node(work.number, &record)?;
        let reason = format!("{failure}: {}", failure.source);
        self.trouble(work, TroubleKind::Unreadable, &reason)
    }

    fn is_doubted(&self, work: &Work, facts: &Facts) -> bool {
        let started = self.survey.request.earlier.map(|earlier| earlier.state().started);
        work.old.zip(started).is_some_and(|(old, started)| is_unchanged(&old, facts, started))
    }

    fn trouble(&mut self, work: &Work, kind: TroubleKind, reason: &str) -> Result<(), FileTreeError> {
        let path = Opener::path(&self.survey.ledger, work.directory, &work.name)?;
        self.survey.troubles.add(path, kind, reason.to_owned());
        Ok(())
    }

    fn count(&mut self, bytes: &[u8]) {
        self.read_bytes += bytes.len() as u64;
    }
}

const RESTLESS: &str = "changed while it was read; it is kept as it came, and parts of it may be of different moments";
pub(super) const DISGUISED: &str =
    "its content is not what it was, though length and times say so: somebody set the times back, or the disk lies";

fn interrupted() -> ReadFailure {
    ReadFailure { act: "read", source: io::Error::other("whoever read it has stopped") }
}
