//! One window being read: which pieces are still to do, and what each outcome of a piece means. Pure bookkeeping.
//!
//! ```text
//!   window ── read whole ─┬─ all bytes ──────────────> delivered
//!                         ├─ fewer ── the rest again ─> ...       no progress: the source ended here
//!                         └─ error ── 64 KiB pieces ── 4 KiB pieces ── logical blocks ── again ─> unreadable
//! ```

use std::io;
use std::ops::Range;
use std::time::Duration;

use nix::libc;

use super::memory::{Lease, Slot};
use crate::base::extent::{Extent, ExtentSet};
use crate::base::io::Window;

/// Lengths that an unreadable piece is cut down to, one after the other, before single logical blocks.
const NARROWING: [u64; 2] = [64 * 1024, 4 * 1024];
/// How often one logical block is read again: a drive has retried inside already, and a dying one should not be worn further.
const BLOCK_RETRIES: u8 = 1;
/// How often a piece may come back interrupted, or without progress, before that is taken for an answer.
const STALL_RETRIES: u8 = 16;
/// How often a read at the same place may return nothing before the source counts as ended there.
const END_RETRIES: u8 = 2;

/// A part of the window, relative to the start of its buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) at: usize,
    pub(super) length: usize,
    attempts: u8,
}

impl Piece {
    fn again(self) -> Self {
        Self { attempts: self.attempts + 1, ..self }
    }
}

/// A window on its way: its memory, and what is left to read into it.
#[derive(Debug)]
pub(super) struct Request {
    extent: Extent,
    /// The aligned range on the device that fills the buffer from its start.
    span: Extent,
    alignment: u64,
    todo: Vec<Piece>,
    unreadable: Vec<Extent>,
    memory: Slot,
}

/// One read handed to an engine. It owns the memory until the engine hands it back.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) request: Request,
    pub(super) piece: Piece,
    /// When it was handed over, on the monotonic clock.
    pub(super) began: Duration,
}

impl Operation {
    /// Where on the device it reads.
    pub(super) fn offset(&self) -> u64 {
        self.request.span.offset + self.piece.at as u64
    }

    /// Which buffer of the pool it reads into.
    pub(super) fn buffer_index(&self) -> usize {
        self.request.memory.index()
    }

    /// The memory to fill.
    pub(super) fn target(&mut self) -> &mut [u8] {
        let Piece { at, length, .. } = self.piece;
        self.request.memory.bytes_mut().get_mut(at..at + length).unwrap_or(&mut [])
    }
}

/// A read that has come back.
#[derive(Debug)]
pub(super) struct Completion {
    pub(super) operation: Operation,
    pub(super) result: io::Result<usize>,
}

impl Request {
    /// Plans to read `extent` into `memory`, at most `piece_bytes` at a time.
    pub(super) fn new(extent: Extent, alignment: u64, piece_bytes: u64, memory: Slot) -> Self {
        let span = extent.align_outward(alignment);
        let mut request = Self { extent, span, alignment, todo: Vec::new(), unreadable: Vec::new(), memory };
        request.plan(span, piece_bytes);
        request
    }

    /// Bytes the buffer must hold for any extent of `window` bytes.
    pub(super) fn buffer_bytes(window: u64, alignment: u64) -> usize {
        (window + 2 * alignment) as usize
    }

    /// The next piece to read; `None` when the window is finished, or its last piece is still away.
    pub(super) fn next_piece(&mut self) -> Option<Piece> {
        self.todo.pop()
    }

    /// True when nothing is left to read.
    pub(super) fn is_finished(&self) -> bool {
        self.todo.is_empty()
    }

    /// The window, with its memory.
    pub(super) fn into_window(self) -> Window {
        let wanted = self.wanted();
        let unreadable: ExtentSet = self.unreadable.into_iter().collect();
        Window {
            extent: self.extent,
            memory: Box::new(Lease::new(self.memory, wanted)),
            unreadable: unreadable.as_slice().to_vec(),
        }
    }

    /// Takes in how reading `piece` ended. An error means that the engine failed, not the medium.
    pub(super) fn settle(&mut self, piece: Piece, result: io::Result<usize>) -> io::Result<()> {
        match result {
            Ok(count) => self.settle_bytes(piece, count.min(piece.length)),
            Err(e) if is_passing(&e) && piece.attempts < STALL_RETRIES => self.todo.push(piece.again()),
            Err(e) if is_engine_fault(&e) => return Err(e),
            Err(_) => self.settle_unreadable(piece),
        }
        Ok(())
    }

    fn settle_bytes(&mut self, piece: Piece, count: usize) {
        let end = piece.at + count;
        if count == piece.length || end >= self.wanted().end {
            return;
        }
        // Direct I/O starts on a block only, so a broken block is read again from its start.
        let whole = count - count % self.alignment as usize;
        let retries = if count == 0 { END_RETRIES } else { STALL_RETRIES };
        if whole > 0 {
            self.todo.push(Piece { at: piece.at + whole, length: piece.length - whole, attempts: 0 });
        } else if piece.attempts < retries {
            self.todo.push(piece.again());
        } else {
            self.lose(end..piece.at + piece.length);
        }
    }

    fn settle_unreadable(&mut self, piece: Piece) {
        let length = piece.length as u64;
        if length > self.alignment {
            let narrower = NARROWING.into_iter().find(|step| *step < length && *step >= self.alignment);
            self.plan(self.on_device(piece.at..piece.at + piece.length), narrower.unwrap_or(self.alignment));
        } else if piece.attempts < BLOCK_RETRIES {
            self.todo.push(piece.again());
        } else {
            self.lose(piece.at..piece.at + piece.length);
        }
    }

    /// Queues `range` in pieces cut at multiples of `piece_bytes`, the first on top.
    fn plan(&mut self, range: Extent, piece_bytes: u64) {
        let begin = self.todo.len();
        let start = self.span.offset;
        let pieces = range.cut(piece_bytes.max(self.alignment));
        let piece = |cut: Extent| Piece { at: (cut.offset - start) as usize, length: cut.length as usize, attempts: 0 };
        self.todo.extend(pieces.map(piece));
        self.todo[begin..].reverse();
    }

    /// Gives up on a range: it is zero in memory, and named where it was wanted.
    fn lose(&mut self, range: Range<usize>) {
        if let Some(bytes) = self.memory.bytes_mut().get_mut(range.clone()) {
            bytes.fill(0);
        }
        let lost = self.on_device(range).intersect(&self.extent);
        if !lost.is_empty() {
            self.unreadable.push(lost);
        }
    }

    fn on_device(&self, range: Range<usize>) -> Extent {
        Extent::new(self.span.offset + range.start as u64, range.len() as u64)
    }

    /// The wanted bytes within the buffer.
    fn wanted(&self) -> Range<usize> {
        let head = (self.extent.offset - self.span.offset) as usize;
        head..head + self.extent.length as usize
    }
}

/// Worth doing again as it is.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::ENOMEM))
}

/// We asked wrongly, or the system cannot serve us at all. Anything else counts against the bytes.
fn is_engine_fault(error: &io::Error) -> bool {
    match error.raw_os_error() {
        Some(code) => matches!(
            code,
            libc::EBADF | libc::EFAULT | libc::EINVAL | libc::ENOMEM | libc::ENOSYS | libc::EOPNOTSUPP | libc::EPERM | libc::EACCES
        ),
        None => true,
    }
}
