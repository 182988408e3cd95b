//! Names sorted by inode in bounded memory: sorted runs in a temporary file, merged when they are read.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::vec::IntoIter;

/// A name, and whatever was read of its inode.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Named {
    pub(super) inode: u64,
    pub(super) parent: u64,
    pub(super) name: Vec<u8>,
    /// Opaque to the sorter.
    pub(super) payload: Vec<u8>,
}

/// Buffer of each run while runs are merged. With the longest runs, a terabyte of names takes no more memory than sorting did.
const RUN_BUFFER_BYTES: usize = 64 << 10;

/// Collects names in any order.
#[derive(Debug)]
pub(super) struct Sorter {
    limit_bytes: usize,
    folder: PathBuf,
    held: Vec<Named>,
    held_bytes: usize,
    file: Option<File>,
    runs: Vec<Range<u64>>,
}

impl Sorter {
    /// Holds about `limit_bytes` in memory, and the rest in a nameless file in `folder`.
    pub(super) fn new(folder: &Path, limit_bytes: usize) -> Self {
        Self { limit_bytes, folder: folder.to_owned(), held: Vec::new(), held_bytes: 0, file: None, runs: Vec::new() }
    }

    pub(super) fn push(&mut self, named: Named) -> io::Result<()> {
        // Three allocations and the struct itself, beside the bytes.
        self.held_bytes += named.name.len() + named.payload.len() + 128;
        self.held.push(named);
        if self.held_bytes < self.limit_bytes { Ok(()) } else { self.spill() }
    }

    fn spill(&mut self) -> io::Result<()> {
        self.held.sort_unstable();
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(tempfile::tempfile_in(&self.folder)?),
        };
        let start = self.runs.last().map_or(0, |run| run.end);
        let mut out = io::BufWriter::with_capacity(1 << 20, &*file);
        let mut length = 0;
        for named in self.held.drain(..) {
            length += write(&mut out, &named)?;
        }
        out.flush()?;
        self.runs.push(start..start + length);
        self.held_bytes = 0;
        Ok(())
    }

    /// All names, ascending, each once.
    pub(super) fn sorted(mut self) -> io::Result<Sorted> {
        self.held.sort_unstable();
        let mut runs = Vec::new();
        if let Some(file) = self.file {
            let file = Arc::new(file);
            for range in self.runs {
                runs.push(Run::Spilled(BufReader::with_capacity(RUN_BUFFER_BYTES, Slice { file: Arc::clone(&file), range })));
            }
        }
        runs.push(Run::Held(self.held.into_iter()));
        let mut sorted = Sorted { runs, heap: BinaryHeap::new() };
        (0..sorted.runs.len()).try_for_each(|run| sorted.refill(run))?;
        Ok(sorted)
    }
}

fn write(out: &mut impl Write, named: &Named) -> io::Result<u64> {
    out.write_all(&named.inode.to_le_bytes())?;
    out.write_all(&named.parent.to_le_bytes())?;
    for bytes in [&named.name, &named.payload] {
        let length = u16::try_from(bytes.len()).map_err(|_| io::Error::other("a name is too long to be sorted"))?;
        out.write_all(&length.to_le_bytes())?;
        out.write_all(bytes)?;
    }
    Ok(20 + (named.name.len() + named.payload.len()) as u64)
}

#[derive(Debug)]
enum Run {
    Spilled(BufReader<Slice>),
    Held(IntoIter<Named>),
}

impl Run {
    fn next(&mut self) -> io::Result<Option<Named>> {
        let reader = match self {
            Self::Held(held) => return Ok(held.next()),
            Self::Spilled(reader) => reader,
        };
        if reader.buffer().is_empty() && reader.get_ref().range.is_empty() {
            return Ok(None);
        }
        let (inode, parent) = (u64::from_le_bytes(take(reader)?), u64::from_le_bytes(take(reader)?));
        let (name, payload) = (take_bytes(reader)?, take_bytes(reader)?);
        Ok(Some(Named { inode, parent, name, payload }))
    }
}

fn take<const N: usize>(reader: &mut impl Read) -> io::Result<[u8; N]> {
    let mut out = [0; N];
    reader.read_exact(&mut out)?;
    Ok(out)
}

fn take_bytes(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut out = vec![0; u16::from_le_bytes(take(reader)?).into()];
    reader.read_exact(&mut out)?;
    Ok(out)
}

/// A range of the file, read from its beginning.
#[derive(Debug)]
struct Slice {
    file: Arc<File>,
    range: Range<u64>,
}

impl Read for Slice {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.range.end - self.range.start).unwrap_or(usize::MAX).min(out.len());
        let read = self.file.read_at(out.get_mut(..left).unwrap_or_default(), self.range.start)?;
        self.range.start += read as u64;
        Ok(read)
    }
}

/// Names in order.
#[derive(Debug)]
pub(super) struct Sorted {
    runs: Vec<Run>,
    heap: BinaryHeap<Reverse<(Named, usize)>>,
}

impl Sorted {
    fn refill(&mut self, run: usize) -> io::Result<()> {
        if let Some(named) = self.runs.get_mut(run).map_or(Ok(None), Run::next)? {
            self.heap.push(Reverse((named, run)));
        }
        Ok(())
    }

    /// The inode of the next name.
    pub(super) fn peek(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((named, _))| named.inode)
    }

    /// The next name. One that was pushed twice comes once.
    pub(super) fn next(&mut self) -> io::Result<Option<Named>> {
        let Some(named) = self.pop()? else { return Ok(None) };
        let is_same = |other: &Named| (other.inode, other.parent, &other.name) == (named.inode, named.parent, &named.name);
        while self.heap.peek().is_some_and(|Reverse((other, _))| is_same(other)) {
            self.pop()?;
        }
        Ok(Some(named))
    }

    fn pop(&mut self) -> io::Result<Option<Named>> {
        let Some(Reverse((named, run))) = self.heap.pop() else { return Ok(None) };
        self.refill(run)?;
        Ok(Some(named))
    }
}

#[cfg(test)]
mod tests {
    use std::env;

    use super::*;
    use crate::testkit::dice::Dice;

    #[test]
    fn names_come_back_sorted_and_once_whatever_fits_into_memory() {
        for limit in [200, 10_000, 1 << 20] {
            let dice = Dice::new(7);
            let mut sorter = Sorter::new(&env::temp_dir(), limit);
            let mut expected = Vec::new();
            for _ in 0..2000 {
                let (inode, parent) = (dice.below(500), dice.below(3));
                let named = Named { inode, parent, name: vec![b'a'; dice.index(5) + 1], payload: vec![7; dice.index(100)] };
                expected.push((named.inode, named.parent, named.name.clone()));
                sorter.push(named).unwrap();
            }
            expected.sort();
            expected.dedup();
            let mut sorted = sorter.sorted().unwrap();
            let mut found = Vec::new();
            while let Some(peeked) = sorted.peek() {
                let Some(named) = sorted.next().unwrap() else { break };
                assert_eq!(peeked, named.inode);
                assert!(named.payload.iter().all(|byte| *byte == 7));
                found.push((named.inode, named.parent, named.name));
            }
            assert_eq!(found, expected, "{limit} bytes");
        }
    }
}
