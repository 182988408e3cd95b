//! The block tree at work: read with a bounded cache, built by sharing what did not change, walked, and compared.

mod build;
mod cache;
mod diff;
mod read;
mod walk;

pub(crate) use build::{Basis, TreeBuilder};
pub(crate) use cache::NodeCache;
pub(crate) use diff::diff_trees;
pub(crate) use read::TreeReader;
pub(crate) use walk::{TreeVisitor, walk};

use super::format::node::FAN_OUT_U64;

/// Chunks below one node of this level.
pub(crate) fn chunks_below(level: u8) -> u64 {
    (0..=level).fold(1u64, |chunks, _| chunks.saturating_mul(FAN_OUT_U64))
}
