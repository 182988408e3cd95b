//! Images with some bytes changed in memory, and a walk that collects whatever goes wrong.

use std::ops::ControlFlow;
use std::sync::Arc;

use icecore::base::extent::Extent;
use icecore::base::io::ReadAt;
use icecore::filesystem::{FileKind, Filesystem, FilesystemError, Inode, InodeNumber, Overlaid, Overlay, Patch, Xfs};

const UNIT_BYTES: u32 = 512;
/// What a walk may see before it has seen enough, even where a directory leads back to itself.
const ENOUGH: usize = 20_000;

/// Bytes of `source` with some of them changed.
pub(crate) struct Patched {
    source: Arc<dyn ReadAt>,
    overlay: Overlay,
}

impl Patched {
    pub(crate) fn new(source: Arc<dyn ReadAt>) -> Self {
        Self { source, overlay: Overlay::new(UNIT_BYTES) }
    }

    pub(crate) fn source(&self) -> Arc<dyn ReadAt> {
        Arc::new(Overlaid::new(Arc::clone(&self.source), self.overlay.clone()))
    }

    pub(crate) fn read(&self, at: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.source().read_at(at, &mut bytes).unwrap();
        bytes
    }

    pub(crate) fn write(&mut self, at: u64, bytes: &[u8]) {
        let whole = Extent::new(at, bytes.len() as u64).align_outward(UNIT_BYTES.into());
        let mut units = self.read(whole.offset, whole.length as usize);
        units[(at - whole.offset) as usize..][..bytes.len()].copy_from_slice(bytes);
        for (unit, content) in (whole.offset / u64::from(UNIT_BYTES)..).zip(units.chunks(UNIT_BYTES as usize)) {
            self.overlay.replace(unit, Patch::Bytes(content.into()));
        }
    }

    pub(crate) fn flip(&mut self, at: u64) {
        let byte = self.read(at, 1)[0];
        self.write(at, &[byte ^ 0x10]);
    }

    /// Makes the checksum at `offset` of a structure right again.
    pub(crate) fn seal(&mut self, at: u64, length: usize, offset: usize) {
        let mut bytes = self.read(at, length);
        bytes[offset..offset + 4].fill(0);
        self.write(at + offset as u64, &crc32c::crc32c(&bytes).to_le_bytes());
    }
}

/// Where a kind of metadata begins with these bytes at this offset, and where its checksum stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    pub(crate) magic: &'static [u8],
    pub(crate) offset: usize,
    pub(crate) length: usize,
    pub(crate) checksum: usize,
}

const BLOCK_BYTES: usize = 1024;
/// mkfs makes no smaller ones.
const DIRECTORY_BYTES: usize = 4096;

const fn block(magic: &'static [u8], offset: usize, checksum: usize) -> Mark {
    Mark { magic, offset, length: BLOCK_BYTES, checksum }
}

pub(crate) const FREE_HEADER: Mark = Mark { magic: b"XAGF", offset: 0, length: 512, checksum: 216 };
pub(crate) const INODE_HEADER: Mark = Mark { magic: b"XAGI", offset: 0, length: 512, checksum: 312 };
pub(crate) const INODE: Mark = Mark { magic: b"IN", offset: 0, length: 512, checksum: 100 };
pub(crate) const FREE_TREE: Mark = block(b"AB3B", 0, 52);
pub(crate) const INODE_TREE: Mark = block(b"IAB3", 0, 52);
pub(crate) const MAP_TREE: Mark = block(b"BMA3", 0, 64);
pub(crate) const ONE_BLOCK: Mark = Mark { magic: b"XDB3", offset: 0, length: DIRECTORY_BYTES, checksum: 4 };
pub(crate) const DIRECTORY: Mark = Mark { magic: b"XDD3", offset: 0, length: DIRECTORY_BYTES, checksum: 4 };
pub(crate) const LEAF: Mark = block(b"\x3b\xee", 8, 12);
pub(crate) const NODE: Mark = block(b"\x3e\xbe", 8, 12);
pub(crate) const LINK: Mark = block(b"XSLM", 0, 12);
pub(crate) const VALUE: Mark = block(b"XARM", 0, 12);

/// Where all structures of a kind lie, those that are no longer in use included.
pub(crate) fn find(source: &Arc<dyn ReadAt>, mark: Mark, within: u64) -> Vec<u64> {
    let mut found = Vec::new();
    for piece in Extent::new(0, within).cut(1 << 20) {
        let mut bytes = vec![0; piece.length as usize];
        source.read_at(piece.offset, &mut bytes).unwrap();
        let starts = (0..bytes.len()).step_by(mark.length.min(BLOCK_BYTES));
        found.extend(starts.filter(|at| bytes[at + mark.offset..].starts_with(mark.magic)).map(|at| piece.offset + at as u64));
    }
    found
}

/// Looks at everything that names lead to.
pub(crate) fn walk(xfs: &Xfs) -> Vec<FilesystemError> {
    let mut errors = Vec::new();
    let (mut waiting, mut seen) = (vec![xfs.root()], 0);
    while let Some(number) = waiting.pop().filter(|_| seen < ENOUGH) {
        seen += 1;
        match xfs.inode(number) {
            Ok(inode) => {
                waiting.extend(children(xfs, &inode, &mut errors));
                errors.extend(look(xfs, &inode));
            }
            Err(error) => errors.push(error),
        }
    }
    errors
}

fn children(xfs: &Xfs, inode: &Inode, errors: &mut Vec<FilesystemError>) -> Vec<InodeNumber> {
    let mut children = Vec::new();
    if inode.is_directory() {
        let listed = xfs.list(inode, &mut |entry| {
            children.push(entry.inode);
            if children.len() > ENOUGH { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        errors.extend(listed.err());
    }
    children
}

fn look(xfs: &Xfs, inode: &Inode) -> Vec<FilesystemError> {
    let head = Extent::new(0, 40 << 20);
    let tail = Extent::between(inode.size.saturating_sub(1 << 20), inode.size);
    let target = (inode.kind == FileKind::Symlink).then(|| xfs.link_target(inode).err());
    let mut errors: Vec<_> = [head, tail].into_iter().filter_map(|range| xfs.map(inode, range).err()).collect();
    errors.extend(xfs.read(inode, 0, &mut [0; 9_000]).err());
    errors.extend(target.flatten());
    errors.extend(xfs.xattrs(inode).err());
    errors
}
