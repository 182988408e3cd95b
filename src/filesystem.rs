//! ext2/3/4, XFS and file trees of our own read without mounting: files, names and attributes as the kernel would show them after recovery.
//!
//! ```text
//!   ReadAt (device | image | recovery point)
//!     └─ journal or log replayed in memory: an Overlay, the source is never written
//!          └─ Filesystem: inodes, directories, links, attributes, where data lies, what is free
//!               └─ resolve a path, walk a tree
//! ```
//! Every byte is hostile. A reader never panics, never allocates by a size it was told, never follows a pointer without a bound, and
//! names the object and the place of the first thing that is wrong. It opens no device and writes nothing.

mod allocation;
mod cache;
mod detect;
mod error;
mod ext;
mod face;
mod fields;
pub mod file_tree;
mod inode;
mod layout;
mod mend;
mod names;
mod overlay;
mod partition;
mod path;
mod seen;
mod sweep;
mod view;
mod walk;
mod wreck;
mod xfs;

pub use allocation::{Allocation, Doubt};
pub use cache::{Cached, METADATA_CACHE_BYTES};
pub use detect::open;
pub use error::{FilesystemError, Object};
pub use ext::Ext;
pub use face::{Entry, Filesystem, Identity, Kind, Segment, Source, Xattr};
pub use inode::{FileKind, FileTime, Inode, InodeNumber};
pub use layout::{Layout, is_data, map_stretches, written_bytes};
pub use names::{MAX_NAME_BYTES, is_plain_name, printable};
pub use overlay::{Overlaid, Overlay, Patch};
pub use partition::{Partition, partition, partitions};
pub use path::{Links, resolve};
pub use seen::SeenInodes;
pub use view::View;
pub use walk::{Loss, MAX_DEPTH, Spot, TreeVisitor, walk};
pub use wreck::{FoundEntry, FoundInode, FoundName, Proof, Scanned, StrayBlock, Wreck, salvage, salvage_as};
pub use xfs::Xfs;
