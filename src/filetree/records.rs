//! Records put into their region: new ones, changed ones, and zeros where an inode is gone; the others stay as they are.

use std::collections::VecDeque;

use super::error::FileTreeError;
use super::ledger::Ledger;
use super::stream::Stream;
use super::survey::Survey;
use crate::filesystem::file_tree::{FileTree, RECORD_BYTES, STATE_PLACE, TreeRecord, record_place};
use crate::filesystem::{Filesystem, FilesystemError, Object};

/// Nodes of the ledger, ascending by number.
#[derive(Debug)]
pub(super) struct Nodes<'l> {
    ledger: &'l Ledger,
    batch: VecDeque<(u64, TreeRecord)>,
    next: u64,
    ended: bool,
}

impl<'l> Nodes<'l> {
    pub(super) fn new(ledger: &'l Ledger) -> Self {
        Self { ledger, batch: VecDeque::new(), next: 0, ended: false }
    }

    /// The next node if its number is not above `limit`.
    pub(super) fn next_until(&mut self, limit: u64) -> Result<Option<(u64, TreeRecord)>, FileTreeError> {
        if self.batch.is_empty() && !self.ended {
            self.batch = self.ledger.nodes_from(self.next)?.into();
            self.ended = self.batch.is_empty();
            self.next = self.batch.back().map_or(self.next, |(number, _)| number + 1);
        }
        let is_due = self.batch.front().is_some_and(|(number, _)| *number <= limit);
        Ok(if is_due { self.batch.pop_front() } else { None })
    }

    /// The node of exactly this number; nodes before it are passed by. Numbers are asked for in ascending order.
    pub(super) fn at(&mut self, number: u64) -> Result<Option<TreeRecord>, FileTreeError> {
        while let Some((found, record)) = self.next_until(number)? {
            if found == number {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }
}

/// Puts all records that are new, changed or gone.
pub(super) fn put_records(survey: &Survey<'_>, chunk: u64, stream: &mut Stream<'_>) -> Result<(), FileTreeError> {
    let earlier = survey.request.earlier;
    let mut patcher = Patcher { earlier, stream, chunk, open: None };
    let mut nodes = Nodes::new(&survey.ledger);
    let until = |limit: u64, nodes: &mut Nodes<'_>, patcher: &mut Patcher<'_, '_>| -> Result<(), FileTreeError> {
        while let Some((number, record)) = nodes.next_until(limit)? {
            if !survey.vanished.holds(number) {
                patcher.put(record_place(number), &record.encode())?;
            }
        }
        Ok(())
    };
    if let Some(earlier) = earlier {
        earlier.each_record(&mut |number, _| {
            until(number, &mut nodes, &mut patcher)?;
            if !survey.is_present(number) {
                patcher.put(record_place(number), &[0; RECORD_BYTES as usize])?;
            }
            Ok::<_, FileTreeError>(())
        })?;
    }
    until(u64::MAX, &mut nodes, &mut patcher)?;
    patcher.flush()
}

/// Changes bytes within chunks that are otherwise those of the earlier tree.
struct Patcher<'a, 'o> {
    earlier: Option<&'a FileTree>,
    stream: &'a mut Stream<'o>,
    chunk: u64,
    open: Option<(u64, Vec<u8>)>,
}

impl Patcher<'_, '_> {
    fn put(&mut self, mut place: u64, mut bytes: &[u8]) -> Result<(), FileTreeError> {
        while !bytes.is_empty() {
            let start = place - place % self.chunk;
            let within = usize::try_from(place - start).unwrap_or(0);
            let chunk = self.chunk_at(start)?;
            let (now, later) = bytes.split_at(bytes.len().min(chunk.len().saturating_sub(within)));
            if let Some(out) = chunk.get_mut(within..within + now.len()) {
                out.copy_from_slice(now);
            }
            place += now.len() as u64;
            bytes = later;
        }
        Ok(())
    }

    fn chunk_at(&mut self, start: u64) -> Result<&mut Vec<u8>, FileTreeError> {
        if self.open.as_ref().is_some_and(|(open, _)| *open != start) {
            self.flush()?;
        }
        let bytes = match self.open.take() {
            Some((_, bytes)) => bytes,
            None => self.base(start)?,
        };
        Ok(&mut self.open.insert((start, bytes)).1)
    }

    fn base(&self, start: u64) -> Result<Vec<u8>, FileTreeError> {
        let mut bytes = vec![0; usize::try_from(self.chunk).unwrap_or(0)];
        let end = self.earlier.map_or(0, |earlier| record_place(earlier.state().next_number));
        if let Some(earlier) = self.earlier.filter(|_| start < end && start < STATE_PLACE) {
            let failed = |source| FilesystemError::Io { object: Object::Superblock, source };
            earlier.volume().read_at(start, &mut bytes).map_err(failed)?;
        }
        Ok(bytes)
    }

    fn flush(&mut self) -> Result<(), FileTreeError> {
        match self.open.take() {
            Some((start, bytes)) => self.stream.put(start, &bytes),
            None => Ok(()),
        }
    }
}
