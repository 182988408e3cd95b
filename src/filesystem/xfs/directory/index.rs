//! The index of a directory: for each entry the hash of its name, and where it stands.
//!
//! ```text
//!   leaf: siblings, checksum and owner 56 | entries 2, stale ones 2, padding 4 | hash 4, byte / 8 of the directory 4 | ...
//! ```

use super::block::{INDEX_ENTRY_BYTES, INDEX_TAIL_BYTES};
use crate::filesystem::error::FilesystemError;
use crate::filesystem::fields::Fields;

/// A leaf that stands alone begins with one of these, one of several with the other; four bytes for each sibling come before.
const MAGIC_AT: usize = 8;
const MAGICS: [u16; 2] = [0x3df1, 0x3dff];
const COUNT_AT: usize = 56;
const ENTRIES_AT: usize = 64;
/// Places are counted in these.
const PLACE_LOG: u8 = 3;

/// What the index knows of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::filesystem::xfs) struct Indexed {
    /// The hash of its name.
    pub(in crate::filesystem::xfs) hash: u32,
    /// Where it stands, in bytes of the directory. Zero for one that is gone.
    pub(in crate::filesystem::xfs) place: u64,
}

/// The entries of a leaf of version 5, of which the checksum was compared. A node has none.
pub(in crate::filesystem::xfs) fn leaf(fields: &Fields<'_>) -> Result<Vec<Indexed>, FilesystemError> {
    if !MAGICS.contains(&fields.be16(MAGIC_AT)?) {
        return Ok(Vec::new());
    }
    entries(fields, ENTRIES_AT, fields.be16(COUNT_AT)?.into())
}

/// The index at the end of the only block of a directory.
pub(in crate::filesystem::xfs) fn of_single(fields: &Fields<'_>) -> Result<Vec<Indexed>, FilesystemError> {
    let tail = fields.length().saturating_sub(INDEX_TAIL_BYTES);
    let count = usize::try_from(fields.be32(tail)?).unwrap_or(usize::MAX);
    let start = count.checked_mul(INDEX_ENTRY_BYTES).and_then(|bytes| tail.checked_sub(bytes));
    entries(fields, start.ok_or_else(|| fields.corrupt("its index is longer than the block"))?, count)
}

fn entries(fields: &Fields<'_>, start: usize, count: usize) -> Result<Vec<Indexed>, FilesystemError> {
    let bytes = fields.slice(start, count.saturating_mul(INDEX_ENTRY_BYTES))?;
    bytes.chunks_exact(INDEX_ENTRY_BYTES).map(|entry| indexed(&Fields::new(entry, fields.object(), 0))).collect()
}

fn indexed(fields: &Fields<'_>) -> Result<Indexed, FilesystemError> {
    Ok(Indexed { hash: fields.be32(0)?, place: u64::from(fields.be32(4)?) << PLACE_LOG })
}

/// The hash of a name, of volumes that tell small letters from large ones: seven bits further for each byte.
pub(in crate::filesystem::xfs) fn hash(name: &[u8]) -> u32 {
    name.iter().fold(0, |hash: u32, byte| u32::from(*byte) ^ hash.rotate_left(7))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filesystem::error::Object;

    #[test]
    fn names_hash_as_the_kernel_hashes_them() {
        for (name, expected) in [
            ("a", 0x61),
            ("ab", 0x30e2),
            ("abc", 0x18_7163),
            ("abcd", 0xc38_b1e4),
            ("abcde", 0x1c58_f263),
            ("entry_00001_n", 0x79ef_7354),
            ("ünïcödé", 0x495d_eea3),
        ] {
            assert_eq!(hash(name.as_bytes()), expected, "{name}");
        }
    }

    #[test]
    fn an_index_that_is_longer_than_its_block_is_refused() {
        let mut block = vec![0; 512];
        block[504..508].copy_from_slice(&63_u32.to_be_bytes());
        block[MAGIC_AT..MAGIC_AT + 2].copy_from_slice(&MAGICS[0].to_be_bytes());
        block[COUNT_AT..COUNT_AT + 2].copy_from_slice(&56_u16.to_be_bytes());
        let read = |block: &[u8]| {
            let fields = Fields::new(block, Object::Directory(1), 0);
            (of_single(&fields).map(|entries| entries.len()).ok(), leaf(&fields).map(|entries| entries.len()).ok())
        };
        assert_eq!(read(&block), (Some(63), Some(56)));
        block[507] = 64;
        block[COUNT_AT + 1] = 57;
        assert_eq!(read(&block), (None, None));
        block[504..508].fill(0xff);
        block[MAGIC_AT] = 0;
        assert_eq!(read(&block), (None, Some(0)));
    }
}
