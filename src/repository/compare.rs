//! Comparing two points: only what differs is read.

use super::Repository;
use super::error::RepositoryError;
use super::format::point::Tree;
use super::tree::diff_trees;
use crate::base::extent::ExtentSet;

/// Decoded nodes at hand on each side of a comparison.
const DIFF_CACHE_NODES: usize = 256;

impl Repository {
    /// The bytes in which two volumes of the same chunk size may differ, as whole chunks.
    pub fn diff(&self, old: &Tree, new: &Tree) -> Result<ExtentSet, RepositoryError> {
        diff_trees(&mut self.tree_reader(*old, DIFF_CACHE_NODES), &mut self.tree_reader(*new, DIFF_CACHE_NODES))
    }
}
