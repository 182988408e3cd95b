//! The content of files: mapped a stretch at a time, read by several threads, handed on in order.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::refusal::{Refusal, unreadable};
use crate::base::cancel::Cancel;
use crate::base::extent::Extent;
use crate::base::io::IoError;
use crate::filesystem::{Filesystem, FilesystemError, Inode, Object, Segment, Source, is_data, map_stretches};
use crate::job::JobError;

/// One read. Restores work in the same pieces.
const PIECE_BYTES: u64 = 1 << 20;
/// Pieces that a reader has before it. Its buffers are as many.
const DEPTH: usize = 2;
/// What is missing is told to this precision: no chunk of a point begins or ends within a sector.
const SECTOR_BYTES: u64 = 512;
/// A failing disk is not asked for less than this: it takes seconds to refuse, and loses as much at a time.
const BLOCK_BYTES: u64 = 4096;

/// A piece to read, and memory for it.
struct Order {
    file: Arc<Inode>,
    extent: Extent,
    source: Source,
    buffer: Vec<u8>,
}

/// A piece that was read, or was not.
struct Filled {
    order: Order,
    result: Result<(), FilesystemError>,
}

struct Reader {
    orders: SyncSender<Order>,
    filled: Receiver<Filled>,
}

/// Threads that read pieces. Pieces come back in the order they were asked for.
pub(super) struct Readers<'a> {
    filesystem: &'a dyn Filesystem,
    readers: Vec<Reader>,
    /// Which readers have a piece, oldest first.
    in_flight: VecDeque<usize>,
    next: usize,
    spare: Vec<Vec<u8>>,
}

/// Starts readers, which end with `run`.
pub(super) fn with_readers<T>(
    filesystem: &dyn Filesystem,
    workers: usize,
    run: impl FnOnce(&mut Readers<'_>) -> Result<T, JobError>,
) -> Result<T, JobError> {
    thread::scope(|scope| {
        let start = |_| {
            let (orders, to_read) = sync_channel::<Order>(DEPTH);
            let (done, filled) = sync_channel(DEPTH);
            scope.spawn(move || serve(filesystem, &to_read, &done));
            Reader { orders, filled }
        };
        let readers = (0..workers.max(1)).map(start).collect();
        run(&mut Readers { filesystem, readers, in_flight: VecDeque::new(), next: 0, spare: Vec::new() })
    })
}

fn serve(filesystem: &dyn Filesystem, to_read: &Receiver<Order>, done: &SyncSender<Filled>) {
    for mut order in to_read {
        order.buffer.resize(to_length(order.extent), 0);
        let result = filesystem.fill(&order.file, &order.source, &mut order.buffer);
        if done.send(Filled { order, result }).is_err() {
            return;
        }
    }
}

/// Receives a file's data in ascending order: bytes, or why they are missing. What is not mentioned is a hole.
pub(super) type Deliver<'a> = dyn FnMut(Extent, Result<&[u8], String>) -> Result<(), Refusal> + 'a;

impl Readers<'_> {
    /// Shows all data of a file to `deliver`, and ends with its first refusal.
    pub(super) fn copy(&mut self, file: &Inode, cancel: &Cancel, deliver: &mut Deliver<'_>) -> Result<(), Refusal> {
        if file.encrypted {
            return Err(unreadable(FilesystemError::Encrypted { object: Object::Inode(file.number.0) }));
        }
        let copied = self.copy_stretches(&Arc::new(file.clone()), cancel, deliver);
        // After a refusal, what is still being read is for nobody.
        while copied.is_err() && !self.in_flight.is_empty() {
            let filled = self.take()?;
            self.spare.push(filled.order.buffer);
        }
        copied
    }

    fn copy_stretches(&mut self, file: &Arc<Inode>, cancel: &Cancel, deliver: &mut Deliver<'_>) -> Result<(), Refusal> {
        map_stretches(self.filesystem, file, |stretch, segments| {
            if cancel.is_cancelled() {
                return Err(Refusal::Stop(JobError::Cancelled));
            }
            match segments {
                Ok(segments) => self.copy_segments(file, segments, cancel, deliver),
                Err(error) => self.report_lost(stretch, error, deliver),
            }
        })?;
        self.drain(deliver, 0)
    }

    /// What comes before must be told first.
    fn report_lost(&mut self, stretch: Extent, error: FilesystemError, deliver: &mut Deliver<'_>) -> Result<(), Refusal> {
        self.drain(deliver, 0)?;
        match unreadable(error) {
            Refusal::Here(reason) => deliver(stretch, Err(reason)),
            other => Err(other),
        }
    }

    fn copy_segments(
        &mut self,
        file: &Arc<Inode>,
        segments: Vec<Segment>,
        cancel: &Cancel,
        deliver: &mut Deliver<'_>,
    ) -> Result<(), Refusal> {
        for segment in segments.into_iter().filter(is_data) {
            let Segment { extent: whole, source } = segment;
            if let Source::Lost(reason) = source {
                self.drain(deliver, 0)?;
                deliver(whole, Err(reason))?;
                continue;
            }
            for extent in pieces(whole) {
                if cancel.is_cancelled() {
                    return Err(Refusal::Stop(JobError::Cancelled));
                }
                self.drain(deliver, self.readers.len() * DEPTH - 1)?;
                self.order(Arc::clone(file), extent, advance(&source, extent.offset - whole.offset))?;
            }
        }
        Ok(())
    }

    fn order(&mut self, file: Arc<Inode>, extent: Extent, source: Source) -> Result<(), Refusal> {
        let buffer = self.spare.pop().unwrap_or_default();
        let Some(reader) = self.readers.get(self.next) else { return Err(died()) };
        reader.orders.send(Order { file, extent, source, buffer }).map_err(|_| died())?;
        self.in_flight.push_back(self.next);
        self.next = (self.next + 1) % self.readers.len();
        Ok(())
    }

    /// Hands on the oldest pieces until no more than `left` are being read.
    fn drain(&mut self, deliver: &mut Deliver<'_>, left: usize) -> Result<(), Refusal> {
        while self.in_flight.len() > left {
            let Filled { mut order, result } = self.take()?;
            let delivered = match result {
                Ok(()) => deliver(order.extent, Ok(&order.buffer)),
                Err(error) => self.deliver_around_gaps(&mut order, error, deliver),
            };
            self.spare.push(order.buffer);
            delivered?;
        }
        Ok(())
    }

    fn take(&mut self) -> Result<Filled, Refusal> {
        let reader = self.in_flight.pop_front().and_then(|index| self.readers.get(index)).ok_or_else(died)?;
        reader.filled.recv().map_err(|_| died())
    }

    /// Hands on what there is of a piece, and each gap in it once.
    fn deliver_around_gaps(&self, order: &mut Order, error: FilesystemError, deliver: &mut Deliver<'_>) -> Result<(), Refusal> {
        let mut gaps = Vec::new();
        self.find_gaps(order, Extent::new(0, order.extent.length), error, &mut gaps)?;
        let mut at = 0;
        for (gap, reason) in gaps {
            deliver_part(order, Extent::between(at, gap.offset), deliver)?;
            deliver(Extent::new(order.extent.offset + gap.offset, gap.length), Err(reason))?;
            at = gap.end();
        }
        deliver_part(order, Extent::between(at, order.extent.length), deliver)
    }

    /// Finds out by halves which parts of a piece are missing, and reads the others. `part` is counted from the piece's start.
    fn find_gaps(
        &self,
        order: &mut Order,
        part: Extent,
        error: FilesystemError,
        gaps: &mut Vec<(Extent, String)>,
    ) -> Result<(), Refusal> {
        let smallest = smallest_gap(&error);
        let reason = match unreadable(error) {
            Refusal::Here(reason) => reason,
            other => return Err(other),
        };
        if part.length <= smallest {
            add_gap(gaps, part, reason);
            return Ok(());
        }
        let middle = part.offset + (part.length / 2).next_multiple_of(smallest);
        for half in [Extent::between(part.offset, middle), Extent::between(middle, part.end())] {
            let source = advance(&order.source, half.offset);
            let Some(bytes) = order.buffer.get_mut(to_range(half)) else { return Err(died()) };
            if let Err(error) = self.filesystem.fill(&order.file, &source, bytes) {
                self.find_gaps(order, half, error, gaps)?;
            }
        }
        Ok(())
    }
}

/// What is known to be missing costs nothing to ask for again.
fn smallest_gap(error: &FilesystemError) -> u64 {
    match error {
        FilesystemError::Io { source: IoError::Missing { .. }, .. } => SECTOR_BYTES,
        _ => BLOCK_BYTES,
    }
}

/// A gap that goes on is one, with the reason for its beginning.
fn add_gap(gaps: &mut Vec<(Extent, String)>, gap: Extent, reason: String) {
    match gaps.last_mut() {
        Some((last, _)) if last.end() == gap.offset => last.length += gap.length,
        _ => gaps.push((gap, reason)),
    }
}

/// `part` is counted from the piece's start.
fn deliver_part(order: &Order, part: Extent, deliver: &mut Deliver<'_>) -> Result<(), Refusal> {
    if part.is_empty() {
        return Ok(());
    }
    let bytes = order.buffer.get(to_range(part)).ok_or_else(died)?;
    deliver(Extent::new(order.extent.offset + part.offset, part.length), Ok(bytes))
}

/// From its own start, so that a run on disk is read in pieces of one length.
fn pieces(whole: Extent) -> impl Iterator<Item = Extent> {
    Extent::new(0, whole.length).cut(PIECE_BYTES).map(move |piece| Extent::new(whole.offset + piece.offset, piece.length))
}

fn advance(source: &Source, by: u64) -> Source {
    match source {
        Source::Disk(at) => Source::Disk(at.saturating_add(by)),
        Source::Unwritten(at) => Source::Unwritten(at.saturating_add(by)),
        Source::Inline(bytes) => {
            let skip = usize::try_from(by).unwrap_or(usize::MAX);
            Source::Inline(bytes.get(skip..).unwrap_or_default().to_vec())
        }
        Source::Hole | Source::Lost(_) => source.clone(),
    }
}

fn died() -> Refusal {
    Refusal::Stop(JobError::Worker("reading a file".to_owned()))
}

fn to_range(part: Extent) -> Range<usize> {
    let start = usize::try_from(part.offset).unwrap_or(usize::MAX);
    start..start.saturating_add(to_length(part))
}

/// Pieces are short.
fn to_length(extent: Extent) -> usize {
    usize::try_from(extent.length).unwrap_or(usize::MAX)
}
