//! Directories opened by number: the last ones stay open, others are found again from the nearest that is.

use std::collections::VecDeque;
use std::ffi::CString;
use std::io;
use std::sync::Arc;

use super::error::FileTreeError;
use super::ledger::Ledger;
use crate::files::{Crossing, Directory};
use crate::filesystem::file_tree::ROOT;

/// Directories that stay open. A tree may be far deeper.
const OPEN: usize = 64;
/// Levels that are climbed to find an open one: more than any file system has directories in a way.
const MAX_LEVELS: usize = 1 << 20;

/// Opens directories.
#[derive(Debug)]
pub(super) struct Opener {
    root: Arc<Directory>,
    crossing: Crossing,
    /// The last ones, newest last.
    open: VecDeque<(u64, Arc<Directory>)>,
}

impl Opener {
    pub(super) fn new(root: Directory, crossing: Crossing) -> Self {
        Self { root: Arc::new(root), crossing, open: VecDeque::new() }
    }

    /// The directory of this number. The inner error is the system's, about this directory or one above it.
    pub(super) fn open(&mut self, ledger: &Ledger, number: u64) -> Result<io::Result<Arc<Directory>>, FileTreeError> {
        let mut way = Vec::new();
        let mut at = number;
        let mut directory = loop {
            if let Some(found) = self.at_hand(at) {
                break found;
            }
            let Some((parent, name)) = ledger.directory(at)?.filter(|_| way.len() < MAX_LEVELS) else {
                return Ok(Err(io::ErrorKind::NotFound.into()));
            };
            way.push((at, name));
            at = parent;
        };
        while let Some((number, name)) = way.pop() {
            let Ok(name) = CString::new(name) else { return Ok(Err(io::ErrorKind::InvalidInput.into())) };
            directory = match directory.enter(&name, self.crossing) {
                Ok(entered) => Arc::new(entered),
                Err(error) => return Ok(Err(error)),
            };
            self.keep(number, &directory);
        }
        Ok(Ok(directory))
    }

    fn at_hand(&self, number: u64) -> Option<Arc<Directory>> {
        if number == ROOT {
            return Some(Arc::clone(&self.root));
        }
        self.open.iter().rev().find(|(known, _)| *known == number).map(|(_, directory)| Arc::clone(directory))
    }

    fn keep(&mut self, number: u64, directory: &Arc<Directory>) {
        if self.open.len() >= OPEN {
            self.open.pop_front();
        }
        self.open.push_back((number, Arc::clone(directory)));
    }

    /// The way from the root to a name in a directory, in words of bytes.
    pub(super) fn path(ledger: &Ledger, directory: u64, name: &[u8]) -> Result<Vec<u8>, FileTreeError> {
        let mut names = vec![name.to_vec()];
        let mut at = directory;
        while at != ROOT && names.len() < MAX_LEVELS {
            let Some((parent, name)) = ledger.directory(at)? else { break };
            names.push(name);
            at = parent;
        }
        names.retain(|name| !name.is_empty());
        names.reverse();
        Ok(names.join(&b'/'))
    }
}
