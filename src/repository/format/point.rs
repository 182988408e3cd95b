//! Recovery points: the manifest whose existence makes a point exist.
//!
//! Fields (see `fields`): the numbers below; extents are pairs of u64.

use super::bounds::{FormatError, In, expect_end};
use super::catalog::Catalog;
use super::changes::{self, ChangeRecord};
use super::fields::{CRITICAL, FieldWriter, Fields};
use super::file_tree::FileTreeFacts;
use super::node::{FAN_OUT_U64, FrameRef, MAX_LEVEL, NodeRef, StoredNode};
use crate::base::bytes::{ByteReader, PutBytes};
use crate::base::clock::Timestamp;
use crate::base::extent::{Extent, ExtentSet};
use crate::repository::ids::{ContentId, PackId, PointId};

const WHAT: &str = "recovery point";
const ROOT: &str = "root reference";

const VOLUME: u16 = 1;
const CUT: u16 = 2;
const PREVIOUS: u16 = 3;
const SOURCE: u16 = 4;
const CHANGE_SOURCE: u16 = 5;
const CONSISTENCY: u16 = 6;
const STATISTICS: u16 = 7;
const UNREADABLE: u16 = 8;
const INCIDENT: u16 = 9;
const WRITER: u16 = 10;
const HOST: u16 = 11;
const CATALOG: u16 = 12;
const CUT_NAMES: u16 = 13;
const PASSED_OVER: u16 = 14;
const TRUST: u16 = 15;
const TREE: u16 = CRITICAL;
/// Critical: who does not know it would take what was left out for zeros.
const OMITTED: u16 = CRITICAL | 1;
/// Critical: who does not know it would restore half an exbibyte that no filesystem reads.
const FILE_TREE: u16 = CRITICAL | 2;

/// More unreadable extents than this are joined into coarser ones before they are recorded.
pub const MAX_UNREADABLE_EXTENTS: usize = 65_536;
/// No more ranges than this are left out of a point; smaller ones are read instead.
pub const MAX_OMITTED_EXTENTS: usize = 65_536;

/// Size, chunk size and root: all that is needed to read a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tree {
    /// Size of the volume in bytes.
    pub size: u64,
    /// Size of its chunks in bytes; the last one may be shorter.
    pub chunk_bytes: u32,
    /// Level of the root; [`Tree::level_for`] of the two above.
    pub level: u8,
    /// The root.
    pub root: NodeRef,
}

impl Tree {
    /// How many chunks a volume has.
    #[must_use]
    pub fn chunk_count(&self) -> u64 {
        self.size.div_ceil(self.chunk_bytes.max(1).into())
    }

    /// The level of the root for a volume of `chunks` chunks.
    #[must_use]
    pub fn level_for(chunks: u64) -> u8 {
        let mut level = 0u8;
        let mut covered = u128::from(FAN_OUT_U64);
        while covered < chunks.into() {
            covered = covered.saturating_mul(u128::from(FAN_OUT_U64));
            level = level.saturating_add(1);
        }
        level
    }
}

/// The point before this one of the same volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Previous {
    /// Its name.
    pub id: PointId,
    /// BLAKE3 of its whole object.
    pub digest: [u8; 32],
}

/// In which state the volume was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consistency {
    /// Nothing wrote to it: an image at rest, a snapshot, an unmounted device.
    Quiescent,
    /// It was mounted read-write while it was read. Different parts are from different moments.
    Live,
    /// It was mounted read-write, and frozen while the last of what had been written was read: its filesystem is as at one moment.
    Frozen,
}

/// What the backup did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Bytes read from the source.
    pub read_bytes: u64,
    /// Bytes of chunks that had to be stored, before compression.
    pub new_bytes: u64,
    /// Bytes of data packs written.
    pub data_stored_bytes: u64,
    /// Bytes of tree packs written.
    pub tree_stored_bytes: u64,
    /// From start to commit, in milliseconds.
    pub duration_ms: u64,
}

/// A recovery point's manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// The volume's name, chosen by the user.
    pub volume: String,
    /// When the volume was cut.
    pub cut: Timestamp,
    /// The point it was built on.
    pub previous: Option<Previous>,
    /// What was read, in words: a path.
    pub source: String,
    /// How changes were known.
    pub changes: ChangeRecord,
    /// The state of the volume.
    pub consistency: Consistency,
    /// What it took.
    pub statistics: Statistics,
    /// Ranges that the source could not give.
    pub unreadable: ExtentSet,
    /// Ranges that belonged to no file and were not read. The tree has holes there, but nobody knows what the source held.
    pub omitted: ExtentSet,
    /// A change list was caught lying, at this chunk.
    pub incident: Option<Extent>,
    /// Program and version that wrote it.
    pub writer: String,
    /// Host that wrote it.
    pub host: String,
    /// The index of its files, if there is one.
    pub catalog: Option<Catalog>,
    /// The volume is a tree of files.
    pub file_tree: Option<FileTreeFacts>,
    /// The volume itself.
    pub tree: Tree,
}

impl Point {
    /// How much there is to bring back: the size of the volume, or of the files in it.
    #[must_use]
    pub fn content_bytes(&self) -> u64 {
        self.file_tree.map_or(self.tree.size, |facts| facts.content_bytes)
    }

    /// The fields, to be sealed in an envelope.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut fields = FieldWriter::default();
        fields.put(VOLUME, self.volume.as_bytes()).put_u64(CUT, self.cut.0);
        if let Some(previous) = &self.previous {
            let mut bytes = previous.id.to_bytes().to_vec();
            bytes.put(&previous.digest);
            fields.put(PREVIOUS, &bytes);
        }
        fields
            .put(SOURCE, self.source.as_bytes())
            .put(CHANGE_SOURCE, &changes::encode_source(&self.changes.source))
            .put(
                CONSISTENCY,
                &[match self.consistency {
                    Consistency::Quiescent => 1,
                    Consistency::Live => 2,
                    Consistency::Frozen => 3,
                }],
            )
            .put(STATISTICS, &encode_statistics(&self.statistics));
        if !self.unreadable.is_empty() {
            fields.put(UNREADABLE, &encode_extents(self.unreadable.as_slice()));
        }
        if let Some(incident) = self.incident {
            fields.put(INCIDENT, &encode_extents(&[incident]));
        }
        fields.put(WRITER, self.writer.as_bytes()).put(HOST, self.host.as_bytes());
        if let Some(catalog) = &self.catalog {
            fields.put(CATALOG, &catalog.encode());
        }
        for (field, words) in [(CUT_NAMES, &self.changes.cut_names), (PASSED_OVER, &self.changes.passed_over)] {
            if !words.is_empty() {
                fields.put(field, &changes::encode_words(words));
            }
        }
        if self.changes.told_in_a_row > 0 || !self.changes.distrusted.is_empty() {
            fields.put(TRUST, &changes::encode_trust(&self.changes));
        }
        fields.put(TREE, &encode_tree(&self.tree));
        if !self.omitted.is_empty() {
            fields.put(OMITTED, &encode_extents(self.omitted.as_slice()));
        }
        if let Some(facts) = &self.file_tree {
            fields.put(FILE_TREE, &facts.encode());
        }
        fields.finish()
    }

    /// Reads the fields of an opened envelope.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let fields = Fields::parse(bytes, WHAT, &[TREE, OMITTED, FILE_TREE])?;
        let incident = fields.optional(INCIDENT).map(parse_extents).transpose()?;
        let unreadable = fields.optional(UNREADABLE).map(parse_extents).transpose()?.unwrap_or_default();
        let omitted = fields.optional(OMITTED).map(parse_extents).transpose()?.unwrap_or_default();
        Ok(Self {
            volume: fields.text(VOLUME)?,
            cut: Timestamp(fields.u64(CUT)?),
            previous: fields.optional(PREVIOUS).map(parse_previous).transpose()?,
            source: fields.text(SOURCE)?,
            changes: parse_changes(&fields)?,
            consistency: match fields.array::<1>(CONSISTENCY)? {
                [1] => Consistency::Quiescent,
                [2] => Consistency::Live,
                [3] => Consistency::Frozen,
                [other] => return Err(FormatError::Value { what: WHAT, field: "consistency", value: other.into() }),
            },
            statistics: parse_statistics(fields.required(STATISTICS)?)?,
            unreadable: unreadable.into_iter().collect(),
            omitted: omitted.into_iter().collect(),
            incident: incident.and_then(|extents| extents.first().copied()),
            writer: fields.text_or_empty(WRITER),
            host: fields.text_or_empty(HOST),
            catalog: fields.optional(CATALOG).map(Catalog::parse).transpose()?,
            file_tree: fields.optional(FILE_TREE).map(|bytes| FileTreeFacts::parse(bytes, FILE_TREE)).transpose()?,
            tree: parse_tree(fields.required(TREE)?)?,
        })
    }
}

/// Size, chunk size, level and root of a tree, as points and leases hold them.
pub(super) fn encode_tree(tree: &Tree) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_u64(tree.size);
    out.put_u32(tree.chunk_bytes);
    out.put_u8(tree.level);
    out.put(&encode_root(&tree.root));
    out
}

/// Reads what [`encode_tree`] wrote.
pub(super) fn parse_tree(bytes: &[u8]) -> Result<Tree, FormatError> {
    let mut reader = ByteReader::new(bytes);
    let size = reader.u64().within(WHAT)?;
    let chunk_bytes = reader.u32().within(WHAT)?;
    let level = reader.u8().within(WHAT)?;
    if !super::config::is_chunk_size(chunk_bytes) {
        return Err(FormatError::Value { what: WHAT, field: "chunk size", value: chunk_bytes.into() });
    }
    let root = reader.take(reader.remaining()).within(WHAT)?;
    let tree = Tree { size, chunk_bytes, level, root: parse_root(root)? };
    if level > MAX_LEVEL || level != Tree::level_for(tree.chunk_count()) {
        return Err(FormatError::Value { what: WHAT, field: "root level", value: level.into() });
    }
    Ok(tree)
}

fn encode_root(root: &NodeRef) -> Vec<u8> {
    let mut out = Vec::new();
    if let NodeRef::Node(node) = root {
        out.put(&node.id.0);
        out.put(&node.frame.pack.0);
        out.put_u32(node.frame.slot);
        out.put_u32(node.frame.offset);
        out.put_u32(node.frame.stored);
    }
    out
}

fn parse_root(bytes: &[u8]) -> Result<NodeRef, FormatError> {
    if bytes.is_empty() {
        return Ok(NodeRef::Hole);
    }
    let mut reader = ByteReader::new(bytes);
    let id = ContentId(reader.array().within(ROOT)?);
    let frame = FrameRef {
        pack: PackId(reader.array().within(ROOT)?),
        slot: reader.u32().within(ROOT)?,
        offset: reader.u32().within(ROOT)?,
        stored: reader.u32().within(ROOT)?,
    };
    expect_end(&reader, ROOT)?;
    Ok(NodeRef::Node(StoredNode { id, frame }))
}

fn parse_previous(bytes: &[u8]) -> Result<Previous, FormatError> {
    let mut reader = ByteReader::new(bytes);
    let previous = Previous { id: PointId::from_bytes(reader.array().within(WHAT)?), digest: reader.array().within(WHAT)? };
    expect_end(&reader, WHAT)?;
    Ok(previous)
}

fn parse_changes(fields: &Fields<'_>) -> Result<ChangeRecord, FormatError> {
    let words = |field| fields.optional(field).map(changes::parse_words).transpose();
    let (told_in_a_row, distrusted) = fields.optional(TRUST).map(changes::parse_trust).transpose()?.unwrap_or_default();
    Ok(ChangeRecord {
        source: changes::parse_source(fields.required(CHANGE_SOURCE)?)?,
        cut_names: words(CUT_NAMES)?.unwrap_or_default(),
        passed_over: words(PASSED_OVER)?.unwrap_or_default(),
        told_in_a_row,
        distrusted,
    })
}

fn encode_statistics(statistics: &Statistics) -> Vec<u8> {
    let mut out = Vec::with_capacity(40);
    for value in [
        statistics.read_bytes,
        statistics.new_bytes,
        statistics.data_stored_bytes,
        statistics.tree_stored_bytes,
        statistics.duration_ms,
    ] {
        out.put_u64(value);
    }
    out
}

fn parse_statistics(bytes: &[u8]) -> Result<Statistics, FormatError> {
    let mut reader = ByteReader::new(bytes);
    Ok(Statistics {
        read_bytes: reader.u64().within(WHAT)?,
        new_bytes: reader.u64().within(WHAT)?,
        data_stored_bytes: reader.u64().within(WHAT)?,
        tree_stored_bytes: reader.u64().within(WHAT)?,
        duration_ms: reader.u64().within(WHAT)?,
    })
}

fn encode_extents(extents: &[Extent]) -> Vec<u8> {
    let mut out = Vec::with_capacity(extents.len().saturating_mul(16));
    for extent in extents {
        out.put_u64(extent.offset);
        out.put_u64(extent.length);
    }
    out
}

fn parse_extents(bytes: &[u8]) -> Result<Vec<Extent>, FormatError> {
    let mut reader = ByteReader::new(bytes);
    let mut extents = Vec::new();
    while !reader.is_empty() {
        extents.push(Extent::new(reader.u64().within(WHAT)?, reader.u64().within(WHAT)?));
    }
    Ok(extents)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::format::catalog::CatalogSummary;
    use crate::repository::format::changes::{ChangeSource, Rung, Word};

    fn point() -> Point {
        let frame = FrameRef { pack: PackId([2; 16]), slot: 3, offset: 4, stored: 5 };
        Point {
            volume: "db".into(),
            cut: Timestamp(1_700_000_000_000),
            previous: Some(Previous { id: PointId { time: Timestamp(5), random: [6; 10] }, digest: [7; 32] }),
            source: "/dev/vdb".into(),
            changes: ChangeRecord {
                source: ChangeSource::Told { by: Rung::Epoch, listed_bytes: 8, sampled_chunks: 9, proof: "p".into() },
                cut_names: vec![Word { rung: Rung::Epoch, text: "cut".into() }],
                passed_over: vec![Word { rung: Rung::CsiMetadata, text: "why".into() }],
                told_in_a_row: 3,
                distrusted: vec![Rung::List],
            },
            consistency: Consistency::Live,
            statistics: Statistics { read_bytes: 10, duration_ms: 11, ..Statistics::default() },
            unreadable: [Extent::new(512, 512), Extent::new(4096, 512)].into_iter().collect(),
            omitted: Extent::new(65536, 131_072).into(),
            incident: Some(Extent::new(16384, 16384)),
            writer: "icecore 0.1.0".into(),
            host: "node-1".into(),
            catalog: Some(Catalog {
                summary: Some(CatalogSummary { filesystem: 3, inodes: 12, ..CatalogSummary::default() }),
                tree: Tree { size: 1 << 20, chunk_bytes: 16384, level: 0, root: NodeRef::Hole },
            }),
            file_tree: Some(FileTreeFacts { inodes: 13, content_bytes: 14, troubled: 15 }),
            tree: Tree {
                size: 1 << 20,
                chunk_bytes: 16384,
                level: 0,
                root: NodeRef::Node(StoredNode { id: ContentId([1; 32]), frame }),
            },
        }
    }

    #[test]
    fn a_point_comes_back_as_it_was_written() {
        let full = point();
        assert_eq!(Point::parse(&full.encode()), Ok(full.clone()));
        let bare = Point {
            previous: None,
            unreadable: ExtentSet::new(),
            omitted: ExtentSet::new(),
            incident: None,
            catalog: None,
            changes: ChangeRecord::of(ChangeSource::Full),
            file_tree: None,
            tree: Tree { root: NodeRef::Hole, ..full.tree },
            ..full
        };
        assert_eq!(Point::parse(&bare.encode()), Ok(bare));
    }

    #[test]
    fn a_root_at_the_wrong_level_is_refused() {
        let mut wrong = point();
        wrong.tree.level = 1;
        assert!(matches!(Point::parse(&wrong.encode()), Err(FormatError::Value { field: "root level", .. })));
    }

    #[test]
    fn the_root_level_follows_the_chunk_count() {
        for (chunks, level) in [(0, 0), (1, 0), (64, 0), (65, 1), (4096, 1), (4097, 2), (u64::MAX / 4096, 8)] {
            assert_eq!(Tree::level_for(chunks), level, "{chunks} chunks");
        }
    }
}
