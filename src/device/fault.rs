//! Reads that go wrong on purpose, for tests: a wrapper around any engine.

use std::collections::BTreeMap;
use std::io;

use nix::libc;

use super::backend::Backend;
use super::request::{Completion, Operation};
use crate::base::extent::{Extent, ExtentSet};

/// What happens to one completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Only the first bytes count as read; the others are scribbled over.
    Short(usize),
    /// The read fails with this error number.
    Errno(i32),
}

/// Which completions go wrong, and how.
#[derive(Debug, Clone, Default)]
pub struct FaultScript {
    /// By number of the completion, from zero.
    pub at: BTreeMap<u64, Fault>,
    /// Reads that touch these bytes fail with EIO, always.
    pub bad: ExtentSet,
    /// Reads end here, as if the source had been cut off.
    pub ends_at: Option<u64>,
    /// Waiting fails, once, at this completion; the engine then counts as broken.
    pub breaks_at: Option<u64>,
    /// Completions seen so far.
    pub seen: u64,
}

/// What bytes that do not count are overwritten with, so that nobody can use them unnoticed.
const SCRIBBLE: u8 = 0xA5;

/// An engine whose completions go wrong as the script says.
#[derive(Debug)]
pub(super) struct Faulty<'a> {
    inner: &'a mut dyn Backend,
    script: &'a mut FaultScript,
}

impl<'a> Faulty<'a> {
    pub(super) fn new(inner: &'a mut dyn Backend, script: &'a mut FaultScript) -> Self {
        Self { inner, script }
    }
}

impl FaultScript {
    fn spoil(&mut self, completion: &mut Completion) {
        let operation = &mut completion.operation;
        let (offset, length) = (operation.offset(), operation.target().len() as u64);
        let extent = Extent::new(offset, length);
        if self.bad.intersects(&extent) {
            fail(completion, libc::EIO);
        } else if let Some(end) = self.ends_at.filter(|end| *end < extent.end()) {
            shorten(completion, end.saturating_sub(offset) as usize);
        }
        match self.at.remove(&self.seen) {
            Some(Fault::Short(bytes)) => shorten(completion, bytes),
            Some(Fault::Errno(number)) => fail(completion, number),
            None => {}
        }
        self.seen += 1;
    }
}

fn shorten(completion: &mut Completion, bytes: usize) {
    if let Ok(count) = &mut completion.result {
        *count = bytes.min(*count);
        let count = *count;
        scribble(&mut completion.operation, count);
    }
}

fn fail(completion: &mut Completion, number: i32) {
    scribble(&mut completion.operation, 0);
    completion.result = Err(io::Error::from_raw_os_error(number));
}

fn scribble(operation: &mut Operation, from: usize) {
    if let Some(bytes) = operation.target().get_mut(from..) {
        bytes.fill(SCRIBBLE);
    }
}

impl Backend for Faulty<'_> {
    fn submit(&mut self, operation: Operation) {
        self.inner.submit(operation);
    }

    fn wait(&mut self, done: &mut Vec<Completion>) -> io::Result<()> {
        if self.script.breaks_at.is_some_and(|at| self.script.seen >= at) {
            return Err(io::Error::from_raw_os_error(libc::EBADFD));
        }
        let before = done.len();
        self.inner.wait(done)?;
        for completion in &mut done[before..] {
            self.script.spoil(completion);
        }
        Ok(())
    }

    fn in_flight(&self) -> usize {
        self.inner.in_flight()
    }
}
