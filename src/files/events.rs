//! What comes of a file that is being read, handed from the engine to whoever keeps it.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use super::attributes::Attribute;
use super::facts::Facts;
use super::open::ReadFailure;
use crate::base::extent::Extent;

/// Events of one file that wait to be taken. With pieces of 1 MiB, a file holds two of them in memory: this one and the next.
const WAITING: usize = 1;

/// A file that was opened.
#[derive(Debug, Clone)]
pub struct Opened {
    /// A look at it before anything was read.
    pub facts: Facts,
    /// Its extended attributes, sorted by name.
    pub attributes: Vec<Attribute>,
    /// Where it has data, if it has holes.
    pub runs: Option<Vec<Extent>>,
}

/// A short file.
#[derive(Debug)]
pub struct WholeFile {
    /// How it was found.
    pub opened: Opened,
    /// All its bytes, holes as zeros; fewer than its length if it was cut meanwhile.
    pub bytes: Vec<u8>,
    /// A look at it afterwards.
    pub after: Facts,
}

/// What comes of a file: either [`Event::Whole`], or a beginning, pieces, and an end. A failure may come at any time and is the last.
#[derive(Debug)]
pub enum Event {
    /// A short file, all at once.
    Whole(Box<WholeFile>),
    /// A longer one begins.
    Begins(Box<Opened>),
    /// Bytes of it; ascending.
    Bytes {
        /// Where in the file.
        offset: u64,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// It was read as far as it is long, or was when it began; a look at it afterwards.
    Ends(Box<Facts>),
    /// It cannot be read.
    Failed(ReadFailure),
}

/// A file that is being read. Dropping it stops the reading.
#[derive(Debug)]
pub struct Reading(Arc<Pipe>);

/// The other end.
#[derive(Debug)]
pub(super) struct Teller(Arc<Pipe>);

#[derive(Debug, Default)]
struct Pipe {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Event>,
    /// Nobody tells any more.
    ended: bool,
    /// Nobody listens any more.
    dropped: bool,
    waker: Option<Waker>,
}

impl Pipe {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, mut state: MutexGuard<'_, State>) {
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        self.changed.notify_all();
    }
}

/// Both ends.
pub(super) fn reading() -> (Teller, Reading) {
    let pipe = Arc::new(Pipe::default());
    (Teller(Arc::clone(&pipe)), Reading(pipe))
}

impl Iterator for Reading {
    type Item = Event;

    /// Waits for the next event; there is none after the last one.
    fn next(&mut self) -> Option<Event> {
        let mut state = self.0.lock();
        loop {
            if let Some(event) = state.waiting.pop_front() {
                self.0.wake(state);
                return Some(event);
            }
            if state.ended {
                return None;
            }
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.dropped = true;
        state.waiting.clear();
        self.0.wake(state);
    }
}

impl Teller {
    /// Hands an event over as soon as there is room; false if nobody wants it.
    pub(super) fn tell(&self, event: Event) -> bool {
        let mut state = self.0.lock();
        while !state.dropped && state.waiting.len() >= WAITING {
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        self.put(state, event)
    }

    /// The same for a task that must not block its thread.
    pub(super) async fn tell_later(&self, event: Event) -> bool {
        let mut event = Some(event);
        poll_fn(|context| {
            let mut state = self.0.lock();
            if !state.dropped && state.waiting.len() >= WAITING {
                state.waker = Some(context.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(event.take().is_some_and(|event| self.put(state, event)))
        })
        .await
    }

    fn put(&self, mut state: MutexGuard<'_, State>, event: Event) -> bool {
        if state.dropped {
            return false;
        }
        state.waiting.push_back(event);
        drop(state);
        self.0.changed.notify_all();
        true
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.changed.notify_all();
    }
}
