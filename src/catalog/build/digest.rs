//! The digest of a directory's names, which tells that they are what they were where their places do not.

use std::fmt;
use std::ops::ControlFlow;

use blake3::Hasher;

use crate::catalog::lists::DIGEST_BYTES;
use crate::filesystem::{Entry, Filesystem, Inode, InodeNumber};

/// Takes names in the order on disk.
#[derive(Default)]
pub(super) struct NamesDigest(Hasher);

impl NamesDigest {
    pub(super) fn add(&mut self, entry: &Entry) {
        let length = u64::try_from(entry.name.len()).unwrap_or(u64::MAX);
        self.0.update(&entry.inode.0.to_le_bytes());
        self.0.update(&length.to_le_bytes());
        self.0.update(&entry.name);
    }

    pub(super) fn finish(&self) -> [u8; DIGEST_BYTES] {
        let mut out = [0; DIGEST_BYTES];
        self.0.finalize_xof().fill(&mut out);
        out
    }
}

impl fmt::Debug for NamesDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamesDigest").finish_non_exhaustive()
    }
}

/// True if all names of a directory can be listed, and are those of this digest.
pub(super) fn has_digest(filesystem: &dyn Filesystem, directory: u64, digest: [u8; DIGEST_BYTES]) -> bool {
    let is_same = |inode: &Inode| {
        let mut found = NamesDigest::default();
        let listing = filesystem.list(inode, &mut |entry| {
            found.add(&entry);
            ControlFlow::Continue(())
        });
        listing.is_ok() && found.finish() == digest
    };
    filesystem.inode(InodeNumber(directory)).is_ok_and(|inode| inode.is_directory() && is_same(&inode))
}
