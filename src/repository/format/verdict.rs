//! Verdicts: small statements about a point, made after it. Points themselves never change.

use super::bounds::FormatError;
use super::fields::{FieldWriter, Fields};
use super::point::Previous;
use crate::base::bytes::PutBytes;
use crate::base::clock::Timestamp;
use crate::repository::ids::PointId;

const WHAT: &str = "verdict";

const KIND: u16 = 1;
const MADE: u16 = 2;
const NOTE: u16 = 3;
const DIGEST: u16 = 4;
const PREVIOUS: u16 = 5;

/// What is said of the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerdictKind {
    /// Every byte was read back and held against its id.
    Verified,
    /// A scan found malware.
    Infected,
    /// Something is odd; look before restoring.
    Suspect,
    /// Retention must keep it.
    Pinned,
    /// Nobody may forget it, pinned or not, until the hold is lifted.
    Held,
    /// It was forgotten on purpose: the next point's chain ends here, and nothing is missing.
    Forgotten {
        /// BLAKE3 of the forgotten object.
        digest: [u8; 32],
        /// What it had been built on.
        previous: Option<Previous>,
    },
}

impl VerdictKind {
    /// The kind in a word.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Infected => "infected",
            Self::Suspect => "suspect",
            Self::Pinned => "pinned",
            Self::Held => "held",
            Self::Forgotten { .. } => "forgotten",
        }
    }

    fn number(&self) -> u8 {
        match self {
            Self::Verified => 1,
            Self::Infected => 2,
            Self::Suspect => 3,
            Self::Pinned => 4,
            Self::Held => 5,
            Self::Forgotten { .. } => 6,
        }
    }
}

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What is said.
    pub kind: VerdictKind,
    /// When it was said.
    pub made: Timestamp,
    /// Why, in words.
    pub note: String,
}

impl Verdict {
    /// The fields, to be sealed in an envelope.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut fields = FieldWriter::default();
        fields.put(KIND, &[self.kind.number()]).put_u64(MADE, self.made.0).put(NOTE, self.note.as_bytes());
        if let VerdictKind::Forgotten { digest, previous } = &self.kind {
            fields.put(DIGEST, digest);
            if let Some(previous) = previous {
                let mut bytes = previous.id.to_bytes().to_vec();
                bytes.put(&previous.digest);
                fields.put(PREVIOUS, &bytes);
            }
        }
        fields.finish()
    }

    /// Reads the fields of an opened envelope.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let fields = Fields::parse(bytes, WHAT, &[])?;
        let kind = match fields.array::<1>(KIND)? {
            [1] => VerdictKind::Verified,
            [2] => VerdictKind::Infected,
            [3] => VerdictKind::Suspect,
            [4] => VerdictKind::Pinned,
            [5] => VerdictKind::Held,
            [6] => VerdictKind::Forgotten { digest: fields.array(DIGEST)?, previous: parse_previous(&fields)? },
            [other] => return Err(FormatError::Value { what: WHAT, field: "kind", value: other.into() }),
        };
        Ok(Self { kind, made: Timestamp(fields.u64(MADE)?), note: fields.text_or_empty(NOTE) })
    }
}

fn parse_previous(fields: &Fields<'_>) -> Result<Option<Previous>, FormatError> {
    if fields.optional(PREVIOUS).is_none() {
        return Ok(None);
    }
    let bytes: [u8; 48] = fields.array(PREVIOUS)?;
    let (mut id, mut digest) = ([0; 16], [0; 32]);
    let (front, back) = bytes.split_at(16);
    id.copy_from_slice(front);
    digest.copy_from_slice(back);
    Ok(Some(Previous { id: PointId::from_bytes(id), digest }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_comes_back_as_it_was_written() {
        let previous = Previous { id: PointId { time: Timestamp(1), random: [2; 10] }, digest: [3; 32] };
        for kind in [
            VerdictKind::Verified,
            VerdictKind::Infected,
            VerdictKind::Suspect,
            VerdictKind::Pinned,
            VerdictKind::Held,
            VerdictKind::Forgotten { digest: [4; 32], previous: None },
            VerdictKind::Forgotten { digest: [4; 32], previous: Some(previous) },
        ] {
            let verdict = Verdict { kind, made: Timestamp(5), note: "n".into() };
            assert_eq!(Verdict::parse(&verdict.encode()), Ok(verdict));
        }
    }
}
