//! ext2, ext3 and ext4: so far, the journal that all readers of them stand on.

#[allow(dead_code, unused_imports, reason = "the reader that uses it is not here yet")]
mod journal;
