//! The file catalog as a point's manifest names it: its tree, and what it is a catalog of.
//!
//! ```text
//! field := tree length u16 | tree, as in the point's own field | version u8 (1) | summary
//! ```
//! The tree comes first and keeps its form for ever, so that a reader that does not know the version still keeps, checks and collects
//! the catalog, and only cannot search it.

use super::bounds::{FormatError, In, to_usize};
use super::point::{Tree, encode_tree, parse_tree};
use crate::base::bytes::{ByteReader, PutBytes};
use crate::base::extent::Extent;

const WHAT: &str = "file catalog";
const VERSION: u8 = 1;

/// A point's catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Catalog {
    /// Its pages. They are chunks of a tree like the volume's own.
    pub tree: Tree,
    /// What it holds; `None` if a newer icecore wrote it.
    pub summary: Option<CatalogSummary>,
}

/// What a catalog holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CatalogSummary {
    /// Which filesystem: 1 ext2, 2 ext3, 3 ext4, 4 XFS.
    pub filesystem: u8,
    /// Its UUID.
    pub uuid: [u8; 16],
    /// 1 clean, 2 replayed, 3 stale: older than what the kernel would show.
    pub view: u8,
    /// Where in the volume it lies.
    pub place: (u64, u64),
    /// Inodes in the catalog.
    pub inodes: u64,
    /// Names that lead to them.
    pub names: u64,
    /// Directories and inodes that could not be read. With any, what the catalog does not hold may exist all the same.
    pub left_out: u64,
    /// What its new pages and nodes took, in bytes as stored.
    pub stored_bytes: u64,
}

impl CatalogSummary {
    /// Where in the volume the filesystem lies.
    #[must_use]
    pub fn extent(&self) -> Extent {
        Extent::new(self.place.0, self.place.1)
    }
}

impl Catalog {
    /// The value of the field.
    pub(super) fn encode(&self) -> Vec<u8> {
        let tree = encode_tree(&self.tree);
        let mut out = Vec::new();
        out.put_u16(u16::try_from(tree.len()).unwrap_or(u16::MAX));
        out.put(&tree);
        if let Some(summary) = &self.summary {
            out.put_u8(VERSION);
            out.put_u8(summary.filesystem);
            out.put(&summary.uuid);
            out.put_u8(summary.view);
            for number in [summary.place.0, summary.place.1, summary.inodes, summary.names, summary.left_out, summary.stored_bytes]
            {
                out.put_u64(number);
            }
        }
        out
    }

    /// Reads what [`Self::encode`] wrote.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = ByteReader::new(bytes);
        let length = reader.u16().within(WHAT)?;
        let tree = parse_tree(reader.take(to_usize(length.into())).within(WHAT)?)?;
        let known = !reader.is_empty() && reader.u8().within(WHAT)? == VERSION;
        let summary = if known { Some(parse_summary(&mut reader)?) } else { None };
        Ok(Self { tree, summary })
    }
}

fn parse_summary(reader: &mut ByteReader<'_>) -> Result<CatalogSummary, FormatError> {
    Ok(CatalogSummary {
        filesystem: reader.u8().within(WHAT)?,
        uuid: reader.array().within(WHAT)?,
        view: reader.u8().within(WHAT)?,
        place: (reader.u64().within(WHAT)?, reader.u64().within(WHAT)?),
        inodes: reader.u64().within(WHAT)?,
        names: reader.u64().within(WHAT)?,
        left_out: reader.u64().within(WHAT)?,
        stored_bytes: reader.u64().within(WHAT)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::format::node::NodeRef;

    #[test]
    fn a_catalog_of_a_later_version_is_kept_and_not_understood() {
        let tree = Tree { size: 1 << 20, chunk_bytes: 16384, level: 0, root: NodeRef::Hole };
        let catalog = Catalog { tree, summary: Some(CatalogSummary { names: 7, view: 2, ..CatalogSummary::default() }) };
        let mut bytes = catalog.encode();
        assert_eq!(Catalog::parse(&bytes), Ok(catalog));
        let version_at = 2 + encode_tree(&tree).len();
        bytes[version_at] = 9;
        assert_eq!(Catalog::parse(&bytes), Ok(Catalog { tree, summary: None }));
        bytes.truncate(version_at);
        assert_eq!(Catalog::parse(&bytes), Ok(Catalog { tree, summary: None }));
        assert!(Catalog::parse(&bytes[..5]).is_err());
    }
}
