//! Single flipped bits of ext4 metadata, put right where a checksum names them.

use super::super::checksum::crc32c;
use super::super::directory_block::{TAIL_BYTES, TAIL_KIND};
use super::super::record::{CHECKSUM_HIGH, CHECKSUM_LOW, GENERATION, Record};
use super::super::volume::Volume;
use crate::filesystem::error::Object;
use crate::filesystem::fields::Fields;
use crate::filesystem::mend::{self, Flip, Mended};

/// Where the sum of a block stands, and what it is the sum of: everything before it.
struct Sum {
    at: usize,
    covered: usize,
}

impl Volume {
    /// What is mended, if this volume is read so.
    fn mended(&self) -> Option<&Mended> {
        let checked = self.superblock.has_metadata_checksums();
        self.merge.as_ref().map(|merge| &merge.mended).filter(|_| checked)
    }

    /// Puts an inode right that was read from byte `at`.
    pub(in crate::filesystem::ext) fn mend_inode(&self, number: u32, at: u64, bytes: &mut [u8]) {
        let Some(mended) = self.mended().filter(|_| self.superblock.has_inode_checksums()) else { return };
        let is_right = |bytes: &[u8]| Record::new(number, bytes, at).is_ok_and(|record| record.verify(&self.superblock).is_ok());
        // Noise agrees with half a sum too easily.
        if is_right(bytes) || !Record::new(number, bytes, at).is_ok_and(|record| record.has_whole_checksum()) {
            return;
        }
        let turned = self.turned(number, at, bytes).or_else(|| turned_generation(bytes, &is_right));
        if let Some(turned) = turned.filter(|turned| is_right(turned)) {
            bytes.copy_from_slice(&turned);
            mended.note(Object::Inode(u64::from(number)), at);
        }
    }

    /// The inode with the bit turned that its checksum names.
    fn turned(&self, number: u32, at: u64, bytes: &[u8]) -> Option<Vec<u8>> {
        let (stored, computed) = Record::new(number, bytes, at).ok()?.sums(&self.superblock).ok()?;
        let mut turned = bytes.to_vec();
        match mend::find(stored, computed, bytes.len())? {
            Flip::InSum => {
                let (low, high) = turned.split_at_mut_checked(CHECKSUM_HIGH)?;
                low.get_mut(CHECKSUM_LOW..CHECKSUM_LOW + 2)?.copy_from_slice(&(computed as u16).to_le_bytes());
                high.get_mut(..2)?.copy_from_slice(&((computed >> 16) as u16).to_le_bytes());
            }
            Flip::At { byte, mask } => *turned.get_mut(byte)? ^= mask,
        }
        Some(turned)
    }

    /// Puts a node of a tree of extents right. `seed` begins the checksums of its inode.
    pub(in crate::filesystem::ext) fn mend_extents(&self, object: Object, at: u64, seed: u32, bytes: &mut [u8]) {
        // The room for entries, which says where the sum stands, is the same in every node.
        let room = (bytes.len().saturating_sub(16)) / 12;
        let sum = Sum { at: (room + 1) * 12, covered: (room + 1) * 12 };
        self.mend_block(object, at, seed, &sum, bytes);
    }

    /// Puts a directory block with names right.
    pub(in crate::filesystem::ext) fn mend_names(&self, object: Object, at: u64, seed: u32, bytes: &mut [u8]) {
        let tail = bytes.len().saturating_sub(TAIL_BYTES);
        let fields = Fields::new(bytes, object, at);
        // An index has no such tail, and its sum is another.
        let looks_right = fields.u8(tail + 7).is_ok_and(|kind| kind == TAIL_KIND);
        if looks_right {
            self.mend_block(object, at, seed, &Sum { at: tail + 8, covered: tail }, bytes);
        }
    }

    fn mend_block(&self, object: Object, at: u64, seed: u32, sum: &Sum, bytes: &mut [u8]) {
        let Some(mended) = self.mended() else { return };
        let fields = Fields::new(bytes, object, at);
        let (Ok(stored), Ok(covered)) = (fields.le32(sum.at), fields.slice(0, sum.covered)) else { return };
        let computed = crc32c(seed, covered);
        if stored == computed {
            return;
        }
        if let Some(flip) = mend::find(stored, computed, sum.covered) {
            flip.turn_back(bytes, sum.at, computed);
            mended.note(object, at);
        }
    }
}

/// The inode with a bit of its generation turned, which the sum begins with besides.
fn turned_generation(bytes: &[u8], is_right: &dyn Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
    (0..32).find_map(|bit| {
        let mut turned = bytes.to_vec();
        *turned.get_mut(GENERATION + bit / 8)? ^= 1 << (bit % 8);
        is_right(&turned).then_some(turned)
    })
}
