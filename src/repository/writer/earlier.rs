//! What earlier trees hold at the places of a volume, for comparing windows with.

use crate::repository::error::RepositoryError;
use crate::repository::format::node::{ChunkEntry, FAN_OUT_U64};
use crate::repository::tree::TreeReader;

/// Entries of earlier trees at the places of a volume; one for each thread that compares.
#[derive(Debug)]
pub struct EarlierChunks {
    pub(super) trees: Vec<TreeReader>,
    pub(super) leaves: Vec<Option<(u64, Vec<ChunkEntry>)>>,
}

impl EarlierChunks {
    /// What each earlier tree holds from `first_chunk` on, to the end of that chunk's leaf. The newest tree comes first.
    ///
    /// A leaf that is damaged holds nothing here, so that what it lost is stored again.
    pub fn at(&mut self, first_chunk: u64) -> Result<Vec<&[ChunkEntry]>, RepositoryError> {
        let leaf = first_chunk - first_chunk % FAN_OUT_U64;
        for (tree, cached) in self.trees.iter_mut().zip(&mut self.leaves) {
            if cached.as_ref().is_none_or(|(known, _)| *known != leaf) {
                *cached = Some((leaf, readable_leaf(tree, leaf)?));
            }
        }
        let skip = usize::try_from(first_chunk - leaf).unwrap_or_default();
        Ok(self.leaves.iter().flatten().map(|(_, entries)| entries.get(skip..).unwrap_or_default()).collect())
    }
}

fn readable_leaf(tree: &mut TreeReader, leaf: u64) -> Result<Vec<ChunkEntry>, RepositoryError> {
    match tree.leaf(leaf) {
        Err(error) if error.is_damage() => {
            tracing::warn!(%error, "an earlier point is damaged here; its chunks are stored again");
            Ok(Vec::new())
        }
        other => other,
    }
}
