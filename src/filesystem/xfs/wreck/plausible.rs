//! Whether an inode without a checksum makes sense: whatever the kernel keeps true of every inode must be true of it.

use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::fields::Fields;
use crate::filesystem::inode::{FileKind, Inode};
use crate::filesystem::xfs::geometry::Geometry;
use crate::filesystem::xfs::inode_core::{FORMAT_LOCAL, FORMAT_RUNS, FORMAT_TREE, Layout};
use crate::filesystem::xfs::run::{RUN_BYTES, Run};

/// Fields of the core.
const OLD_LINKS_AT: usize = 6;
const PADDING_AT: usize = 24;
const NANOSECONDS_AT: [usize; 3] = [36, 44, 52];
const BLOCKS_AT: usize = 64;
const FLAGS_AT: usize = 90;
const PADDING_BYTES: usize = 6;
const NANOSECONDS: u32 = 1_000_000_000;
/// `di_flags`: sixteen are known, and none of them is the last.
const UNKNOWN_FLAGS: u16 = 0x8000;
const VERSION_1: u8 = 1;
/// The largest directory: 32 GiB of entries.
const LARGEST_DIRECTORY: u64 = 32 << 30;
const LARGEST_LINK: u64 = 1024;

/// Says what makes no sense. With checksums there is nothing to ask.
pub(super) fn check(inode: &Inode, geometry: &Geometry) -> Result<(), FilesystemError> {
    if geometry.crc {
        return Ok(());
    }
    let at = geometry.inode(inode.number.0).map_or(0, |place| place.byte);
    let fields = Fields::new(&inode.raw, Object::Inode(inode.number.0), at);
    let layout = Layout::of(fields);
    let (data, attributes) = layout.forks()?;
    let rules = [
        ("padding that is not zero", has_clean_padding(&fields)?),
        ("times beyond a second", NANOSECONDS_AT.into_iter().all(|at| fields.be32(at).is_ok_and(|count| count < NANOSECONDS))),
        ("unknown flags", fields.be16(FLAGS_AT)? & UNKNOWN_FLAGS == 0),
        ("more blocks than the volume", fields.be64(BLOCKS_AT)? <= geometry.data_blocks),
        ("a size that its kind cannot have", has_possible_size(inode, layout.format()?, data.len(), geometry)),
        ("a data fork that cannot be", layout.is_realtime()? || is_fork(layout.format()?, data, layout.data_runs()?, geometry)),
        ("an attribute fork that cannot be", attributes.is_none_or(|bytes| has_attributes(&layout, bytes, geometry))),
    ];
    match rules.into_iter().find(|(_, holds)| !holds) {
        Some((what, _)) => Err(fields.corrupt(format!("an inode with {what}"))),
        None => Ok(()),
    }
}

/// Version 1 counts links elsewhere, and version 2 leaves that place empty.
fn has_clean_padding(fields: &Fields<'_>) -> Result<bool, FilesystemError> {
    let is_first = fields.u8(4)? == VERSION_1;
    let padding = fields.slice(PADDING_AT, PADDING_BYTES)?;
    Ok(padding.iter().all(|byte| *byte == 0) && (is_first || fields.be16(OLD_LINKS_AT)? == 0))
}

fn has_possible_size(inode: &Inode, format: u8, room: usize, geometry: &Geometry) -> bool {
    let is_local = format == FORMAT_LOCAL;
    match inode.kind {
        _ if is_local => (1..=room as u64).contains(&inode.size),
        FileKind::Directory => {
            inode.size > 0 && inode.size <= LARGEST_DIRECTORY && inode.size.is_multiple_of(geometry.directory_bytes().into())
        }
        FileKind::Symlink => (1..=LARGEST_LINK).contains(&inode.size),
        FileKind::Regular => true,
        _ => inode.size == 0,
    }
}

/// A list of runs must fit, and lie where runs can lie; the root of a tree must have children.
fn is_fork(format: u8, bytes: &[u8], runs: u64, geometry: &Geometry) -> bool {
    let fields = Fields::new(bytes, Object::Superblock, 0);
    match format {
        FORMAT_RUNS => {
            let room = (bytes.len() / RUN_BYTES) as u64;
            let mut offsets = (0..bytes.len()).step_by(RUN_BYTES).take(usize::try_from(runs).unwrap_or(usize::MAX));
            runs <= room && offsets.all(|offset| Run::parse(&fields, offset, geometry).is_ok())
        }
        FORMAT_TREE => runs > 0 && fields.be16(0).is_ok_and(|level| level > 0) && fields.be16(2).is_ok_and(|count| count > 0),
        _ => true,
    }
}

fn has_attributes(layout: &Layout<'_>, bytes: &[u8], geometry: &Geometry) -> bool {
    let (format, runs) = (layout.attribute_format(), layout.attribute_runs());
    match (format, runs) {
        (Ok(format @ FORMAT_LOCAL..=FORMAT_TREE), Ok(runs)) => is_fork(format, bytes, runs, geometry),
        _ => false,
    }
}
