//! Which bytes of a volume belong to nothing, and which of them nobody can be sure about.

use crate::base::extent::{Extent, ExtentSet};

/// A reason to read a range although a bitmap may call it free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// The range that must be read in full.
    pub extent: Extent,
    /// Why, in words.
    pub reason: String,
}

/// What is provably free. Everything else must be read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Allocation {
    /// Bytes that no file and no metadata uses, neither as it lies on disk nor after replay. Never within a doubt.
    pub free: ExtentSet,
    /// Why some ranges, or the whole volume, are not in `free` whatever their bitmaps say.
    pub doubts: Vec<Doubt>,
}

impl Allocation {
    /// Nothing can be left out.
    #[must_use]
    pub fn doubtful(size: u64, reason: impl Into<String>) -> Self {
        Self { free: ExtentSet::new(), doubts: vec![Doubt { extent: Extent::new(0, size), reason: reason.into() }] }
    }
}
