//! Live capture: what is written while a mounted volume is read is read again, until so little is left that it can be frozen meanwhile.
//!
//! ```text
//!   everything that is due ─► what was written meanwhile ─► ... ─► little: into memory ─► freeze ─► the last, too ─► thaw ─► store both
//! ```
//! The point then holds the volume as it was while it was frozen. If writers outrun the rounds, it holds different moments, and says so.

use std::mem;
use std::ops::ControlFlow;
use std::time::Duration;

use super::pipeline::{Pipeline, ReadOutcome};
use super::plan::Plan;
use crate::base::extent::{Extent, ExtentSet};
use crate::base::io::{BulkRead, IoError, Window};
use crate::job::JobError;
use crate::repository::PointWriter;
use crate::repository::format::changes::Word;

/// What was written, or why that is not known.
pub type Written = Result<ExtentSet, String>;

/// A mounted volume whose writes are tracked, and that can be frozen.
pub trait LiveVolume {
    /// What was written since this was last asked, or since the cut that the backup counts from.
    fn written(&mut self) -> Result<Written, JobError>;

    /// Freezes it, and says what was written since that was last asked. `before` is done when all is ready for it, and the less is
    /// written from then on, the shorter writers wait. Nothing is frozen after an error.
    fn freeze(&mut self, before: &mut dyn FnMut() -> Result<(), JobError>) -> Result<Written, JobError>;

    /// Thaws it, and says for how long it was frozen; `Err` with the reason if it may not have been all the time.
    fn thaw(&mut self) -> Result<Result<Duration, String>, JobError>;

    /// What the last cut is called.
    fn cut_name(&self) -> Option<Word>;
}

/// How a live capture went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LiveReport {
    /// How often what had been written meanwhile was read again.
    pub rounds: u32,
    /// For how long it was frozen, all in all.
    pub frozen: Duration,
    /// Why the point is not as at one moment; none if it is.
    pub not_converged: Option<String>,
}

/// So little is held in memory, and read in the time of a few writes. Storing it would take longer than reading it.
const LITTLE_BYTES: u64 = 32 << 20;
/// No more than this is read, and held in memory as well, while writers wait.
const MOST_FROZEN_BYTES: u64 = 16 << 20;
/// Rounds, rounds in a row that left no less than an earlier one, and attempts to freeze, after which writers have won.
const MOST_ROUNDS: u32 = 12;
const MOST_VAIN_ROUNDS: u32 = 3;
const MOST_FREEZES: u32 = 4;

/// What a capture works with.
pub(super) struct Capture<'a> {
    pub(super) live: &'a mut dyn LiveVolume,
    /// What was written until an audit asked.
    pub(super) pending: ExtentSet,
    pub(super) pipeline: &'a Pipeline<'a>,
    pub(super) size: u64,
    pub(super) chunk_bytes: u32,
    pub(super) window_bytes: u64,
}

impl Capture<'_> {
    /// Reads again what was written, until the volume stands still.
    pub(super) fn run(
        mut self,
        reader: &mut dyn BulkRead,
        writer: &mut PointWriter,
        outcome: &mut ReadOutcome,
    ) -> Result<Captured, JobError> {
        let mut report = LiveReport::default();
        let end = self.converge(reader, writer, outcome, &mut report)?;
        // The next backup counts from the last cut only if all that was written before it is in this point.
        let cut_name = self.live.cut_name().filter(|_| !matches!(end, End::Lost(_)));
        report.not_converged = match end {
            End::Converged => None,
            End::Outrun(reason) | End::Lost(reason) => Some(reason),
        };
        Ok(Captured { report, cut_name })
    }

    fn converge(
        &mut self,
        reader: &mut dyn BulkRead,
        writer: &mut PointWriter,
        outcome: &mut ReadOutcome,
        report: &mut LiveReport,
    ) -> Result<End, JobError> {
        let (mut freezes, mut vain, mut least, mut last) = (0, 0, u64::MAX, u64::MAX);
        let mut due = match self.written()? {
            Ok(written) => self.plan(&written),
            Err(reason) => return Ok(End::Lost(reason)),
        };
        loop {
            report.rounds += 1;
            let bytes = due.bytes();
            vain = if bytes > LITTLE_BYTES && bytes >= least { vain + 1 } else { 0 };
            least = least.min(bytes);
            if report.rounds > MOST_ROUNDS || vain == MOST_VAIN_ROUNDS {
                self.read(&due, reader, writer, outcome)?;
                let reason = format!("writers are quicker than reading: {bytes} bytes were written while {last} were read");
                return Ok(End::Outrun(reason));
            }
            last = bytes;
            let written = if bytes <= LITTLE_BYTES && freezes < MOST_FREEZES {
                freezes += 1;
                match self.freeze(&due, reader, writer, outcome, report)? {
                    Frozen::Done => return Ok(End::Converged),
                    Frozen::Lost(reason) => return Ok(End::Lost(reason)),
                    Frozen::TooMuch(written) => written,
                }
            } else {
                self.read(&due, reader, writer, outcome)?;
                match self.live.written()? {
                    Ok(written) => written,
                    Err(reason) => return Ok(End::Lost(reason)),
                }
            };
            due = self.plan(&written);
        }
    }

    /// What was written since the backup began, what an audit has asked for included.
    fn written(&mut self) -> Result<Written, JobError> {
        Ok(self.live.written()?.map(|written| written.union(&self.pending)))
    }

    fn plan(&self, written: &ExtentSet) -> Plan {
        Plan::again(written, self.size, self.chunk_bytes)
    }

    /// One more round; what can be read now is not unreadable any more.
    fn read(
        &self,
        plan: &Plan,
        reader: &mut dyn BulkRead,
        writer: &mut PointWriter,
        outcome: &mut ReadOutcome,
    ) -> Result<(), JobError> {
        writer.next_round()?;
        let again = self.pipeline.run(reader, plan.windows(self.window_bytes), &ExtentSet::new(), writer)?;
        outcome.read_bytes += again.read_bytes;
        outcome.unreadable = outcome.unreadable.difference(&plan.extents()).union(&again.unreadable);
        Ok(())
    }

    /// Takes what is `due` into memory, freezes, and takes the last of what was written. Only then is it stored: nobody waits for the
    /// repository.
    fn freeze(
        &mut self,
        due: &Plan,
        reader: &mut dyn BulkRead,
        writer: &mut PointWriter,
        outcome: &mut ReadOutcome,
        report: &mut LiveReport,
    ) -> Result<Frozen, JobError> {
        let mut before = Taken::default();
        let written =
            self.live.freeze(&mut || take(reader, due, self.window_bytes).map(|taken| before = taken).map_err(JobError::from))?;
        let plan = written.as_ref().ok().map(|written| self.plan(written)).filter(|plan| plan.bytes() <= MOST_FROZEN_BYTES);
        let taken = plan.as_ref().map(|plan| take(reader, plan, self.window_bytes)).transpose();
        let thawed = self.live.thaw()?;
        report.frozen += thawed.as_ref().copied().unwrap_or_default();
        self.read(due, &mut before, writer, outcome)?;
        match (written, plan, taken?, thawed) {
            (Err(reason), ..) | (.., Err(reason)) => Ok(Frozen::Lost(reason)),
            (Ok(_), Some(plan), Some(mut taken), Ok(_)) => self.read(&plan, &mut taken, writer, outcome).map(|()| Frozen::Done),
            (Ok(written), ..) => Ok(Frozen::TooMuch(written)),
        }
    }
}

/// A capture that has ended.
pub(super) struct Captured {
    pub(super) report: LiveReport,
    /// What the next backup can count from.
    pub(super) cut_name: Option<Word>,
}

/// How it ended.
enum End {
    /// The point holds one moment.
    Converged,
    /// It holds different moments, and all that was written until the last cut.
    Outrun(String),
    /// It is not known what it holds.
    Lost(String),
}

/// What came of freezing.
enum Frozen {
    /// The point holds the volume as it was.
    Done,
    /// More was written than may be read meanwhile.
    TooMuch(ExtentSet),
    /// It is not known what it held.
    Lost(String),
}

/// Bytes that were read while a volume was frozen.
#[derive(Debug, Default)]
struct Taken {
    size: u64,
    window_bytes: u64,
    /// By offset.
    windows: Vec<(Extent, Vec<u8>, Vec<Extent>)>,
}

fn take(reader: &mut dyn BulkRead, plan: &Plan, window_bytes: u64) -> Result<Taken, IoError> {
    let mut windows = Vec::new();
    reader.read(&mut plan.windows(window_bytes), &mut |window| {
        windows.push((window.extent, window.memory.bytes().to_vec(), window.unreadable));
        ControlFlow::Continue(())
    })?;
    Ok(Taken { size: reader.size(), window_bytes, windows })
}

impl BulkRead for Taken {
    fn size(&self) -> u64 {
        self.size
    }

    fn window_bytes(&self) -> u64 {
        self.window_bytes
    }

    fn read(
        &mut self,
        plan: &mut dyn Iterator<Item = Extent>,
        deliver: &mut dyn FnMut(Window) -> ControlFlow<()>,
    ) -> Result<(), IoError> {
        self.windows.sort_by_key(|(extent, ..)| extent.offset);
        for extent in plan {
            let found = self.windows.binary_search_by_key(&extent.offset, |(extent, ..)| extent.offset);
            let window = found.ok().and_then(|index| self.windows.get_mut(index)).filter(|(known, ..)| *known == extent);
            let Some((_, bytes, unreadable)) = window else {
                return Err(IoError::OutOfRange { extent, size: self.size });
            };
            let (bytes, unreadable) = (mem::take(bytes), mem::take(unreadable));
            if deliver(Window { extent, memory: Box::new(bytes), unreadable }).is_break() {
                return Err(IoError::Cancelled);
            }
        }
        Ok(())
    }
}
