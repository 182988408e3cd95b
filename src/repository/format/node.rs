//! Nodes of the block tree: what a volume's chunks are and where they lie.
//!
//! ```text
//! node   := kind u8 (1 leaf, 2 inner) | level u8 | entry count u8 | pack count u8 | frame count u8 | packs | frames | entries
//! packs  := pack id [16], each once, in order of first use
//! frames := pack index u8 | slot u32 | offset u32 | stored u32, each once, in order of first use
//! leaf entry, level 0
//!   0 hole                     all zeros
//!   1 stored                   frame index u8 | place in frame u8 | chunk id [32]
//!   2 stored with gaps         the same; ranges the source could not read are zeros in it, and listed in the point
//!   3 unreadable               no byte of the chunk could be read
//!   4, 5                       reserved
//! inner entry, level 1 and up
//!   0 hole                     all zeros below
//!   1 child                    frame index u8 | node id [32]
//! ```
//! Offset and stored length are hints: a pack that was rewritten has the frame elsewhere, under the same slot.
//! Entries after the last one that is no hole are left out.

use super::bounds::{FormatError, In, expect_end};
use crate::base::bytes::{ByteReader, PutBytes};
use crate::repository::ids::{ContentId, PackId};

const WHAT: &str = "tree node";

/// Children of an inner node, and chunks of a leaf.
pub const FAN_OUT: usize = 64;
/// [`FAN_OUT`] for sums of chunk numbers.
pub const FAN_OUT_U64: u64 = 64;
/// Levels above the leaves: 64 to the power of 10 chunks of 4 KiB are more than 2 to the power of 64 bytes.
pub const MAX_LEVEL: u8 = 9;

/// Where a frame lies. `offset` and `stored` are hints that are verified and never trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FrameRef {
    /// The pack.
    pub pack: PackId,
    /// Its slot there: for ever.
    pub slot: u32,
    /// Where it was when this was written, in bytes from the start of the pack.
    pub offset: u32,
    /// Its length with header and tag, in bytes.
    pub stored: u32,
}

/// What one chunk of a volume is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkEntry {
    /// All zeros.
    Hole,
    /// Kept in a frame.
    Stored(StoredChunk),
    /// Kept in a frame, but some of it could not be read; the point lists which bytes.
    StoredWithGaps(StoredChunk),
    /// Nothing of it could be read.
    Unreadable,
}

/// A chunk in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredChunk {
    /// Keyed hash of its bytes.
    pub id: ContentId,
    /// The frame.
    pub frame: FrameRef,
    /// Which chunk of the frame, from 0.
    pub place: u8,
}

impl ChunkEntry {
    /// The stored chunk, if there is one.
    #[must_use]
    pub fn stored(&self) -> Option<&StoredChunk> {
        match self {
            Self::Stored(chunk) | Self::StoredWithGaps(chunk) => Some(chunk),
            Self::Hole | Self::Unreadable => None,
        }
    }

    /// True when both say the same of the volume's bytes, wherever they are kept.
    #[must_use]
    pub fn same_content(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Hole, Self::Hole) | (Self::Unreadable, Self::Unreadable) => true,
            (Self::Stored(a), Self::Stored(b)) | (Self::StoredWithGaps(a), Self::StoredWithGaps(b)) => a.id == b.id,
            _ => false,
        }
    }
}

/// A subtree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeRef {
    /// All zeros below.
    Hole,
    /// A node in a frame of its own.
    Node(StoredNode),
}

/// A node in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredNode {
    /// Keyed hash of its encoded bytes.
    pub id: ContentId,
    /// The frame.
    pub frame: FrameRef,
}

/// A decoded node. Both lists are shorter than [`FAN_OUT`] where the rest is holes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// Chunks of the volume.
    Leaf(Vec<ChunkEntry>),
    /// Subtrees, `level` above the leaves.
    Inner {
        /// 1 for parents of leaves.
        level: u8,
        /// The subtrees.
        children: Vec<NodeRef>,
    },
}

impl Node {
    /// The level above the leaves.
    #[must_use]
    pub fn level(&self) -> u8 {
        match self {
            Self::Leaf(_) => 0,
            Self::Inner { level, .. } => *level,
        }
    }

    /// The node's bytes. Equal nodes have equal bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut tables = Tables::default();
        let mut entries = Vec::with_capacity(FAN_OUT.saturating_mul(36));
        let count = match self {
            Self::Leaf(chunks) => {
                let used = used_length(chunks, |chunk| *chunk == ChunkEntry::Hole);
                chunks.iter().take(used).for_each(|chunk| put_chunk(chunk, &mut tables, &mut entries));
                used
            }
            Self::Inner { children, .. } => {
                let used = used_length(children, |child| *child == NodeRef::Hole);
                children.iter().take(used).for_each(|child| put_child(child, &mut tables, &mut entries));
                used
            }
        };
        let mut out = Vec::with_capacity(entries.len().saturating_add(tables.bytes()));
        out.put_u8(if self.level() == 0 { 1 } else { 2 });
        out.put_u8(self.level());
        out.put_u8(small(count));
        tables.put(&mut out);
        out.put(&entries);
        out
    }

    /// Reads a node; anything but what [`Node::encode`] writes is refused.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = ByteReader::new(bytes);
        let kind = reader.u8().within(WHAT)?;
        let level = reader.u8().within(WHAT)?;
        let count = usize::from(reader.u8().within(WHAT)?);
        let frames = parse_frames(&mut reader)?;
        if count > FAN_OUT {
            return Err(value("entry count", small(count)));
        }
        let node = match (kind, level) {
            (1, 0) => Self::Leaf((0..count).map(|_| take_chunk(&mut reader, &frames)).collect::<Result<_, _>>()?),
            (2, 1..=MAX_LEVEL) => {
                let children = (0..count).map(|_| take_child(&mut reader, &frames)).collect::<Result<_, _>>()?;
                Self::Inner { level, children }
            }
            _ => return Err(value("kind", kind)),
        };
        expect_end(&reader, WHAT)?;
        Ok(node)
    }
}

fn value(field: &'static str, value: u8) -> FormatError {
    FormatError::Value { what: WHAT, field, value: value.into() }
}

/// Counts here never pass [`FAN_OUT`].
fn small(count: usize) -> u8 {
    u8::try_from(count).unwrap_or(u8::MAX)
}

fn used_length<T>(entries: &[T], is_hole: impl Fn(&T) -> bool) -> usize {
    entries.iter().rposition(|entry| !is_hole(entry)).map_or(0, |last| last.saturating_add(1))
}

/// Packs and frames of a node, each named once.
#[derive(Debug, Default)]
struct Tables {
    packs: Vec<PackId>,
    frames: Vec<FrameRef>,
}

impl Tables {
    fn frame_index(&mut self, frame: &FrameRef) -> u8 {
        // The newest entry is the likeliest: chunks of one run stand together.
        if let Some(found) = self.frames.iter().rposition(|known| known == frame) {
            return small(found);
        }
        if !self.packs.contains(&frame.pack) {
            self.packs.push(frame.pack);
        }
        self.frames.push(*frame);
        small(self.frames.len().saturating_sub(1))
    }

    fn bytes(&self) -> usize {
        self.packs.len().saturating_mul(16).saturating_add(self.frames.len().saturating_mul(13)).saturating_add(5)
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.put_u8(small(self.packs.len()));
        out.put_u8(small(self.frames.len()));
        self.packs.iter().for_each(|pack| out.put(&pack.0));
        for frame in &self.frames {
            out.put_u8(small(self.packs.iter().position(|pack| *pack == frame.pack).unwrap_or_default()));
            out.put_u32(frame.slot);
            out.put_u32(frame.offset);
            out.put_u32(frame.stored);
        }
    }
}

fn parse_frames(reader: &mut ByteReader<'_>) -> Result<Vec<FrameRef>, FormatError> {
    let pack_count = reader.u8().within(WHAT)?;
    let frame_count = reader.u8().within(WHAT)?;
    let packs: Vec<PackId> = (0..pack_count).map(|_| reader.array().map(PackId).within(WHAT)).collect::<Result<_, _>>()?;
    (0..frame_count)
        .map(|_| {
            let index = reader.u8().within(WHAT)?;
            let pack = *packs.get(usize::from(index)).ok_or(value("pack index", index))?;
            Ok(FrameRef {
                pack,
                slot: reader.u32().within(WHAT)?,
                offset: reader.u32().within(WHAT)?,
                stored: reader.u32().within(WHAT)?,
            })
        })
        .collect()
}

fn put_chunk(chunk: &ChunkEntry, tables: &mut Tables, out: &mut Vec<u8>) {
    let (kind, stored) = match chunk {
        ChunkEntry::Hole => return out.put_u8(0),
        ChunkEntry::Unreadable => return out.put_u8(3),
        ChunkEntry::Stored(stored) => (1, stored),
        ChunkEntry::StoredWithGaps(stored) => (2, stored),
    };
    out.put_u8(kind);
    out.put_u8(tables.frame_index(&stored.frame));
    out.put_u8(stored.place);
    out.put(&stored.id.0);
}

fn take_chunk(reader: &mut ByteReader<'_>, frames: &[FrameRef]) -> Result<ChunkEntry, FormatError> {
    let kind = reader.u8().within(WHAT)?;
    match kind {
        0 => return Ok(ChunkEntry::Hole),
        3 => return Ok(ChunkEntry::Unreadable),
        1 | 2 => {}
        other => return Err(value("chunk kind", other)),
    }
    let frame = take_frame(reader, frames)?;
    let place = reader.u8().within(WHAT)?;
    let id = ContentId(reader.array().within(WHAT)?);
    let stored = StoredChunk { id, frame, place };
    Ok(if kind == 1 { ChunkEntry::Stored(stored) } else { ChunkEntry::StoredWithGaps(stored) })
}

fn put_child(child: &NodeRef, tables: &mut Tables, out: &mut Vec<u8>) {
    match child {
        NodeRef::Hole => out.put_u8(0),
        NodeRef::Node(node) => {
            out.put_u8(1);
            out.put_u8(tables.frame_index(&node.frame));
            out.put(&node.id.0);
        }
    }
}

fn take_child(reader: &mut ByteReader<'_>, frames: &[FrameRef]) -> Result<NodeRef, FormatError> {
    match reader.u8().within(WHAT)? {
        0 => Ok(NodeRef::Hole),
        1 => {
            let frame = take_frame(reader, frames)?;
            Ok(NodeRef::Node(StoredNode { frame, id: ContentId(reader.array().within(WHAT)?) }))
        }
        other => Err(value("child kind", other)),
    }
}

fn take_frame(reader: &mut ByteReader<'_>, frames: &[FrameRef]) -> Result<FrameRef, FormatError> {
    let index = reader.u8().within(WHAT)?;
    frames.get(usize::from(index)).copied().ok_or(value("frame index", index))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame() -> impl Strategy<Value = FrameRef> {
        (0u8..3, 0u32..4, any::<u32>(), any::<u32>()).prop_map(|(pack, slot, offset, stored)| FrameRef {
            pack: PackId([pack; 16]),
            slot,
            offset,
            stored,
        })
    }

    fn chunk() -> impl Strategy<Value = ChunkEntry> {
        let stored = (frame(), any::<u8>(), any::<[u8; 32]>())
            .prop_map(|(frame, place, id)| StoredChunk { id: ContentId(id), frame, place })
            .boxed();
        prop_oneof![
            Just(ChunkEntry::Hole),
            Just(ChunkEntry::Unreadable),
            stored.clone().prop_map(ChunkEntry::Stored),
            stored.prop_map(ChunkEntry::StoredWithGaps),
        ]
    }

    fn child() -> impl Strategy<Value = NodeRef> {
        prop_oneof![
            Just(NodeRef::Hole),
            (frame(), any::<[u8; 32]>()).prop_map(|(frame, id)| NodeRef::Node(StoredNode { id: ContentId(id), frame })),
        ]
    }

    fn node() -> impl Strategy<Value = Node> {
        prop_oneof![
            prop::collection::vec(chunk(), 0..=FAN_OUT).prop_map(Node::Leaf),
            (1..=MAX_LEVEL, prop::collection::vec(child(), 0..=FAN_OUT))
                .prop_map(|(level, children)| Node::Inner { level, children }),
        ]
    }

    /// What parsing gives back: the same without the holes at the end.
    fn trimmed(mut node: Node) -> Node {
        match &mut node {
            Node::Leaf(chunks) => chunks.truncate(used_length(chunks, |c| *c == ChunkEntry::Hole)),
            Node::Inner { children, .. } => children.truncate(used_length(children, |c| *c == NodeRef::Hole)),
        }
        node
    }

    proptest! {
        #[test]
        fn nodes_come_back_as_they_were_written(node in node()) {
            let bytes = node.encode();
            let back = Node::parse(&bytes).unwrap();
            prop_assert_eq!(back.encode(), bytes);
            prop_assert_eq!(back, trimmed(node));
        }

        #[test]
        fn garbage_is_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(node) = Node::parse(&bytes) {
                prop_assert!(node.encode().len() <= bytes.len() + 8192);
            }
        }
    }

    #[test]
    fn a_leaf_of_one_run_costs_35_bytes_a_chunk() {
        let frame = FrameRef { pack: PackId([1; 16]), slot: 0, offset: 64, stored: 9000 };
        let chunks = (0..64).map(|i| ChunkEntry::Stored(StoredChunk { id: ContentId([i; 32]), frame, place: i }));
        assert_eq!(Node::Leaf(chunks.collect()).encode().len(), 5 + 16 + 13 + 64 * 35);
    }
}
