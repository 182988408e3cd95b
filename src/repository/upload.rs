//! Finished packs on their way to the store: a few at a time, and the first failure stops the rest.

use bytes::Bytes;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::error::RepositoryError;
use crate::store::{Created, ObjectKey, Store};

/// Packs waiting or under way, over all threads; what a writer holds in memory is this many packs and the two it fills.
const MAX_PENDING_PER_THREAD: usize = 1;

#[derive(Debug, Default)]
struct Progress {
    pending: usize,
    /// The first failure, until somebody was told.
    error: Option<RepositoryError>,
    /// Some pack is missing, and stays so: nothing that might reach it may be published any more.
    has_failed: bool,
}

#[derive(Debug, Default)]
struct Shared {
    progress: Mutex<Progress>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn done(&self, result: Result<(), RepositoryError>) {
        let mut progress = self.lock();
        progress.pending -= 1;
        if let Err(error) = result {
            progress.has_failed = true;
            progress.error.get_or_insert(error);
        }
        self.changed.notify_all();
    }

    /// Tells of the first failure once, and that there was one for ever.
    fn check(&self) -> Result<(), RepositoryError> {
        let mut progress = self.lock();
        match progress.error.take() {
            Some(error) => Err(error),
            None if progress.has_failed => Err(RepositoryError::Worker { what: "an earlier pack was not stored".to_owned() }),
            None => Ok(()),
        }
    }
}

/// One object on its way. Whoever drops it without an outcome, a thread that dies for instance, has failed: `flush` waits for nobody
/// who does not come.
#[derive(Debug)]
struct Pending {
    shared: Arc<Shared>,
    has_ended: bool,
}

impl Pending {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.lock().pending += 1;
        Self { shared: Arc::clone(shared), has_ended: false }
    }

    fn end(mut self, result: Result<(), RepositoryError>) {
        self.has_ended = true;
        self.shared.done(result);
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.has_ended {
            self.shared.done(Err(RepositoryError::Worker { what: "an upload was given up".to_owned() }));
        }
    }
}

/// What upload threads are handed.
type Parcel = (Pending, ObjectKey, Bytes);

/// Puts objects in the background. With no threads it puts them at once, which makes runs repeatable.
#[derive(Debug)]
pub(crate) struct Uploader {
    store: Arc<dyn Store>,
    queue: Option<SyncSender<Parcel>>,
    threads: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
}

impl Uploader {
    pub(crate) fn new(store: &Arc<dyn Store>, threads: usize) -> Result<Self, RepositoryError> {
        let (queue, work) = sync_channel((threads * MAX_PENDING_PER_THREAD).max(1));
        let work = Arc::new(Mutex::new(work));
        let shared = Arc::new(Shared::default());
        let threads = (0..threads)
            .map(|_| {
                let (store, work, shared) = (Arc::clone(store), Arc::clone(&work), Arc::clone(&shared));
                thread::Builder::new().name("upload".to_owned()).spawn(move || serve(store.as_ref(), &work, &shared))
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| RepositoryError::Worker { what: format!("upload: {error}") })?;
        let queue = Some(queue).filter(|_| !threads.is_empty());
        Ok(Self { store: Arc::clone(store), queue, threads, shared })
    }

    /// Hands over an object. Blocks while too many are under way; fails once any earlier one has failed.
    pub(crate) fn submit(&self, key: ObjectKey, bytes: Bytes) -> Result<(), RepositoryError> {
        self.shared.check()?;
        let pending = Pending::new(&self.shared);
        let Some(queue) = &self.queue else {
            pending.end(put_new(self.store.as_ref(), &key, bytes));
            return self.shared.check();
        };
        queue.send((pending, key, bytes)).map_err(|_| RepositoryError::Worker { what: "upload".to_owned() })
    }

    /// Returns when everything handed over is durable; fails if any of it is not.
    pub(crate) fn flush(&self) -> Result<(), RepositoryError> {
        let mut progress = self.shared.lock();
        while progress.pending > 0 {
            progress = self.shared.changed.wait(progress).unwrap_or_else(PoisonError::into_inner);
        }
        drop(progress);
        self.shared.check()
    }
}

impl Drop for Uploader {
    fn drop(&mut self) {
        self.queue = None;
        for thread in self.threads.drain(..) {
            // A thread that panicked has reported its object as failed, so nothing was committed on its word.
            let _ = thread.join();
        }
    }
}

fn serve(store: &dyn Store, work: &Mutex<Receiver<Parcel>>, shared: &Shared) {
    loop {
        let next = work.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((pending, key, bytes)) = next else { return };
        let failed = shared.lock().has_failed;
        pending.end(if failed { Ok(()) } else { put_new(store, &key, bytes) });
    }
}

fn put_new(store: &dyn Store, key: &ObjectKey, bytes: Bytes) -> Result<(), RepositoryError> {
    match store.put_if_absent(key, bytes)? {
        Created::New => Ok(()),
        Created::AlreadyThere => Err(RepositoryError::NameTaken { object: key.to_string() }),
    }
}
