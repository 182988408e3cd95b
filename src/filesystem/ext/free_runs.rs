//! Free extents in bounded memory: when there are too many, the short ones count as used.

use crate::base::extent::{Extent, ExtentSet};

/// 16 MiB of extents.
const MAX_EXTENTS: usize = 1 << 20;

/// Extents pushed in ascending order.
#[derive(Debug)]
pub(super) struct FreeRuns {
    extents: Vec<Extent>,
    limit: usize,
    /// Shorter ones are not worth their memory.
    least_bytes: u64,
}

impl Default for FreeRuns {
    fn default() -> Self {
        Self { extents: Vec::new(), limit: MAX_EXTENTS, least_bytes: 1 }
    }
}

impl FreeRuns {
    /// Adds an extent behind all others; joined with the last one where they touch.
    pub(super) fn push(&mut self, extent: Extent) {
        match self.extents.last_mut() {
            Some(last) if last.end() == extent.offset => *last = Extent::between(last.offset, extent.end()),
            _ => self.extents.push(extent),
        }
        while self.extents.len() > self.limit {
            self.least_bytes = self.least_bytes.saturating_mul(2);
            self.extents.retain(|extent| extent.length >= self.least_bytes);
        }
    }

    pub(super) fn into_set(self) -> ExtentSet {
        self.extents.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_too_many_extents_the_shortest_are_left_out() {
        let mut runs = FreeRuns { limit: 4, ..FreeRuns::default() };
        for (offset, length) in [(0, 10), (10, 6), (100, 1), (200, 2), (300, 9), (400, 1), (500, 5)] {
            runs.push(Extent::new(offset, length));
        }
        let kept = [(0, 16), (200, 2), (300, 9), (500, 5)].map(|(offset, length)| Extent::new(offset, length));
        assert_eq!(runs.into_set().as_slice(), kept);
    }
}
