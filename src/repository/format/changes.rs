//! How a point knew what had changed: whose word counted, what it rests on, and what the next point can count from.

use std::fmt;
use std::str::FromStr;

use super::bounds::{FormatError, In};
use crate::base::bytes::{ByteReader, PutBytes};

const WHAT: &str = "record of changes";

/// Texts beyond this are cut: a name or a reason is a line.
const MAX_TEXT_BYTES: usize = 4096;

/// Whose word it is that nothing else has changed. In the order in which they are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rung {
    /// Somebody made a list.
    List,
    /// The CSI driver compared two snapshots.
    CsiMetadata,
    /// The kernel marked every write between two cuts.
    Epoch,
    /// The metadata of a thin pool.
    ThinMetadata,
}

impl Rung {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::List, Self::CsiMetadata, Self::Epoch, Self::ThinMetadata];

    fn number(self) -> u8 {
        match self {
            Self::List => 1,
            Self::CsiMetadata => 2,
            Self::Epoch => 3,
            Self::ThinMetadata => 4,
        }
    }

    fn numbered(number: u8) -> Result<Self, FormatError> {
        let known = Self::ALL.into_iter().find(|rung| rung.number() == number);
        known.ok_or(FormatError::Value { what: WHAT, field: "whose word", value: number.into() })
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::List => "list",
            Self::CsiMetadata => "csi",
            Self::Epoch => "epoch",
            Self::ThinMetadata => "thin",
        })
    }
}

impl FromStr for Rung {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|rung| rung.to_string() == text).ok_or(())
    }
}

/// How the changed ranges were known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeSource {
    /// There was no earlier point to compare with.
    Full,
    /// Everything was read and compared by hash with the earlier point.
    Compare,
    /// Somebody said so; audited by re-reading a sample.
    Told {
        /// Whose word it was.
        by: Rung,
        /// Bytes that were said to have changed.
        listed_bytes: u64,
        /// Chunks said to be unchanged that were re-read and found so.
        sampled_chunks: u64,
        /// What made it believable, in words.
        proof: String,
    },
}

/// Something about one rung, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Whose.
    pub rung: Rung,
    /// The name of a cut, or a reason.
    pub text: String,
}

/// All that a point keeps about changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeRecord {
    /// How they were known.
    pub source: ChangeSource,
    /// What this cut is called by those who can tell later what has changed since.
    pub cut_names: Vec<Word>,
    /// Who was not believed, and why.
    pub passed_over: Vec<Word>,
    /// Points in a row, this one included, that took somebody's word.
    pub told_in_a_row: u32,
    /// Whose word was caught to be wrong for this volume, and is not taken any more.
    pub distrusted: Vec<Rung>,
}

impl ChangeRecord {
    /// A record without anybody's word.
    #[must_use]
    pub fn of(source: ChangeSource) -> Self {
        Self { source, cut_names: Vec::new(), passed_over: Vec::new(), told_in_a_row: 0, distrusted: Vec::new() }
    }

    /// What this cut is called by `rung`.
    #[must_use]
    pub fn cut_name(&self, rung: Rung) -> Option<&str> {
        self.cut_names.iter().find(|name| name.rung == rung).map(|name| name.text.as_str())
    }
}

pub(super) fn encode_source(source: &ChangeSource) -> Vec<u8> {
    let mut out = Vec::new();
    match source {
        ChangeSource::Full => out.put_u8(1),
        ChangeSource::Compare => out.put_u8(2),
        ChangeSource::Told { by, listed_bytes, sampled_chunks, proof } => {
            out.put_u8(3);
            out.put_u64(*listed_bytes);
            out.put_u64(*sampled_chunks);
            out.put_u8(by.number());
            out.put(cut(proof).as_bytes());
        }
    }
    out
}

pub(super) fn parse_source(bytes: &[u8]) -> Result<ChangeSource, FormatError> {
    let mut reader = ByteReader::new(bytes);
    match reader.u8().within(WHAT)? {
        1 => Ok(ChangeSource::Full),
        2 => Ok(ChangeSource::Compare),
        3 => {
            let (listed_bytes, sampled_chunks) = (reader.u64().within(WHAT)?, reader.u64().within(WHAT)?);
            let by = if reader.is_empty() { Rung::List } else { Rung::numbered(reader.u8().within(WHAT)?)? };
            Ok(ChangeSource::Told { by, listed_bytes, sampled_chunks, proof: rest(&mut reader)? })
        }
        other => Err(FormatError::Value { what: WHAT, field: "change source", value: other.into() }),
    }
}

pub(super) fn encode_words(words: &[Word]) -> Vec<u8> {
    let mut out = Vec::new();
    for word in words {
        let text = cut(&word.text);
        out.put_u8(word.rung.number());
        out.put_u16(u16::try_from(text.len()).unwrap_or(u16::MAX));
        out.put(text.as_bytes());
    }
    out
}

pub(super) fn parse_words(bytes: &[u8]) -> Result<Vec<Word>, FormatError> {
    let mut reader = ByteReader::new(bytes);
    let mut words = Vec::new();
    while !reader.is_empty() {
        let rung = Rung::numbered(reader.u8().within(WHAT)?)?;
        let length = usize::from(reader.u16().within(WHAT)?);
        let mut text = ByteReader::new(reader.take(length).within(WHAT)?);
        words.push(Word { rung, text: rest(&mut text)? });
    }
    Ok(words)
}

pub(super) fn encode_trust(record: &ChangeRecord) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_u32(record.told_in_a_row);
    record.distrusted.iter().for_each(|rung| out.put_u8(rung.number()));
    out
}

pub(super) fn parse_trust(bytes: &[u8]) -> Result<(u32, Vec<Rung>), FormatError> {
    let mut reader = ByteReader::new(bytes);
    let told_in_a_row = reader.u32().within(WHAT)?;
    let rungs = reader.take(reader.remaining()).within(WHAT)?;
    Ok((told_in_a_row, rungs.iter().map(|number| Rung::numbered(*number)).collect::<Result<_, _>>()?))
}

fn rest(reader: &mut ByteReader<'_>) -> Result<String, FormatError> {
    let bytes = reader.take(reader.remaining()).within(WHAT)?;
    String::from_utf8(bytes.to_vec()).map_err(|_| FormatError::Value { what: WHAT, field: "text", value: 0 })
}

/// The beginning of a text that is too long.
fn cut(text: &str) -> &str {
    let end = (0..=MAX_TEXT_BYTES.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or_default()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_known_of_changes_comes_back() {
        for by in Rung::ALL {
            let told = ChangeSource::Told { by, listed_bytes: 7, sampled_chunks: 9, proof: "because of ä".to_owned() };
            assert_eq!(parse_source(&encode_source(&told)), Ok(told));
        }
        for source in [ChangeSource::Full, ChangeSource::Compare] {
            assert_eq!(parse_source(&encode_source(&source)), Ok(source));
        }
        let words =
            vec![Word { rung: Rung::Epoch, text: "cut".to_owned() }, Word { rung: Rung::ThinMetadata, text: String::new() }];
        assert_eq!(parse_words(&encode_words(&words)), Ok(words));
        let record =
            ChangeRecord { told_in_a_row: 5, distrusted: vec![Rung::List, Rung::Epoch], ..ChangeRecord::of(ChangeSource::Full) };
        assert_eq!(parse_trust(&encode_trust(&record)), Ok((5, record.distrusted)));
    }

    #[test]
    fn a_list_without_a_word_on_whose_it_is_is_a_list() {
        let mut bytes = vec![3];
        bytes.put_u64(1);
        bytes.put_u64(2);
        let list = ChangeSource::Told { by: Rung::List, listed_bytes: 1, sampled_chunks: 2, proof: String::new() };
        assert_eq!(parse_source(&bytes), Ok(list));
    }

    #[test]
    fn damaged_records_are_refused_and_long_texts_cut() {
        assert!(parse_source(&[9]).is_err() && parse_source(&[3, 1]).is_err() && parse_trust(&[1]).is_err());
        assert!(parse_words(&[1, 200, 0, b'x']).is_err() && parse_words(&[77, 0, 0]).is_err());
        assert!(parse_trust(&[0, 0, 0, 0, 99]).is_err() && parse_words(&[1, 1, 0, 0xff]).is_err());
        let long = vec![Word { rung: Rung::List, text: "ä".repeat(5000) }];
        assert_eq!(parse_words(&encode_words(&long)).unwrap()[0].text, "ä".repeat(MAX_TEXT_BYTES / 2));
    }
}
