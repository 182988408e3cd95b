//! The threads of a backup: one reads or lays out, some cut and compress, one appends in the order of the volume.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::base::cancel::Cancel;
use crate::base::extent::{Extent, ExtentSet};
use crate::base::io::{BulkRead, IoError, Window};
use crate::base::progress::{Progress, Step};
use crate::filetree::LayOut;
use crate::job::JobError;
use crate::repository::format::point::MAX_UNREADABLE_EXTENTS;
use crate::repository::{CutWindow, EarlierChunks, PointWriter, WindowCutter};

/// What reading found.
#[derive(Debug, Default)]
pub(super) struct ReadOutcome {
    /// Bytes read.
    pub(super) read_bytes: u64,
    /// Ranges that could not be.
    pub(super) unreadable: ExtentSet,
    /// What changed outside of what somebody said, if that is examined: the first of it.
    pub(super) contradicted: ExtentSet,
}

/// One contradiction is enough for an incident; on a live volume some of them may be explained.
const MAX_CONTRADICTIONS: usize = 4096;

/// How a volume is read into a writer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pipeline<'a> {
    pub(super) workers: usize,
    /// Whole chunks outside of which, it was said, nothing has changed since the previous point; held to what is found.
    pub(super) examined: Option<&'a ExtentSet>,
    pub(super) progress: &'a dyn Progress,
    pub(super) cancel: &'a Cancel,
}

/// Long enough that the reader is never held up while it has memory left; its pool is what bounds the windows under way.
const QUEUED_WINDOWS: usize = 256;

/// A window that was cut, still holding the reader's memory.
struct Cut {
    window: Window,
    cut: CutWindow,
    contradicted: Vec<Extent>,
}

/// What comes next in the volume.
#[derive(Debug, Clone, Copy)]
enum Next {
    /// The window that begins here.
    Window(u64),
    /// Whole chunks that are left out.
    Omit(Extent),
}

/// The order in which windows were asked for, which is the order in which they are appended.
type Order = Mutex<VecDeque<Next>>;

/// Where windows go in.
#[derive(Debug)]
pub(super) struct Feed<'a> {
    order: &'a Order,
    to_cut: SyncSender<Window>,
    cancel: &'a Cancel,
}

impl Feed<'_> {
    /// Says what comes next. All of this is ascending.
    fn expect(&self, next: Next) {
        self.order.lock().unwrap_or_else(PoisonError::into_inner).push_back(next);
    }

    /// Sends a window that was expected; false if nobody takes any more.
    fn send(&self, window: Window) -> bool {
        !self.cancel.is_cancelled() && self.to_cut.send(window).is_ok()
    }
}

impl LayOut for Feed<'_> {
    fn window(&mut self, window: Window) -> bool {
        self.expect(Next::Window(window.extent.offset));
        self.send(window)
    }

    fn omit(&mut self, extent: Extent) -> bool {
        self.expect(Next::Omit(extent));
        !self.cancel.is_cancelled()
    }
}

impl Pipeline<'_> {
    /// Reads `plan`, ascending, into `writer`, and leaves out what is `omitted`.
    pub(super) fn run(
        &self,
        reader: &mut dyn BulkRead,
        plan: Box<dyn Iterator<Item = Extent> + Send + '_>,
        omitted: &ExtentSet,
        writer: &mut PointWriter,
    ) -> Result<ReadOutcome, JobError> {
        let (outcome, ()) = self.feed(writer, |feed| Ok(read(reader, plan, omitted, feed)?))?;
        Ok(outcome)
    }

    /// Cuts and appends what `lay` sends.
    pub(super) fn feed<T>(
        &self,
        writer: &mut PointWriter,
        lay: impl FnOnce(&mut Feed<'_>) -> Result<T, JobError>,
    ) -> Result<(ReadOutcome, T), JobError> {
        let order = Order::default();
        let cutters: Vec<_> = (0..self.workers).map(|_| (writer.cutter(), writer.earlier())).collect();
        let (to_cut, work) = sync_channel::<Window>(QUEUED_WINDOWS);
        let (to_append, cut) = sync_channel::<Result<Cut, JobError>>(QUEUED_WINDOWS);
        // Owned by the cutters alone: once all of them have stopped, the reader finds nobody to send to, and stops too.
        let work = Arc::new(Mutex::new(work));
        thread::scope(|scope| {
            for (cutter, earlier) in cutters {
                let (work, to_append) = (Arc::clone(&work), to_append.clone());
                scope.spawn(move || serve(&work, cutter, earlier, self.examined, &to_append));
            }
            drop((work, to_append));
            let appender = scope.spawn(|| self.append_in_order(cut, &order, writer));
            let laid = lay(&mut Feed { order: &order, to_cut, cancel: self.cancel });
            let appended = appender.join().map_err(|_| JobError::Worker("appending".to_owned()))?;
            // A failed append is why the reader was stopped, so it is told first.
            match (appended, laid) {
                (Err(error), _) => Err(error),
                (Ok(_), Err(JobError::Io(IoError::Cancelled))) => Err(JobError::Cancelled),
                (Ok(_), Err(error)) => Err(error),
                (Ok(outcome), Ok(laid)) => Ok((outcome, laid)),
            }
        })
    }

    /// Appends windows in the order of the plan. Those that are early wait here, holding the reader's memory, which bounds them.
    fn append_in_order(
        &self,
        cut: Receiver<Result<Cut, JobError>>,
        order: &Order,
        writer: &mut PointWriter,
    ) -> Result<ReadOutcome, JobError> {
        let mut early = BTreeMap::new();
        let mut outcome = ReadOutcome::default();
        for cut in cut {
            let cut = cut?;
            early.insert(cut.window.extent.offset, cut);
            self.append_what_is_due(&mut early, order, writer, &mut outcome)?;
        }
        // What is left out at the end has no window behind it.
        self.append_what_is_due(&mut early, order, writer, &mut outcome)?;
        outcome.unreadable = coarsen(outcome.unreadable);
        Ok(outcome)
    }

    fn append_what_is_due(
        &self,
        early: &mut BTreeMap<u64, Cut>,
        order: &Order,
        writer: &mut PointWriter,
        outcome: &mut ReadOutcome,
    ) -> Result<(), JobError> {
        while let Some(due) = next_in_order(early, order) {
            match due {
                Due::Window(cut) => self.append(cut, writer, outcome)?,
                Due::Omit(extent) => writer.omit(extent)?,
            }
        }
        Ok(())
    }

    fn append(&self, next: Cut, writer: &mut PointWriter, outcome: &mut ReadOutcome) -> Result<(), JobError> {
        writer.append(&next.cut)?;
        let lost: u64 = next.window.unreadable.iter().map(|extent| extent.length).sum();
        next.window.unreadable.iter().for_each(|extent| outcome.unreadable.insert(*extent));
        outcome.read_bytes += next.window.extent.length - lost;
        let room = MAX_CONTRADICTIONS.saturating_sub(outcome.contradicted.count());
        next.contradicted.into_iter().take(room).for_each(|extent| outcome.contradicted.insert(extent));
        self.progress.step(Step { done_bytes: next.window.extent.length, new_bytes: next.cut.new_bytes });
        Ok(())
    }
}

/// What can be appended now.
enum Due {
    Window(Cut),
    Omit(Extent),
}

fn next_in_order(early: &mut BTreeMap<u64, Cut>, order: &Order) -> Option<Due> {
    let mut order = order.lock().unwrap_or_else(PoisonError::into_inner);
    let due = match order.front()? {
        Next::Window(offset) => Due::Window(early.remove(offset)?),
        Next::Omit(extent) => Due::Omit(*extent),
    };
    order.pop_front();
    Some(due)
}

/// Reads windows, and says between them what is left out.
fn read(
    reader: &mut dyn BulkRead,
    plan: Box<dyn Iterator<Item = Extent> + Send + '_>,
    omitted: &ExtentSet,
    feed: &Feed<'_>,
) -> Result<(), IoError> {
    let mut omitted = omitted.as_slice().iter().peekable();
    let mut plan = plan.inspect(|extent| {
        while let Some(gap) = omitted.next_if(|gap| gap.offset < extent.offset) {
            feed.expect(Next::Omit(*gap));
        }
        feed.expect(Next::Window(extent.offset));
    });
    reader.read(&mut plan, &mut |window| if feed.send(window) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })?;
    drop(plan);
    omitted.for_each(|gap| feed.expect(Next::Omit(*gap)));
    Ok(())
}

/// Cuts windows until there are no more, or nobody wants them.
fn serve(
    work: &Mutex<Receiver<Window>>,
    mut cutter: WindowCutter,
    mut earlier: EarlierChunks,
    examined: Option<&ExtentSet>,
    to_append: &SyncSender<Result<Cut, JobError>>,
) {
    loop {
        let next = work.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(window) = next else { return };
        let result = cut_window(window, &mut cutter, &mut earlier, examined);
        let failed = result.is_err();
        if to_append.send(result).is_err() || failed {
            return;
        }
    }
}

fn cut_window(
    window: Window,
    cutter: &mut WindowCutter,
    earlier: &mut EarlierChunks,
    examined: Option<&ExtentSet>,
) -> Result<Cut, JobError> {
    let candidates = earlier.at(cutter.chunk_at(window.extent.offset))?;
    let cut = cutter.cut(window.extent.offset, window.memory.bytes(), &window.unreadable, &candidates)?;
    // Where the previous point is damaged, it cannot contradict.
    let is_known = candidates.first().is_some_and(|entries| !entries.is_empty());
    let examined = examined.filter(|_| is_known && !cut.changed().is_empty());
    let contradicted = examined.map(|said| contradictions(&cut, said, &window.unreadable)).unwrap_or_default();
    Ok(Cut { window, cut, contradicted })
}

/// Chunks that changed, were read, and were said not to have changed.
fn contradictions(cut: &CutWindow, said: &ExtentSet, unreadable: &[Extent]) -> Vec<Extent> {
    let is_read = |chunk: &Extent| unreadable.iter().all(|gap| gap.intersect(chunk).length == 0);
    cut.changed().iter().copied().filter(|chunk| is_read(chunk) && !said.intersects(chunk)).collect()
}

/// Joins extents until the point can hold them; too much is called unreadable rather than too little.
fn coarsen(mut set: ExtentSet) -> ExtentSet {
    let mut granule = 4096;
    while set.count() > MAX_UNREADABLE_EXTENTS {
        set = set.align_outward(granule, u64::MAX);
        granule *= 2;
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_unreadable_ranges_are_joined_and_none_is_dropped() {
        let many: ExtentSet = (0..200_000u64).map(|n| Extent::new(n * 2048, 512)).collect();
        let joined = coarsen(many.clone());
        assert!(joined.count() <= MAX_UNREADABLE_EXTENTS);
        assert!(many.difference(&joined).is_empty());
    }
}
