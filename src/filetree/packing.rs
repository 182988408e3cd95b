//! Short files that wait for each other, so that they lie together.

use crate::filesystem::file_tree::TreeRecord;

/// Short files wait until they are this much together, or this many.
const PACKING_BYTES: usize = 1 << 20;
const PACKING_FILES: usize = 8192;

/// Short files packed together: long ones between them would leave each alone in a chunk.
#[derive(Debug, Default)]
pub(super) struct Packing {
    pub(super) bytes: Vec<u8>,
    /// Number, where in the bytes, and what to keep once it has a place.
    pub(super) records: Vec<(u64, u64, TreeRecord)>,
}

impl Packing {
    pub(super) fn push(&mut self, number: u64, record: TreeRecord, bytes: &[u8]) {
        self.records.push((number, self.bytes.len() as u64, record));
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= PACKING_BYTES || self.records.len() >= PACKING_FILES
    }
}
