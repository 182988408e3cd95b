//! Which inodes a walk has met: a bit for each, in a bounded number of words.

use std::collections::HashMap;

/// Words of 64 neighbouring inodes. Directories that lie apart take one each, some 70 MB in all; a filesystem keeps most of them near
/// each other.
const MAX_WORDS: usize = 2 << 20;

/// A set of inode numbers.
#[derive(Debug, Default)]
pub struct SeenInodes {
    words: HashMap<u64, u64>,
}

impl SeenInodes {
    /// Adds a number: whether it is new, or `None` when no more can be remembered.
    pub fn insert(&mut self, number: u64) -> Option<bool> {
        let (word, bit) = (number / 64, 1 << (number % 64));
        if self.words.len() >= MAX_WORDS && !self.words.contains_key(&word) {
            return None;
        }
        let bits = self.words.entry(word).or_default();
        let is_new = *bits & bit == 0;
        *bits |= bit;
        Some(is_new)
    }

    /// True if the number was added.
    #[must_use]
    pub fn contains(&self, number: u64) -> bool {
        self.words.get(&(number / 64)).is_some_and(|bits| bits & 1 << (number % 64) != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_new_once() {
        let mut seen = SeenInodes::default();
        for number in [0, 1, 63, 64, u64::MAX] {
            assert_eq!(seen.insert(number), Some(true), "{number}");
        }
        for number in [0, 1, 63, 64, u64::MAX] {
            assert_eq!(seen.insert(number), Some(false), "{number}");
        }
        assert!(!seen.contains(2) && seen.contains(63) && !seen.contains(128));
        assert_eq!(seen.insert(2), Some(true));
    }
}
