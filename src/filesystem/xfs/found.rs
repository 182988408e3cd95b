//! What a search of a fork has found: runs, and the stretches that the broken parts of its map leave open.

use super::run::Run;
use crate::filesystem::error::FilesystemError;

/// Blocks of a file, such as those between two keys of a node: what a child may speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first: u64,
    pub(super) end: u64,
}

impl Span {
    /// Every block that a file can have.
    pub(super) const ALL: Self = Self { first: 0, end: u64::MAX };

    /// True when they share a block.
    pub(super) fn meets(&self, other: &Self) -> bool {
        self.first < other.end && other.first < self.end
    }
}

/// A stretch of which nobody knows where it lies.
#[derive(Debug)]
pub(super) struct Unmapped {
    /// Its blocks.
    pub(super) span: Span,
    /// Why.
    pub(super) error: FilesystemError,
}

/// What was found.
#[derive(Debug)]
pub(super) struct Found {
    /// The blocks that were asked for.
    pub(super) wanted: Span,
    /// The runs that share a block with them, ascending.
    pub(super) runs: Vec<Run>,
    /// The stretches that do and cannot be told, ascending, and sharing no block with the runs or with each other.
    pub(super) lost: Vec<Unmapped>,
    is_around: bool,
}

impl Found {
    /// For a search that ends at the first thing that is broken.
    pub(super) fn whole(first: u64, count: u64) -> Self {
        let wanted = Span { first, end: first.saturating_add(count) };
        Self { wanted, runs: Vec::new(), lost: Vec::new(), is_around: false }
    }

    /// For a search that goes on around what is broken.
    pub(super) fn around(first: u64, count: u64) -> Self {
        Self { is_around: true, ..Self::whole(first, count) }
    }

    /// True when the search goes on around what is broken.
    pub(super) fn is_around(&self) -> bool {
        self.is_around
    }

    /// Gives a stretch up, or the search.
    pub(super) fn lose(&mut self, span: Span, error: FilesystemError) -> Result<(), FilesystemError> {
        if !self.is_around {
            return Err(error);
        }
        self.lose_before(span, error);
        Ok(())
    }

    /// Gives the stretch up that lies before the run that was taken last.
    pub(super) fn lose_before(&mut self, span: Span, error: FilesystemError) {
        if span.meets(&self.wanted) {
            self.lost.push(Unmapped { span, error });
        }
    }

    /// Gives everything up.
    pub(super) fn lose_all(&mut self, error: FilesystemError) {
        self.runs.clear();
        self.lost = vec![Unmapped { span: Span::ALL, error }];
    }
}
