//! Blocks without checksums, held against their youngest copies in the journal: a few bits that differ were flipped.
//!
//! What the journal holds of a block last is what was written in its place last, for it forgets the oldest first. A block that was freed
//! and used for something else differs in far more than a few bits, and one that somebody wrote around the journal is the superblock.

use std::sync::Arc;

use super::super::Ext;
use crate::filesystem::overlay::{Overlay, Patch};

/// Bits that may differ.
const MOST_BITS: u32 = 8;
/// Blocks that are put right: 16 MiB of the usual ones.
const MOST_BLOCKS: usize = 4096;

impl Ext {
    /// What has to stand in place of blocks with flipped bits; and the byte of each, and what is wrong with it.
    pub(super) fn flipped_blocks(&self) -> (Overlay, Vec<(u64, String)>) {
        let superblock = &self.volume.superblock;
        let mut overlay = Overlay::new(superblock.block_bytes);
        let mut flipped = Vec::new();
        if superblock.has_metadata_checksums() {
            return (overlay, flipped);
        }
        let (mut home_bytes, length) = (vec![0; superblock.block_bytes as usize], superblock.block_bytes as usize);
        for home in self.logged().homes().filter(|home| *home != superblock.superblock_block()) {
            let at = self.volume.place_of(home);
            let youngest = self.logged().of(home, &**self.raw.bytes(), length).next();
            let (Some(youngest), Ok(())) = (youngest, self.volume.bytes().read_at(at, &mut home_bytes)) else { continue };
            let bits = differing_bits(&home_bytes, &youngest);
            if (1..=MOST_BITS).contains(&bits) && flipped.len() < MOST_BLOCKS {
                let what = format!("{bits} of its bits differ from its youngest copy in the journal, which stands in for it");
                flipped.push((at, what));
                overlay.replace(home, Patch::Bytes(Arc::from(youngest)));
            }
        }
        (overlay, flipped)
    }
}

/// How many bits differ; no more than are of interest are counted.
fn differing_bits(one: &[u8], other: &[u8]) -> u32 {
    let mut bits = 0;
    for (a, b) in one.iter().zip(other) {
        bits += (a ^ b).count_ones();
        if bits > MOST_BITS {
            return bits;
        }
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_ends_where_it_no_longer_matters() {
        assert_eq!(differing_bits(&[0xFF, 0], &[0xFE, 0x80]), 2);
        assert_eq!(differing_bits(&[0; 64], &[0; 64]), 0);
        assert!(differing_bits(&[0; 1 << 16], &[0xFF; 1 << 16]) <= MOST_BITS + 8);
    }
}
