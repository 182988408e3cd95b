//! A bounded cache of recently read lines of a source, for metadata that is read again and again.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::base::io::{IoError, ReadAt};

/// How much of a source a file system keeps in memory. A recovery point read below it keeps some 50 MiB of its own, so that both
/// together stay below 64 MiB.
pub const METADATA_CACHE_BYTES: u64 = 12 << 20;

/// One line: the default chunk of a recovery point, and large enough that a directory scan asks a device seldom.
const LINE_BYTES: u64 = 16 << 10;
/// Longer reads are file content, and pass by.
const LONGEST_CACHED: usize = 64 << 10;

/// A source with its recently read lines in memory.
pub struct Cached {
    source: Arc<dyn ReadAt>,
    lines: Mutex<Lines>,
}

#[derive(Debug)]
struct Lines {
    limit: usize,
    clock: u64,
    /// Content and the moment of last use, by line.
    kept: HashMap<u64, (Arc<[u8]>, u64)>,
    /// Lines by their moment of last use.
    order: BTreeMap<u64, u64>,
}

impl Cached {
    /// A cache of at most `limit_bytes` in front of `source`.
    #[must_use]
    pub fn new(source: Arc<dyn ReadAt>, limit_bytes: u64) -> Self {
        let limit = usize::try_from(limit_bytes / LINE_BYTES).unwrap_or(usize::MAX).max(1);
        let lines = Lines { limit, clock: 0, kept: HashMap::new(), order: BTreeMap::new() };
        Self { source, lines: Mutex::new(lines) }
    }

    fn line(&self, line: u64) -> Result<Arc<[u8]>, IoError> {
        if let Some(bytes) = self.lines.lock().unwrap_or_else(PoisonError::into_inner).get(line) {
            return Ok(bytes);
        }
        // Read without the lock: a slow source holds up only those who need it.
        let start = line * LINE_BYTES;
        let length = LINE_BYTES.min(self.source.size().saturating_sub(start));
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        self.source.read_at(start, &mut bytes)?;
        let bytes: Arc<[u8]> = bytes.into();
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).put(line, Arc::clone(&bytes));
        Ok(bytes)
    }
}

impl Lines {
    fn get(&mut self, line: u64) -> Option<Arc<[u8]>> {
        let (bytes, used) = self.kept.get_mut(&line)?;
        self.order.remove(used);
        self.clock += 1;
        *used = self.clock;
        self.order.insert(self.clock, line);
        Some(Arc::clone(bytes))
    }

    fn put(&mut self, line: u64, bytes: Arc<[u8]>) {
        self.clock += 1;
        if let Some((_, used)) = self.kept.insert(line, (bytes, self.clock)) {
            self.order.remove(&used);
        }
        self.order.insert(self.clock, line);
        while self.kept.len() > self.limit {
            let Some((_, oldest)) = self.order.pop_first() else { return };
            self.kept.remove(&oldest);
        }
    }
}

impl fmt::Debug for Cached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cached").field("source", &self.source).finish_non_exhaustive()
    }
}

impl ReadAt for Cached {
    fn size(&self) -> u64 {
        self.source.size()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
        let inside = offset.checked_add(out.len() as u64).is_some_and(|end| end <= self.source.size());
        // A read past the end is the source's to refuse.
        if out.len() > LONGEST_CACHED || !inside {
            return self.source.read_at(offset, out);
        }
        let mut at = offset;
        let mut left = out;
        while !left.is_empty() {
            let Ok(bytes) = self.line(at / LINE_BYTES) else {
                // A line can be half unreadable; the bytes asked for may still be there.
                return self.source.read_at(at, left);
            };
            let skip = usize::try_from(at % LINE_BYTES).unwrap_or(0);
            let length = (bytes.len() - skip).min(left.len());
            let (piece, rest) = left.split_at_mut(length);
            piece.copy_from_slice(&bytes[skip..skip + length]);
            at += length as u64;
            left = rest;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::base::extent::Extent;

    #[derive(Debug, Default)]
    struct Counting {
        reads: AtomicUsize,
    }

    impl ReadAt for Counting {
        fn size(&self) -> u64 {
            10 * LINE_BYTES + 7
        }
        fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
            if offset.saturating_add(out.len() as u64) > self.size() {
                return Err(IoError::OutOfRange { extent: Extent::new(offset, out.len() as u64), size: self.size() });
            }
            self.reads.fetch_add(1, Ordering::Relaxed);
            for (at, byte) in (offset..).zip(out) {
                *byte = (at % 251) as u8;
            }
            Ok(())
        }
    }

    fn check(cached: &Cached, offset: u64, length: usize) {
        let mut out = vec![0; length];
        cached.read_at(offset, &mut out).unwrap();
        assert!(out.iter().zip(offset..).all(|(byte, at)| *byte == (at % 251) as u8), "at {offset}+{length}");
    }

    #[test]
    fn what_was_read_lately_is_not_read_again() {
        let source = Arc::new(Counting::default());
        let cached = Cached::new(Arc::clone(&source) as Arc<dyn ReadAt>, 2 * LINE_BYTES);
        check(&cached, 100, 50);
        check(&cached, 0, 4096);
        assert_eq!(source.reads.load(Ordering::Relaxed), 1);
        check(&cached, LINE_BYTES - 10, 20);
        check(&cached, 5 * LINE_BYTES, 1);
        check(&cached, 3, 1);
        assert_eq!(source.reads.load(Ordering::Relaxed), 4, "the cache holds two lines");
    }

    #[test]
    fn the_end_of_the_source_is_where_it_is() {
        let cached = Cached::new(Arc::new(Counting::default()), 4 * LINE_BYTES);
        check(&cached, 10 * LINE_BYTES, 7);
        assert!(cached.read_at(10 * LINE_BYTES, &mut [0; 8]).is_err());
        assert!(cached.read_at(u64::MAX, &mut [0; 8]).is_err());
        check(&cached, 0, LONGEST_CACHED + 1);
    }
}
