//! Leases: a running writer's public promise of what it builds on.

use super::bounds::{FormatError, In};
use super::fields::{CRITICAL, FieldWriter, Fields};
use super::point::{Tree, encode_tree, parse_tree};
use crate::base::bytes::{ByteReader, PutBytes};
use crate::base::clock::Timestamp;
use crate::repository::ids::{PointId, VolumeKey};

const WHAT: &str = "lease";

const VOLUME: u16 = 1;
const EXPIRES: u16 = 2;
const POINTS: u16 = 3;
const HOST: u16 = 4;
const PROGRESS: u16 = 5;
const ENDED: u16 = 6;
const CHECKPOINT: u16 = CRITICAL;
const RESUMED: u16 = CRITICAL | 1;
const BASIS: u16 = CRITICAL | 2;
const BASIS_CATALOG: u16 = CRITICAL | 3;

/// What a writer holds while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The volume it writes.
    pub volume: VolumeKey,
    /// When it lapses unless renewed.
    pub expires: Timestamp,
    /// Points that must not be forgotten meanwhile.
    pub points: Vec<PointId>,
    /// Who writes, in words.
    pub host: String,
    /// The tree of the point that this one is built on. It stays alive even if the point is forgotten meanwhile.
    pub basis: Option<Tree>,
    /// The tree of that point's catalog, which the new catalog shares pages with.
    pub basis_catalog: Option<Tree>,
    /// The writer has given up and says so. It commits nothing any more; what it left is kept for the next run until the lease lapses.
    pub ended: bool,
    /// How many bytes of the volume the checkpoint covers.
    pub progress: u64,
    /// The unfinished tree so far. Everything it reaches is alive, and a later run may take chunks from it.
    pub checkpoint: Option<Tree>,
    /// The checkpoint of an earlier run that this one takes chunks from.
    pub resumed: Option<Tree>,
}

impl Lease {
    /// The fields, to be sealed in an envelope.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut points = Vec::with_capacity(self.points.len().saturating_mul(16));
        self.points.iter().for_each(|point| points.put(&point.to_bytes()));
        let mut fields = FieldWriter::default();
        fields
            .put(VOLUME, &self.volume.0)
            .put_u64(EXPIRES, self.expires.0)
            .put(POINTS, &points)
            .put(HOST, self.host.as_bytes())
            .put_u64(PROGRESS, self.progress)
            .put_u64(ENDED, self.ended.into());
        let trees =
            [(CHECKPOINT, &self.checkpoint), (RESUMED, &self.resumed), (BASIS, &self.basis), (BASIS_CATALOG, &self.basis_catalog)];
        for (tag, tree) in trees {
            if let Some(tree) = tree {
                fields.put(tag, &encode_tree(tree));
            }
        }
        fields.finish()
    }

    /// Everything of volumes that the lease keeps alive. Beside it lives [`Self::basis_catalog`].
    pub fn trees(&self) -> impl Iterator<Item = &Tree> {
        [&self.checkpoint, &self.resumed, &self.basis].into_iter().flatten()
    }

    /// Reads the fields of an opened envelope.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let fields = Fields::parse(bytes, WHAT, &[CHECKPOINT, RESUMED, BASIS, BASIS_CATALOG])?;
        let mut reader = ByteReader::new(fields.required(POINTS)?);
        let mut points = Vec::new();
        while !reader.is_empty() {
            points.push(PointId::from_bytes(reader.array().within(WHAT)?));
        }
        Ok(Self {
            volume: VolumeKey(fields.array(VOLUME)?),
            expires: Timestamp(fields.u64(EXPIRES)?),
            points,
            host: fields.text_or_empty(HOST),
            progress: fields.u64(PROGRESS)?,
            ended: fields.u64(ENDED)? != 0,
            checkpoint: fields.optional(CHECKPOINT).map(parse_tree).transpose()?,
            resumed: fields.optional(RESUMED).map(parse_tree).transpose()?,
            basis: fields.optional(BASIS).map(parse_tree).transpose()?,
            basis_catalog: fields.optional(BASIS_CATALOG).map(parse_tree).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::format::node::NodeRef;

    #[test]
    fn a_lease_comes_back_as_it_was_written() {
        let tree = Tree { size: 5, chunk_bytes: 4096, level: 0, root: NodeRef::Hole };
        for (checkpoint, resumed) in [(None, None), (Some(tree), None), (None, Some(tree))] {
            let lease = Lease {
                volume: VolumeKey([1; 16]),
                expires: Timestamp(2),
                points: vec![PointId { time: Timestamp(3), random: [4; 10] }],
                host: "h".into(),
                progress: 5,
                ended: checkpoint.is_some(),
                checkpoint,
                resumed,
                basis: resumed,
                basis_catalog: checkpoint,
            };
            assert_eq!(Lease::parse(&lease.encode()), Ok(lease));
        }
    }
}
