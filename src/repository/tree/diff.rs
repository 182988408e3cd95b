//! Which chunks differ between two trees, at the cost of the difference: equal subtrees are never read.

use super::chunks_below;
use super::read::TreeReader;
use crate::base::extent::{Extent, ExtentSet};
use crate::repository::error::RepositoryError;
use crate::repository::format::node::{FAN_OUT_U64, NodeRef};
use crate::repository::format::point::Tree;
use crate::repository::ids::ContentId;

/// The bytes in which two volumes of the same chunk size may differ, whole chunks, up to the larger size.
pub(crate) fn diff_trees(old: &mut TreeReader, new: &mut TreeReader) -> Result<ExtentSet, RepositoryError> {
    let (a, b) = (*old.tree(), *new.tree());
    if a.chunk_bytes != b.chunk_bytes {
        let what = format!("one volume has chunks of {} bytes, the other of {}", a.chunk_bytes, b.chunk_bytes);
        return Err(RepositoryError::Misused { what });
    }
    let mut found = Vec::new();
    compare(old, new, a.level.max(b.level), 0, &mut found)?;
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
    match (Place::find(old, level, first)?, Place::find(new, level, first)?) {
        (Place::Hole, Place::Hole) => return Ok(()),
        (Place::Node(a), Place::Node(b)) if a == b => return Ok(()),
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

/// What a tree has at a place, which may be above its root.
enum Place {
    Hole,
    Node(ContentId),
    /// The whole tree and nothing else.
    AroundRoot,
}

impl Place {
    fn find(reader: &mut TreeReader, level: u8, first: u64) -> Result<Self, RepositoryError> {
        let tree = *reader.tree();
        if level > tree.level {
            return Ok(if first == 0 && tree.root != NodeRef::Hole { Self::AroundRoot } else { Self::Hole });
        }
        Ok(match reader.subtree(level, first)? {
            NodeRef::Hole => Self::Hole,
            NodeRef::Node(node) => Self::Node(node.id),
        })
    }
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
