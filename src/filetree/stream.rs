//! Bytes put at places, ascending, and handed on as windows of whole chunks.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::{fmt, mem};

use super::error::FileTreeError;
use crate::base::extent::Extent;
use crate::base::io::{Window, WindowMemory};

/// Windows under way at once. With windows of 256 KiB this is 16 MiB.
const WINDOWS: usize = 64;

/// Takes what is laid, in one ascending order. False ends the run.
pub trait LayOut {
    /// Whole chunks of bytes.
    fn window(&mut self, window: Window) -> bool;
    /// Whole chunks that become holes.
    fn omit(&mut self, extent: Extent) -> bool;
}

/// Puts bytes at places.
pub(super) struct Stream<'a> {
    out: &'a mut dyn LayOut,
    chunk: u64,
    window: u64,
    /// Memory that comes back when a window is done with.
    idle: Receiver<Vec<u8>>,
    give_back: Sender<Vec<u8>>,
    lent: usize,
    current: Option<Current>,
}

/// The window that is being filled.
struct Current {
    start: u64,
    filled: Extent,
    bytes: Vec<u8>,
}

impl fmt::Debug for Stream<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("chunk", &self.chunk).field("window", &self.window).finish_non_exhaustive()
    }
}

impl<'a> Stream<'a> {
    pub(super) fn new(out: &'a mut dyn LayOut, chunk: u64, window: u64) -> Self {
        let (give_back, idle) = channel();
        Self { out, chunk, window, idle, give_back, lent: 0, current: None }
    }

    /// Puts bytes at a place, which is behind all before it.
    pub(super) fn put(&mut self, mut place: u64, mut bytes: &[u8]) -> Result<(), FileTreeError> {
        while !bytes.is_empty() {
            let start = place - place % self.window;
            if self.current.as_ref().is_some_and(|current| current.start != start || self.leaves_out_chunks(current, place)) {
                self.flush()?;
            }
            let room = start + self.window - place;
            let (now, later) = bytes.split_at(to_index(room).min(bytes.len()));
            let current = match &mut self.current {
                Some(current) => current,
                None => {
                    let bytes = self.memory();
                    self.current.insert(Current { start, filled: Extent::new(place, 0), bytes })
                }
            };
            let at = to_index(place - start);
            if let Some(out) = current.bytes.get_mut(at..at + now.len()) {
                out.copy_from_slice(now);
            }
            place += now.len() as u64;
            current.filled = Extent::between(current.filled.offset, place);
            bytes = later;
        }
        Ok(())
    }

    /// Chunks between what was put and `place` stay what they are; a window must not cover them.
    fn leaves_out_chunks(&self, current: &Current, place: u64) -> bool {
        place >= current.filled.end().next_multiple_of(self.chunk).saturating_add(self.chunk)
    }

    /// Makes whole chunks a hole.
    pub(super) fn omit(&mut self, extent: Extent) -> Result<(), FileTreeError> {
        if extent.is_empty() {
            return Ok(());
        }
        self.flush()?;
        if self.out.omit(extent) { Ok(()) } else { Err(FileTreeError::Stopped) }
    }

    /// Hands on what was put until now.
    pub(super) fn flush(&mut self) -> Result<(), FileTreeError> {
        let Some(Current { start, filled, bytes }) = self.current.take() else { return Ok(()) };
        let extent = filled.align_outward(self.chunk);
        let from = to_index(extent.offset - start);
        let memory = Lent { bytes, from, length: to_index(extent.length), give_back: self.give_back.clone() };
        let window = Window { extent, memory: Box::new(memory), unreadable: Vec::new() };
        if self.out.window(window) { Ok(()) } else { Err(FileTreeError::Stopped) }
    }

    /// Zeros, as many as a window has. Waits for a window to be done with if all are under way.
    fn memory(&mut self) -> Vec<u8> {
        let back = if self.lent < WINDOWS { self.idle.try_recv().ok() } else { self.idle.recv().ok() };
        match back {
            Some(mut bytes) => {
                bytes.fill(0);
                bytes
            }
            None => {
                self.lent += 1;
                vec![0; to_index(self.window)]
            }
        }
    }
}

/// The memory of a window on its way.
struct Lent {
    bytes: Vec<u8>,
    from: usize,
    length: usize,
    give_back: Sender<Vec<u8>>,
}

impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lent").field("length", &self.length).finish_non_exhaustive()
    }
}

impl WindowMemory for Lent {
    fn bytes(&self) -> &[u8] {
        self.bytes.get(self.from..self.from + self.length).unwrap_or_default()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // If the stream is gone, nobody needs the memory.
        drop(self.give_back.send(mem::take(&mut self.bytes)));
    }
}

/// Lengths here are those of a window.
fn to_index(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default)]
    struct Taken(Vec<(Extent, Option<Vec<u8>>)>);

    impl LayOut for Taken {
        fn window(&mut self, window: Window) -> bool {
            self.0.push((window.extent, Some(window.memory.bytes().to_vec())));
            true
        }

        fn omit(&mut self, extent: Extent) -> bool {
            self.0.push((extent, None));
            true
        }
    }

    #[test]
    fn windows_are_whole_chunks_and_never_cover_what_was_not_put() {
        let mut taken = Taken::default();
        let mut stream = Stream::new(&mut taken, 16, 64);
        stream.put(2, &[1; 10]).unwrap();
        stream.put(20, &[2; 4]).unwrap();
        // Chunk 2 stays what it is.
        stream.put(48, &[3; 40]).unwrap();
        stream.omit(Extent::new(96, 32)).unwrap();
        stream.put(128, &[4; 1]).unwrap();
        stream.flush().unwrap();
        let places: Vec<_> = taken.0.iter().map(|(extent, bytes)| (extent.offset, extent.length, bytes.is_some())).collect();
        assert_eq!(places, [(0, 32, true), (48, 16, true), (64, 32, true), (96, 32, false), (128, 16, true)]);
        let first = taken.0[0].1.as_ref().unwrap();
        assert_eq!((first[1], first[2], first[11], first[12], first[19], first[20], first[24]), (0, 1, 1, 0, 0, 2, 0));
        assert!(taken.0[4].1.as_ref().unwrap()[1..].iter().all(|byte| *byte == 0), "memory that was used before is zeros");
    }

    #[test]
    fn a_run_ends_when_nobody_takes_what_is_laid() {
        struct Gone;
        impl LayOut for Gone {
            fn window(&mut self, _window: Window) -> bool {
                false
            }
            fn omit(&mut self, _extent: Extent) -> bool {
                false
            }
        }
        let mut gone = Gone;
        let mut stream = Stream::new(&mut gone, 16, 64);
        stream.put(0, &[1]).unwrap();
        assert!(matches!(stream.flush(), Err(FileTreeError::Stopped)));
        assert!(matches!(stream.omit(Extent::new(64, 16)), Err(FileTreeError::Stopped)));
    }
}
