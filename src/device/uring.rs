//! The io_uring engine: many reads under way from one thread, completions in any order.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::{self, ThreadId};

use nix::libc;

use super::backend::Backend;
use super::file::DeviceFile;
use super::memory::Pool;
use super::request::{Completion, Operation};
use ring::{Ring, RingOptions};

mod ring;

/// How often waiting may be told "busy" in a row before the engine counts as broken.
const MOST_BUSY_ANSWERS: u32 = 10_000;

/// A ring, the operations that the kernel works on, and those that still wait for room in the ring.
#[derive(Debug)]
pub(super) struct Uring {
    ring: Ring,
    waiting: VecDeque<Operation>,
    /// The thread that has enabled the ring; the kernel takes submissions from no other.
    owner: Option<ThreadId>,
}

impl Uring {
    /// Sets up a ring for `entries` reads at once of `source` into `pool`.
    pub(super) fn start(source: &Arc<DeviceFile>, pool: &Arc<Pool>, options: UringOptions) -> io::Result<Self> {
        let UringOptions { entries, registered_buffers, idle_priority } = options;
        let options = RingOptions { entries, registered_buffers, idle_priority };
        Ok(Self { ring: Ring::new(Arc::clone(source), Arc::clone(pool), options)?, waiting: VecDeque::new(), owner: None })
    }

    /// True when the pool is registered with the kernel, so that pages are not pinned anew for each read.
    pub(super) fn has_registered_buffers(&self) -> bool {
        self.ring.has_registered_buffers()
    }

    /// True when the calling thread may use the ring; the first to ask becomes its owner.
    pub(super) fn claim(&mut self) -> io::Result<bool> {
        let caller = thread::current().id();
        if self.owner.is_none() {
            self.ring.enable()?;
            self.owner = Some(caller);
        }
        Ok(self.owner == Some(caller))
    }

    fn fill_ring(&mut self) {
        while let Some(operation) = self.waiting.pop_front() {
            if let Err(operation) = self.ring.push(operation) {
                self.waiting.push_front(operation);
                return;
            }
        }
    }
}

/// How to set up a ring.
#[derive(Debug, Clone, Copy)]
pub(super) struct UringOptions {
    /// Reads in the kernel's hands at once.
    pub(super) entries: u32,
    /// Try to register the pool.
    pub(super) registered_buffers: bool,
    /// Submit in the idle I/O class.
    pub(super) idle_priority: bool,
}

impl Backend for Uring {
    fn submit(&mut self, operation: Operation) {
        self.waiting.push_back(operation);
        self.fill_ring();
    }

    fn wait(&mut self, done: &mut Vec<Completion>) -> io::Result<()> {
        let before = done.len();
        for _ in 0..MOST_BUSY_ANSWERS {
            self.fill_ring();
            let outcome = self.ring.submit_and_wait();
            self.ring.reap(done);
            if done.len() > before {
                return Ok(());
            }
            match outcome {
                Ok(()) => {}
                Err(e) if is_busy(&e) => thread::yield_now(),
                Err(e) => return Err(e),
            }
        }
        Err(io::Error::from_raw_os_error(libc::EBUSY))
    }

    fn in_flight(&self) -> usize {
        self.ring.in_flight() + self.waiting.len()
    }
}

/// A signal came, the kernel is short of memory, or completions must be taken first: asking again is the answer.
fn is_busy(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::EBUSY))
}
