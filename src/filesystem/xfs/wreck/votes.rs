//! Votes on one question, from witnesses of which some may speak of another volume.

use std::collections::BTreeMap;

/// Answers that are counted. A volume that holds more of them tells nothing.
const MOST_ANSWERS: usize = 256;

/// How many gave each answer.
#[derive(Debug, Default)]
pub(super) struct Votes<T> {
    counts: BTreeMap<T, u32>,
}

impl<T: Ord + Copy> Votes<T> {
    /// Counts a vote.
    pub(super) fn add(&mut self, answer: T) {
        if self.counts.len() < MOST_ANSWERS || self.counts.contains_key(&answer) {
            let count = self.counts.entry(answer).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// The answer that most gave; of equals, the smallest.
    pub(super) fn winner(&self) -> Option<T> {
        let most = self.counts.values().max()?;
        self.counts.iter().find(|(_, count)| *count == most).map(|(answer, _)| *answer)
    }

    /// All answers, those that most gave first.
    pub(super) fn ranked(&self) -> Vec<T> {
        let mut answers: Vec<_> = self.counts.iter().map(|(answer, count)| (*answer, *count)).collect();
        answers.sort_by_key(|(_, count)| u32::MAX - count);
        answers.into_iter().map(|(answer, _)| answer).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_votes_win_and_of_equals_the_smallest() {
        let mut votes = Votes::default();
        assert_eq!(votes.winner(), None);
        [7, 3, 9, 3, 7].into_iter().for_each(|answer| votes.add(answer));
        assert_eq!((votes.winner(), votes.ranked()), (Some(3), vec![3, 7, 9]));
        votes.add(7);
        assert_eq!((votes.winner(), votes.ranked()), (Some(7), vec![7, 3, 9]));
    }
}
