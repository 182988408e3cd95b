//! The characters of all names. With them two characters are looked up too, as every three that hold them.
//!
//! The trigram index answers for three characters and more. Reading a million names instead takes longer than asking it for `abx` and
//! `xab` with each `x` that any name has. Names of one or two characters are in no trigram and have an index of their own.

use std::collections::HashSet;

use rusqlite::Connection;

/// With more characters than this all names are read: the answers to so many questions would have to be merged.
const MOST_LETTERS: usize = 400;

/// The characters that are in the index.
#[derive(Debug, Default)]
pub(super) struct Letters(HashSet<char>);

impl Letters {
    /// Reads them.
    pub(super) fn read(connection: &Connection) -> Result<Self, rusqlite::Error> {
        let mut statement = connection.prepare_cached("SELECT text FROM letter")?;
        let mut rows = statement.query([])?;
        let mut letters = HashSet::new();
        while let Some(row) = rows.next()? {
            letters.extend(row.get_ref(0)?.as_str()?.chars());
        }
        Ok(Self(letters))
    }

    /// Adds those of a name.
    pub(super) fn add(&mut self, connection: &Connection, name: &str) -> Result<(), rusqlite::Error> {
        for letter in name.chars() {
            if self.0.insert(letter) {
                connection.prepare_cached("INSERT OR IGNORE INTO letter (text) VALUES (?1)")?.execute([letter.to_string()])?;
            }
        }
        Ok(())
    }

    /// What the trigram index is asked for, to find every longer name with these two characters; `None` if all names must be read.
    pub(super) fn around(&self, pair: &str) -> Option<String> {
        if self.0.is_empty() || self.0.len() > MOST_LETTERS {
            return None;
        }
        let all = self.0.iter().flat_map(|letter| [format!("{pair}{letter}"), format!("{letter}{pair}")]);
        let quoted: Vec<String> = all.map(|three| format!("\"{}\"", three.replace('"', "\"\""))).collect();
        Some(quoted.join(" OR "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_characters_are_asked_for_with_every_neighbour_unless_these_are_too_many() {
        let letters = Letters(HashSet::from(['"']));
        assert_eq!(letters.around("ab").as_deref(), Some(r#""ab""" OR """ab""#));
        assert_eq!(Letters::default().around("ab"), None);
        let many = Letters((0..=MOST_LETTERS as u32).map(|n| char::from_u32(0x4e00 + n).unwrap()).collect());
        assert_eq!(many.around("ab"), None);
    }
}
