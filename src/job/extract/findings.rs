//! What is not as it was in the volume, and why.

use crate::base::extent::Extent;

/// Findings beyond this many are counted only, which bounds memory when everything is damaged.
pub(in crate::job) const MAX_FINDINGS: usize = 100_000;

/// What happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileFindingKind {
    /// It, or the rest of what it holds, is not in the target.
    Lost,
    /// It is in the target and lacks bytes, as the caller allowed.
    Partial,
    /// It is in the target, but something about it could not be kept.
    Altered,
    /// It, or something about it, was left out because nobody asked for it.
    Withheld,
}

/// Something to know about one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFinding {
    /// Its path from the start of the extraction.
    pub path: Vec<u8>,
    /// What happened to it.
    pub kind: FileFindingKind,
    /// Why.
    pub reason: String,
    /// Bytes of the file that are missing in the target.
    pub missing: Vec<Extent>,
}

/// All of them, in the order they were met.
#[derive(Debug, Clone, Default)]
pub struct FileFindings {
    /// The first ones.
    pub list: Vec<FileFinding>,
    /// How many more there are.
    pub left_out: u64,
    /// How many there are of every kind but [`FileFindingKind::Withheld`].
    pub harm: u64,
}

impl FileFindings {
    /// Adds a finding that names no missing bytes.
    pub(in crate::job) fn add(&mut self, path: Vec<u8>, kind: FileFindingKind, reason: String) {
        self.push(FileFinding { path, kind, reason, missing: Vec::new() });
    }

    /// Counts harm that is not listed.
    pub(in crate::job) fn leave_out(&mut self) {
        self.harm += 1;
        self.left_out += 1;
    }

    /// Adds a finding.
    pub(in crate::job) fn push(&mut self, finding: FileFinding) {
        if finding.kind != FileFindingKind::Withheld {
            self.harm += 1;
        }
        if self.list.len() < MAX_FINDINGS {
            self.list.push(finding);
        } else {
            self.left_out += 1;
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.list.len() as u64 + self.left_out
    }
}
