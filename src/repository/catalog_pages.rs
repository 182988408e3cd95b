//! Pages of a file catalog in its tree: written behind a volume, listed, and read back verified.

use std::collections::BTreeMap;
use std::mem;

use super::chunks::ChunkReader;
use super::error::RepositoryError;
use super::format::node::{ChunkEntry, FAN_OUT_U64, StoredNode};
use super::format::point::Tree;
use super::tree::{TreeReader, TreeVisitor, diff_trees, walk};
use super::window::WindowCutter;
use super::writer::EarlierChunks;
use super::{PointWriter, Repository};

/// A page is one chunk.
pub const CATALOG_PAGE_BYTES: u32 = 16 << 10;
/// Pages that share a frame when they are new together.
const WINDOW_PAGES: u64 = 16;
/// Decoded tree nodes at hand while pages are read.
const CACHED_NODES: usize = 256;
/// Pages that are brought together, so that neighbours in a pack take one request: 4 MiB.
const BATCH_PAGES: usize = 256;
/// No catalog of real files has more pages: 128 million inodes. A tree of shared subtrees could claim any number.
const MAX_PAGES: usize = 1 << 22;

/// Puts pages, ascending, into the catalog of a point that is being written.
#[derive(Debug)]
pub struct PageWriter<'a> {
    writer: &'a mut PointWriter,
    cutter: WindowCutter,
    earlier: EarlierChunks,
    first: u64,
    run: Vec<u8>,
}

impl<'a> PageWriter<'a> {
    /// Begins the catalog, of `pages` pages. Those that are not put are those of `old`, or empty if the catalog is made `anew`.
    pub fn begin(writer: &'a mut PointWriter, pages: u64, old: Option<Tree>, anew: bool) -> Result<Self, RepositoryError> {
        writer.begin_catalog(pages.saturating_mul(CATALOG_PAGE_BYTES.into()), CATALOG_PAGE_BYTES, old, anew)?;
        let (cutter, earlier) = (writer.cutter(), writer.earlier_pages(old));
        Ok(Self { writer, cutter, earlier, first: 0, run: Vec::new() })
    }

    /// Puts the page of this number, which is above all before it. A page of zeros is empty.
    pub fn put(&mut self, number: u64, page: &[u8]) -> Result<(), RepositoryError> {
        if page.len() != CATALOG_PAGE_BYTES as usize {
            return Err(RepositoryError::Misused { what: format!("a catalog page has {} bytes", page.len()) });
        }
        let next = self.first.saturating_add((self.run.len() / CATALOG_PAGE_BYTES as usize) as u64);
        if number != next || number.is_multiple_of(WINDOW_PAGES) {
            self.flush()?;
            self.first = number;
        }
        self.run.extend_from_slice(page);
        Ok(())
    }

    /// Puts what is left.
    pub fn finish(mut self) -> Result<(), RepositoryError> {
        self.flush()
    }

    fn flush(&mut self) -> Result<(), RepositoryError> {
        if self.run.is_empty() {
            return Ok(());
        }
        let run = mem::take(&mut self.run);
        let candidates = self.earlier.at(self.first)?;
        let offset = self.first.saturating_mul(CATALOG_PAGE_BYTES.into());
        let window = self.cutter.cut(offset, &run, &[], &candidates)?;
        self.writer.append(&window)?;
        self.run = run;
        self.run.clear();
        Ok(())
    }
}

/// What is shown a page: its number, and its bytes unless it is empty.
pub type VisitPage<'a> = dyn FnMut(u64, Option<&[u8]>) -> Result<(), RepositoryError> + 'a;

/// Reads pages of one catalog.
#[derive(Debug)]
pub struct CatalogPages {
    repository: Repository,
    tree: Tree,
    nodes: TreeReader,
    chunks: ChunkReader,
}

impl Repository {
    /// The pages of the catalog whose tree this is.
    pub fn catalog_pages(&self, tree: Tree) -> Result<CatalogPages, RepositoryError> {
        if tree.chunk_bytes != CATALOG_PAGE_BYTES {
            return Err(RepositoryError::damaged("a file catalog", "its pages have another length than catalogs have"));
        }
        let (nodes, chunks) = (self.tree_reader(tree, CACHED_NODES), self.chunk_reader());
        Ok(CatalogPages { repository: self.clone(), tree, nodes, chunks })
    }
}

impl CatalogPages {
    /// The numbers of the pages that are not empty, ascending.
    pub fn present(&mut self) -> Result<Vec<u64>, RepositoryError> {
        let mut visitor = Present { pages: Vec::new() };
        walk(&self.tree, &mut self.repository.fetcher(), &self.repository.ring, &mut visitor)?;
        Ok(visitor.pages)
    }

    /// The numbers of the pages in which this catalog may differ from an older one, ascending.
    pub fn changed_since(&mut self, old: Tree) -> Result<Vec<u64>, RepositoryError> {
        let changed = diff_trees(&mut self.repository.tree_reader(old, CACHED_NODES), &mut self.nodes)?;
        let page = u64::from(CATALOG_PAGE_BYTES);
        let numbers = changed.as_slice().iter().flat_map(|extent| extent.cut(page)).map(|extent| extent.offset / page);
        let numbers: Vec<u64> = numbers.take(MAX_PAGES + 1).collect();
        if numbers.len() > MAX_PAGES { Err(too_many()) } else { Ok(numbers) }
    }

    /// Shows pages, which are asked for in ascending order, in that order; `None` is an empty one.
    pub fn read(&mut self, numbers: &[u64], visit: &mut VisitPage<'_>) -> Result<(), RepositoryError> {
        for batch in numbers.chunks(BATCH_PAGES) {
            let found = self.read_batch(batch)?;
            batch.iter().try_for_each(|number| visit(*number, found.get(number).map(Vec::as_slice)))?;
        }
        Ok(())
    }

    fn read_batch(&mut self, numbers: &[u64]) -> Result<BTreeMap<u64, Vec<u8>>, RepositoryError> {
        let mut wanted = Vec::new();
        for of_leaf in numbers.chunk_by(|a, b| a / FAN_OUT_U64 == b / FAN_OUT_U64) {
            let Some(leaf) = of_leaf.first().map(|number| number / FAN_OUT_U64) else { continue };
            let entries = self.nodes.leaf(leaf * FAN_OUT_U64)?;
            let is_wanted = |(number, _): &(u64, &ChunkEntry)| of_leaf.binary_search(number).is_ok();
            let of_leaf = (leaf * FAN_OUT_U64..).zip(&entries).filter(is_wanted);
            wanted.extend(of_leaf.filter_map(|(number, entry)| Some((number, *entry.stored()?))));
        }
        let mut found = BTreeMap::new();
        let mut wrong = None;
        self.chunks.read_stored(&self.tree, wanted.into_iter(), &mut |extent, chunk| {
            match chunk {
                Ok(bytes) => drop(found.insert(extent.offset / u64::from(CATALOG_PAGE_BYTES), bytes.to_vec())),
                Err(error) => wrong = Some(error),
            }
            Ok(())
        })?;
        wrong.map_or(Ok(found), Err)
    }
}

struct Present {
    pages: Vec<u64>,
}

impl TreeVisitor for Present {
    fn enter(&mut self, _node: &StoredNode, _level: u8, _first_chunk: u64) -> Result<bool, RepositoryError> {
        Ok(true)
    }

    fn leaf(&mut self, first_chunk: u64, entries: &[ChunkEntry]) -> Result<(), RepositoryError> {
        self.pages.extend((first_chunk..).zip(entries).filter(|(_, entry)| entry.stored().is_some()).map(|(page, _)| page));
        if self.pages.len() > MAX_PAGES { Err(too_many()) } else { Ok(()) }
    }

    fn lost(&mut self, _node: &StoredNode, _first_chunk: u64, _count: u64, error: RepositoryError) -> Result<(), RepositoryError> {
        Err(error)
    }
}

fn too_many() -> RepositoryError {
    RepositoryError::damaged("a file catalog", format!("it claims more than {MAX_PAGES} pages"))
}
