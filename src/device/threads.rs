//! The plain engine: a few threads, each with one blocking positioned read at a time.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::backend::Backend;
use super::file::DeviceFile;
use super::impact;
use super::request::{Completion, Operation};

/// Four blocking reads of 256 KiB keep a disk busy; more threads only wait for the same disk.
pub(super) const MOST_THREADS: usize = 4;

/// Threads that read, fed by a queue. Its length is bounded by the memory pool, as each operation carries a buffer.
#[derive(Debug)]
pub(super) struct Threads {
    /// Gone once the engine is being dropped; then the threads run dry and end.
    work: Option<Sender<Operation>>,
    finished: Receiver<Completion>,
    threads: Vec<JoinHandle<()>>,
    in_flight: usize,
}

impl Threads {
    /// Starts `count` threads reading from `source`, at low priority when `gentle`.
    pub(super) fn start(source: &Arc<DeviceFile>, count: usize, gentle: bool) -> io::Result<Self> {
        let (work, queue) = mpsc::channel();
        let (report, finished) = mpsc::channel();
        let queue = Arc::new(Mutex::new(queue));
        let mut engine = Self { work: Some(work), finished, threads: Vec::new(), in_flight: 0 };
        for number in 0..count.clamp(1, MOST_THREADS) {
            let (source, queue, report) = (Arc::clone(source), Arc::clone(&queue), report.clone());
            let body = move || serve(&source, &queue, &report, gentle);
            engine.threads.push(thread::Builder::new().name(format!("read-{number}")).spawn(body)?);
        }
        Ok(engine)
    }
}

fn serve(source: &DeviceFile, queue: &Mutex<Receiver<Operation>>, report: &Sender<Completion>, gentle: bool) {
    if gentle {
        impact::lower_priority_if_allowed();
    }
    while let Some(mut operation) = next(queue) {
        let offset = operation.offset();
        let result = source.main().read_at(operation.target(), offset);
        if report.send(Completion { operation, result }).is_err() {
            return;
        }
    }
}

/// The lock is held while waiting, so that one idle thread waits for work and the others wait for it.
fn next(queue: &Mutex<Receiver<Operation>>) -> Option<Operation> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

impl Backend for Threads {
    fn submit(&mut self, operation: Operation) {
        // The queue closes only in `drop`; were all threads gone, the next wait would say so.
        if self.work.as_ref().is_some_and(|work| work.send(operation).is_ok()) {
            self.in_flight += 1;
        }
    }

    fn wait(&mut self, done: &mut Vec<Completion>) -> io::Result<()> {
        let first = self.finished.recv().map_err(|_| io::Error::other("all reading threads have ended"))?;
        let before = done.len();
        done.push(first);
        done.extend(self.finished.try_iter());
        self.in_flight -= done.len() - before;
        Ok(())
    }

    fn in_flight(&self) -> usize {
        self.in_flight
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.work = None;
        for thread in self.threads.drain(..) {
            // A thread that panicked has dropped its operation, and the memory went home.
            let _ended = thread.join();
        }
    }
}
