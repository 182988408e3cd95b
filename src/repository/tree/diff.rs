//! Which chunks differ between two trees, at the cost of the difference: equal subtrees are never read.

use super::chunks_below;
use super::read::TreeReader;
use crate::base::extent::{Extent, ExtentSet};
use crate::repository::error::RepositoryError;
use crate::repository::format::node::{FAN_OUT_U64, NodeRef};
use crate::repository::format::point::Tree;

/// The bytes in which two volumes of the same chunk size may differ, whole chunks, up to the larger size.
pub(crate) fn diff_trees(old: &mut TreeReader, new: &mut TreeReader) -> Result<ExtentSet, RepositoryError> {
    let (a, b) = (*old.tree(), *new.tree());
    if a.chunk_bytes != b.chunk_bytes {
        let what = format!("one volume has chunks of {} bytes, the other of {}", a.chunk_bytes, b.chunk_bytes);
        return Err(RepositoryError::Misused { what });
    }
    let mut found = Vec::new();
    // Above the lower root, the taller tree's first subtree stands beside the whole of the other one.
    let level = a.level.min(b.level);
    let chunks = a.chunk_count().max(b.chunk_count());
    let mut first = 0;
    while first < chunks {
        compare(old, new, level, first, &mut found)?;
        first = first.saturating_add(chunks_below(level));
    }
    // Zeros that only one of the volumes has are holes in both.
    let size = a.size.max(b.size);
    found.push(Extent::between(a.size.min(b.size), size));
    Ok(found.into_iter().collect::<ExtentSet>().align_outward(a.chunk_bytes.into(), size))
}

fn compare(
    old: &mut TreeReader,
    new: &mut TreeReader,
    level: u8,
    first: u64,
    found: &mut Vec<Extent>,
) -> Result<(), RepositoryError> {
    match (old.subtree(level, first)?, new.subtree(level, first)?) {
        (NodeRef::Hole, NodeRef::Hole) => return Ok(()),
        (NodeRef::Node(a), NodeRef::Node(b)) if a.id == b.id => return Ok(()),
        _ => {}
    }
    if level == 0 {
        return compare_leaves(old, new, first, found);
    }
    for index in 0..FAN_OUT_U64 {
        let child = first.saturating_add(chunks_below(level - 1).saturating_mul(index));
        compare(old, new, level - 1, child, found)?;
    }
    Ok(())
}

fn compare_leaves(old: &mut TreeReader, new: &mut TreeReader, first: u64, found: &mut Vec<Extent>) -> Result<(), RepositoryError> {
    let (a, b) = (old.leaf(first)?, new.leaf(first)?);
    for (chunk, _) in (first..).zip(a.iter().zip(&b)).filter(|(_, (a, b))| !a.same_content(b)) {
        found.push(chunk_extent(new.tree(), chunk));
    }
    Ok(())
}

fn chunk_extent(tree: &Tree, chunk: u64) -> Extent {
    let length = u64::from(tree.chunk_bytes);
    Extent::new(chunk.saturating_mul(length), length)
}
