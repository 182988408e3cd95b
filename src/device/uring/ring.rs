//! The ring itself: set up, submit, reap, drain. The kernel only ever sees memory that this type owns.
#![expect(unsafe_code, reason = "submissions and registrations hand raw addresses to the kernel")]

use std::fmt;
use std::io;
use std::mem;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::thread;

use io_uring::squeue::Entry;
use io_uring::types::Fixed;
use io_uring::{IoUring, Probe, opcode};
use nix::libc;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::super::file::DeviceFile;
use super::super::kernel::IDLE_IO_PRIORITY;
use super::super::memory::Pool;
use super::super::request::{Completion, Operation};

/// Where the source is in the ring's table of registered files.
const SOURCE_FILE: Fixed = Fixed(0);
/// How often draining may fail before memory is left to the kernel for good.
const DRAIN_TRIES: u32 = 1000;

/// How to set up a ring.
#[derive(Debug, Clone, Copy)]
pub(super) struct RingOptions {
    pub(super) entries: u32,
    pub(super) registered_buffers: bool,
    pub(super) idle_priority: bool,
}

/// A ring over one source and one pool.
///
/// `in_flight` holds every operation whose address the kernel may know, at the index that is its user data. An operation leaves it
/// only when its completion has been reaped.
pub(super) struct Ring {
    ring: IoUring,
    in_flight: Vec<Option<Operation>>,
    free: Vec<usize>,
    registered_buffers: bool,
    io_priority: u16,
    /// Open for as long as the ring may read it.
    _source: Arc<DeviceFile>,
    /// Its buffers stay allocated for as long as they are registered.
    _pool: Arc<Pool>,
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { in_flight, free, registered_buffers, .. } = self;
        f.debug_struct("Ring").field("in_flight", &(in_flight.len() - free.len())).field("registered", registered_buffers).finish()
    }
}

impl Ring {
    pub(super) fn new(source: Arc<DeviceFile>, pool: Arc<Pool>, options: RingOptions) -> io::Result<Self> {
        let entries = options.entries.max(1);
        let ring = set_up(entries)?;
        check_operations(&ring)?;
        ring.submitter().register_files(&[source.main().as_raw_fd()])?;
        let registered_buffers = options.registered_buffers && register_buffers(&ring, &pool);
        Ok(Self {
            ring,
            in_flight: (0..entries).map(|_| None).collect(),
            free: (0..entries as usize).collect(),
            registered_buffers,
            io_priority: if options.idle_priority { IDLE_IO_PRIORITY } else { 0 },
            _source: source,
            _pool: pool,
        })
    }

    pub(super) fn has_registered_buffers(&self) -> bool {
        self.registered_buffers
    }

    /// Starts the ring; from here on it belongs to the calling thread.
    pub(super) fn enable(&self) -> io::Result<()> {
        self.ring.submitter().register_enable_rings()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len() - self.free.len()
    }

    /// Queues a read for the next submission; gives the operation back when the ring is full.
    // The operation comes back by value so that a full ring costs no allocation.
    #[expect(clippy::result_large_err, reason = "the error is the caller's own operation, handed back")]
    pub(super) fn push(&mut self, mut operation: Operation) -> Result<(), Operation> {
        let Some(place) = self.free.pop() else { return Err(operation) };
        let entry = self.entry(&mut operation).user_data(place as u64);
        self.in_flight[place] = Some(operation);
        // SAFETY: the entry points into the operation's buffer, which `in_flight` now owns until the completion is reaped. The
        // buffer is heap memory that does not move with the operation.
        if unsafe { self.ring.submission().push(&entry) }.is_ok() {
            return Ok(());
        }
        self.free.push(place);
        self.in_flight[place].take().map_or(Ok(()), Err)
    }

    fn entry(&self, operation: &mut Operation) -> Entry {
        let (offset, index) = (operation.offset(), operation.buffer_index() as u16);
        let target = operation.target();
        let (start, length) = (target.as_mut_ptr(), target.len() as u32);
        if self.registered_buffers {
            opcode::ReadFixed::new(SOURCE_FILE, start, length, index).offset(offset).ioprio(self.io_priority).build()
        } else {
            opcode::Read::new(SOURCE_FILE, start, length).offset(offset).ioprio(self.io_priority).build()
        }
    }

    /// Submits what is queued, and waits for one completion.
    pub(super) fn submit_and_wait(&self) -> io::Result<()> {
        self.ring.submit_and_wait(1).map(drop)
    }

    /// Takes all completions that have arrived.
    pub(super) fn reap(&mut self, done: &mut Vec<Completion>) {
        for entry in self.ring.completion() {
            let place = entry.user_data() as usize;
            let Some(operation) = self.in_flight.get_mut(place).and_then(Option::take) else { continue };
            self.free.push(place);
            let result = usize::try_from(entry.result()).map_err(|_| io::Error::from_raw_os_error(-entry.result()));
            done.push(Completion { operation, result });
        }
    }

    /// Waits for everything under way; true when nothing is left.
    fn drain(&mut self) -> bool {
        let mut done = Vec::new();
        for _ in 0..DRAIN_TRIES {
            if self.in_flight() == 0 {
                return true;
            }
            if self.submit_and_wait().is_err() {
                thread::yield_now();
            }
            self.reap(&mut done);
            done.clear();
        }
        self.in_flight() == 0
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if !self.drain() {
            // The kernel may still write into these buffers: losing the memory is the lesser evil.
            mem::forget(mem::take(&mut self.in_flight));
        }
    }
}

/// Builds a ring, disabled until its owner enables it, with the newest flags that this kernel takes.
fn set_up(entries: u32) -> io::Result<IoUring> {
    let newest =
        IoUring::builder().setup_single_issuer().setup_coop_taskrun().setup_defer_taskrun().setup_r_disabled().build(entries);
    let older = |_| IoUring::builder().setup_coop_taskrun().setup_r_disabled().build(entries);
    let oldest = |_| IoUring::builder().setup_r_disabled().build(entries);
    newest.or_else(older).or_else(oldest)
}

fn check_operations(ring: &IoUring) -> io::Result<()> {
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    let is_complete = [opcode::Read::CODE, opcode::ReadFixed::CODE].into_iter().all(|code| probe.is_supported(code));
    if is_complete { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::ENOSYS)) }
}

/// Registers the whole pool; false when the kernel refuses, mostly for the limit of locked memory.
fn register_buffers(ring: &IoUring, pool: &Pool) -> bool {
    let places = pool.places();
    let vectors: Vec<_> =
        places.iter().map(|place| libc::iovec { iov_base: place.address as *mut libc::c_void, iov_len: place.length }).collect();
    let bytes = places.iter().map(|place| place.length as u64).sum();
    // SAFETY: the pool frees its buffers only when it is dropped itself, and the ring keeps it alive; the fields of `Ring` are
    // dropped in order, the ring first.
    let register = || unsafe { ring.submitter().register_buffers(&vectors) };
    register().is_ok() || (allow_locked(bytes) && register().is_ok())
}

/// Raises the limit of locked memory by `bytes`, as far as this process may.
fn allow_locked(bytes: u64) -> bool {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_MEMLOCK) else { return false };
    let wanted = soft.saturating_add(bytes);
    setrlimit(Resource::RLIMIT_MEMLOCK, wanted, hard.max(wanted)).is_ok()
        || (soft < hard && setrlimit(Resource::RLIMIT_MEMLOCK, wanted.min(hard), hard).is_ok())
}
