//! Words of an inode: the kinds in its mode, and its flags.

pub(super) const FIFO: u16 = 0x1000;
pub(super) const CHARACTER: u16 = 0x2000;
pub(super) const DIRECTORY: u16 = 0x4000;
pub(super) const BLOCK: u16 = 0x6000;
pub(super) const REGULAR: u16 = 0x8000;
pub(super) const SYMLINK: u16 = 0xA000;
pub(super) const SOCKET: u16 = 0xC000;

/// Names or content are encrypted.
pub(super) const ENCRYPT: u32 = 0x800;
/// The directory has an index.
pub(super) const INDEX: u32 = 0x1000;
/// Space is counted in blocks, not in sectors.
pub(super) const HUGE_FILE: u32 = 0x4_0000;
/// The map is a tree of extents.
pub(super) const EXTENTS: u32 = 0x8_0000;
/// The inode holds the value of an extended attribute.
pub(super) const EA_INODE: u32 = 0x20_0000;
/// The content lies in the inode.
pub(super) const INLINE_DATA: u32 = 0x1000_0000;
