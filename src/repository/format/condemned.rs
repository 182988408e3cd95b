//! Condemned lists: the first step of deletion. What is named here goes once nobody can still need it.
//!
//! ```text
//! pack id [16] | mode u8: 1 delete whole, 2 rewrite without dead slots          repeated
//! ```

use super::bounds::{FormatError, In};
use super::fields::{FieldWriter, Fields};
use crate::base::bytes::{ByteReader, PutBytes};
use crate::base::clock::Timestamp;
use crate::repository::ids::PackId;

const WHAT: &str = "condemned list";

const MADE: u16 = 1;
const PACKS: u16 = 2;

/// What will happen to a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sentence {
    /// No slot of it is needed.
    Delete,
    /// Enough of it is not needed to make rewriting worth while.
    Rewrite,
}

/// A list of packs found unneeded at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CondemnedList {
    /// When they were found unneeded.
    pub made: Timestamp,
    /// The packs.
    pub packs: Vec<(PackId, Sentence)>,
}

impl CondemnedList {
    /// The fields, to be sealed in an envelope.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut packs = Vec::with_capacity(self.packs.len().saturating_mul(17));
        for (pack, sentence) in &self.packs {
            packs.put(&pack.0);
            packs.put_u8(match sentence {
                Sentence::Delete => 1,
                Sentence::Rewrite => 2,
            });
        }
        FieldWriter::default().put_u64(MADE, self.made.0).put(PACKS, &packs).finish()
    }

    /// Reads the fields of an opened envelope.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let fields = Fields::parse(bytes, WHAT, &[])?;
        let mut reader = ByteReader::new(fields.required(PACKS)?);
        let mut packs = Vec::new();
        while !reader.is_empty() {
            let pack = PackId(reader.array().within(WHAT)?);
            let sentence = match reader.u8().within(WHAT)? {
                1 => Sentence::Delete,
                2 => Sentence::Rewrite,
                other => return Err(FormatError::Value { what: WHAT, field: "sentence", value: other.into() }),
            };
            packs.push((pack, sentence));
        }
        Ok(Self { made: Timestamp(fields.u64(MADE)?), packs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_comes_back_as_it_was_written() {
        let packs = vec![(PackId([1; 16]), Sentence::Delete), (PackId([2; 16]), Sentence::Rewrite)];
        let list = CondemnedList { made: Timestamp(3), packs };
        assert_eq!(CondemnedList::parse(&list.encode()), Ok(list));
    }
}
