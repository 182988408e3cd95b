//! The trees that a writer grows one after the other: the volume's, and behind it the catalog's.

use std::mem;
use std::sync::{Arc, Mutex};

use super::{BUILD_CACHE_NODES, COMPARE_CACHE_NODES, EarlierChunks, PointWriter};
use crate::base::extent::{Extent, ExtentSet};
use crate::repository::error::RepositoryError;
use crate::repository::format::catalog::{Catalog, CatalogSummary};
use crate::repository::format::node::ChunkEntry;
use crate::repository::format::point::{Statistics, Tree};
use crate::repository::recent::RecentChunks;
use crate::repository::tree::{TreeBuilder, TreeReader};

/// The tree that windows are appended to: the volume's, and after it the catalog's.
#[derive(Debug)]
pub(super) struct Growth {
    pub(super) size: u64,
    pub(super) chunk_bytes: u32,
    /// Nothing is taken from the old tree unseen.
    pub(super) whole: bool,
    pub(super) builder: TreeBuilder,
    pub(super) old: Option<TreeReader>,
    pub(super) leaf: Option<(u64, Vec<ChunkEntry>)>,
}

impl Growth {
    pub(super) fn new(size: u64, chunk_bytes: u32, whole: bool, old: Option<TreeReader>) -> Self {
        Self { size, chunk_bytes, whole, builder: TreeBuilder::new(size, chunk_bytes), old, leaf: None }
    }
}

/// A volume that is stored and durable, and whose point does not exist yet.
#[derive(Debug, Clone)]
pub struct FinishedVolume {
    /// Its tree.
    pub tree: Tree,
    /// Where it may differ from the previous point; everything, if there is none.
    pub changed: ExtentSet,
    pub(super) statistics: Statistics,
}

/// More changed extents than this are joined into coarser ones: 4 MiB of memory.
const MAX_CHANGED_EXTENTS: usize = 1 << 18;

impl PointWriter {
    /// Finishes the volume's tree and waits until everything is durable, so that the volume can be read back before its point exists.
    /// After this only a catalog can be appended. Asked again, it says the same.
    pub fn finish_volume(&mut self) -> Result<FinishedVolume, RepositoryError> {
        if let Some(finished) = &self.finished {
            return Ok(finished.clone());
        }
        let finished = self.finish_tree()?;
        self.close_packs()?;
        self.uploader.flush()?;
        self.finished = Some(finished.clone());
        Ok(finished)
    }

    /// Begins again at the volume's first chunk: later windows replace what was appended so far, and the rest of it stays.
    pub fn next_round(&mut self) -> Result<(), RepositoryError> {
        if self.finished.is_some() {
            return Err(RepositoryError::Misused { what: "a finished volume has no further round".to_owned() });
        }
        self.close_leaf()?;
        let tree = self.with_basis(|builder, basis| builder.clone().finish(basis))?;
        // The nodes of this round are read back in the next.
        self.close_packs()?;
        self.uploader.flush()?;
        let reader = self.repository.tree_reader(tree, BUILD_CACHE_NODES);
        self.growth = Growth::new(self.growth.size, self.growth.chunk_bytes, false, Some(reader));
        self.round = Some(tree);
        Ok(())
    }

    /// From now on windows go into the catalog, whose tree covers `size` bytes. Pages that are not appended are those of `old`; with
    /// `whole`, they are empty.
    pub fn begin_catalog(&mut self, size: u64, chunk_bytes: u32, old: Option<Tree>, whole: bool) -> Result<(), RepositoryError> {
        if self.finished.is_none() {
            return Err(RepositoryError::Misused { what: "a catalog comes after its volume".to_owned() });
        }
        // What lies between two appended pages is taken from the old tree, so a catalog that is made anew has none.
        let old = old.filter(|_| !whole).map(|tree| self.repository.tree_reader(tree, BUILD_CACHE_NODES));
        self.growth = Growth::new(size, chunk_bytes, whole, old);
        self.recent = Arc::new(Mutex::new(RecentChunks::new(0)));
        self.catalog = None;
        Ok(())
    }

    /// Finishes the catalog; the point will name it.
    pub fn end_catalog(&mut self, summary: CatalogSummary) -> Result<(), RepositoryError> {
        let Some(finished) = &self.finished else { return Ok(()) };
        let before = finished.statistics.data_stored_bytes + finished.statistics.tree_stored_bytes;
        self.close_leaf()?;
        let tree = self.with_basis(|builder, basis| builder.clone().finish(basis))?;
        let stored_bytes = (self.data.stored_bytes + self.nodes.stored_bytes).saturating_sub(before);
        self.catalog = Some(Catalog { tree, summary: Some(CatalogSummary { stored_bytes, ..summary }) });
        Ok(())
    }

    pub(super) fn finish_tree(&mut self) -> Result<FinishedVolume, RepositoryError> {
        self.close_leaf()?;
        let tree = self.with_basis(|builder, basis| builder.clone().finish(basis))?;
        let statistics = Statistics {
            new_bytes: self.new_bytes,
            data_stored_bytes: self.data.stored_bytes,
            tree_stored_bytes: self.nodes.stored_bytes,
            ..Statistics::default()
        };
        let changed = match &self.options.previous {
            Some(_) => mem::take(&mut self.changed),
            None => ExtentSet::whole(tree.size),
        };
        Ok(FinishedVolume { tree, changed, statistics })
    }

    /// Remembers what changed: too much rather than too little.
    pub(super) fn note_changes(&mut self, changed: &[Extent]) {
        changed.iter().for_each(|extent| self.changed.insert(*extent));
        let mut granule = u64::from(self.growth.chunk_bytes) * 4;
        while self.changed.count() > MAX_CHANGED_EXTENTS {
            self.changed = self.changed.align_outward(granule, u64::MAX);
            granule *= 2;
        }
    }

    /// The pages of an earlier catalog to compare with.
    pub(in crate::repository) fn earlier_pages(&self, old: Option<Tree>) -> EarlierChunks {
        let trees: Vec<_> = old.into_iter().map(|tree| self.repository.tree_reader(tree, COMPARE_CACHE_NODES)).collect();
        EarlierChunks { leaves: vec![None; trees.len()], trees }
    }
}
