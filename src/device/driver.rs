//! The read loop that all engines share: plan, pace, submit, settle, deliver. It knows no kernel interface.

use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;
use std::time::Duration;
use std::{mem, sync::Arc};

use nix::libc;

use super::backend::Backend;
use super::file::{self, DeviceFile};
use super::memory::{Pool, Slot};
use super::neighbours::NeighbourWatch;
use super::pacing::{Admission, Pacer};
use super::request::{Completion, Operation, Request};
use crate::base::clock::Clock;
use crate::base::extent::Extent;
use crate::base::io::{IoError, Window};

/// What one bulk read works with.
#[derive(Debug)]
pub(super) struct Driver<'a> {
    pub(super) source: &'a DeviceFile,
    pub(super) pool: &'a Arc<Pool>,
    pub(super) pacer: &'a mut Pacer,
    pub(super) watch: Option<&'a mut NeighbourWatch>,
    pub(super) clock: &'a dyn Clock,
    pub(super) window_bytes: u64,
}

/// What the loop can do next.
enum Turn {
    Submit(Operation),
    Reap,
    AwaitMemory,
    AwaitTokens(Duration),
    Finished,
}

/// The part of the plan that is neither delivered nor with the backend.
struct Work<'p> {
    plan: &'p mut dyn Iterator<Item = Extent>,
    /// The rest of an extent that was longer than a window, or that waits for memory.
    next: Option<Extent>,
    /// Windows that have more pieces to read.
    unfinished: VecDeque<Request>,
}

impl Driver<'_> {
    /// Reads the plan. Nothing is left under way unless the backend itself has failed; then dropping the backend waits for it.
    pub(super) fn run(
        &mut self,
        backend: &mut dyn Backend,
        plan: &mut dyn Iterator<Item = Extent>,
        deliver: &mut dyn FnMut(Window) -> ControlFlow<()>,
    ) -> Result<(), IoError> {
        let outcome = self.work_off(backend, plan, deliver);
        let drained = drain(backend).map_err(engine_failed);
        outcome.and(drained)
    }

    fn work_off(
        &mut self,
        backend: &mut dyn Backend,
        plan: &mut dyn Iterator<Item = Extent>,
        deliver: &mut dyn FnMut(Window) -> ControlFlow<()>,
    ) -> Result<(), IoError> {
        let mut work = Work { plan, next: None, unfinished: VecDeque::new() };
        let mut done = Vec::new();
        loop {
            match self.turn(backend.in_flight(), &mut work)? {
                Turn::Submit(operation) => backend.submit(operation),
                Turn::Reap => {
                    backend.wait(&mut done).map_err(engine_failed)?;
                    self.settle_all(&mut done, &mut work, deliver)?;
                }
                Turn::AwaitMemory => self.pool.wait(),
                Turn::AwaitTokens(delay) => self.clock.sleep(delay),
                Turn::Finished => return Ok(()),
            }
        }
    }

    /// Submits while it may; otherwise takes completions; otherwise waits for what is missing.
    fn turn(&mut self, in_flight: usize, work: &mut Work<'_>) -> Result<Turn, IoError> {
        let or_reap = |turn| if in_flight > 0 { Turn::Reap } else { turn };
        let now = self.clock.monotonic();
        if in_flight >= self.pacer.depth(now) {
            return Ok(Turn::Reap);
        }
        if work.unfinished.is_empty() && !self.has_next(work)? {
            return Ok(or_reap(Turn::Finished));
        }
        if let Admission::After(delay) = self.pacer.admission(now) {
            return Ok(or_reap(Turn::AwaitTokens(delay)));
        }
        let Some(mut request) = work.unfinished.pop_front().or_else(|| self.begin(work, now)) else {
            return Ok(or_reap(Turn::AwaitMemory));
        };
        // A request is queued only while it has a piece left.
        let Some(piece) = request.next_piece() else { return Ok(or_reap(Turn::Reap)) };
        self.pacer.spend(piece.length as u64, now);
        Ok(Turn::Submit(Operation { request, piece, began: now }))
    }

    /// Moves the plan on until there is an extent to read.
    fn has_next(&self, work: &mut Work<'_>) -> Result<bool, IoError> {
        while work.next.is_none_or(|extent| extent.is_empty()) {
            work.next = work.plan.next();
            match work.next {
                Some(extent) => file::check_range(extent, self.source.geometry().size)?,
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Starts the next window, if there is memory for it.
    fn begin(&self, work: &mut Work<'_>, now: Duration) -> Option<Request> {
        let extent = work.next?;
        let slot: Slot = self.pool.take()?;
        let window = Extent::new(extent.offset, extent.length.min(self.window_bytes));
        work.next = Some(Extent::between(window.end(), extent.end()));
        Some(Request::new(window, self.source.alignment(), self.pacer.piece_bytes(now), slot))
    }

    fn settle_all(
        &mut self,
        done: &mut Vec<Completion>,
        work: &mut Work<'_>,
        deliver: &mut dyn FnMut(Window) -> ControlFlow<()>,
    ) -> Result<(), IoError> {
        let now = self.clock.monotonic();
        if let Some(counters) = self.watch.as_mut().and_then(|watch| watch.look(now)) {
            self.pacer.look(counters, now);
        }
        for completion in mem::take(done) {
            let request = self.settle(completion, now)?;
            if !request.is_finished() {
                work.unfinished.push_back(request);
                continue;
            }
            let window = request.into_window();
            self.source.forget(window.extent);
            if deliver(window).is_break() {
                return Err(IoError::Cancelled);
            }
        }
        Ok(())
    }

    fn settle(&mut self, completion: Completion, now: Duration) -> Result<Request, IoError> {
        let Completion { mut operation, mut result } = completion;
        self.pacer.completed(operation.piece.length as u64, now.saturating_sub(operation.began), now);
        let extent = Extent::new(operation.offset(), operation.piece.length as u64);
        if self.source.is_direct() && is_refused_as_unaligned(&result) {
            // The last bytes of a device that is not whole blocks, or a filesystem that promised a finer alignment than it keeps.
            let offset = operation.offset();
            result = self.source.read_buffered(operation.target(), offset);
        }
        let Operation { mut request, piece, .. } = operation;
        request.settle(piece, result).map_err(|source| IoError::Os { act: "read", extent, source })?;
        Ok(request)
    }
}

fn is_refused_as_unaligned(result: &io::Result<usize>) -> bool {
    result.as_ref().is_err_and(|e| e.raw_os_error() == Some(libc::EINVAL))
}

fn drain(backend: &mut dyn Backend) -> io::Result<()> {
    let mut done = Vec::new();
    while backend.in_flight() > 0 {
        backend.wait(&mut done)?;
        done.clear();
    }
    Ok(())
}

fn engine_failed(source: io::Error) -> IoError {
    IoError::Os { act: "wait for reads of", extent: Extent::new(0, 0), source }
}
