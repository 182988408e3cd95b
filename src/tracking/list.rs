//! A list of changed ranges that somebody made.

use thiserror::Error;

use super::source::{Answer, ChangeSource, SourceError};
use crate::base::extent::{Extent, ExtentSet};
use crate::repository::format::changes::Rung;

/// Ranges that somebody says have changed since the volume's newest point.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChangeList {
    /// The ranges, in bytes.
    pub extents: ExtentSet,
}

/// A line of a change list that is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line} of the change list is {text:?}; each line is 'offset length' in bytes")]
pub struct ChangeListError {
    line: usize,
    text: String,
}

impl ChangeList {
    /// Reads lines of 'offset length', in bytes. Empty lines and lines that begin with # are skipped.
    pub fn parse(text: &str) -> Result<Self, ChangeListError> {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        let extents = lines
            .map(|(index, line)| {
                parse_line(line).ok_or_else(|| ChangeListError { line: index + 1, text: line.chars().take(80).collect() })
            })
            .collect::<Result<ExtentSet, _>>()?;
        Ok(Self { extents })
    }
}

fn parse_line(line: &str) -> Option<Extent> {
    let mut words = line.split_whitespace();
    let (offset, length) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    words.next().is_none().then_some(Extent::new(offset, length))
}

impl ChangeSource for ChangeList {
    fn rung(&self) -> Rung {
        Rung::List
    }

    fn counts_from(&self) -> Option<&str> {
        None
    }

    fn cut_name(&self) -> Option<&str> {
        None
    }

    fn changes(&mut self) -> Result<Answer, SourceError> {
        Ok(Answer::Exact { ranges: self.extents.clone(), proof: "whoever made the list vouches for it".to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_list_is_offset_and_length_a_line() {
        let list = ChangeList::parse("# made by hand\n0 512\n\n  4096\t8192 \n512 512\n").unwrap();
        assert_eq!(list.extents.as_slice(), [Extent::new(0, 1024), Extent::new(4096, 8192)]);
        for (text, line) in [("0 512\nx 1", 2), ("1", 1), ("1 2 3", 1), ("-1 5", 1), ("1 99999999999999999999", 1)] {
            assert_eq!(ChangeList::parse(text).unwrap_err().line, line, "{text:?}");
        }
    }
}
