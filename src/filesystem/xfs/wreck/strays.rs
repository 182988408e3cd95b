//! Directory blocks that are known by their looks alone, wherever they lie.

use std::ops::ControlFlow;

use super::names::found_name;
use crate::base::extent::Extent;
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::fields::Fields;
use crate::filesystem::inode::InodeNumber;
use crate::filesystem::sweep::overlapping;
use crate::filesystem::wreck::{Proof, StrayBlock};
use crate::filesystem::xfs::Xfs;
use crate::filesystem::xfs::directory::block::{check, magics};
use crate::filesystem::xfs::directory::record::{Record, around};
use crate::filesystem::xfs::geometry::Geometry;
use crate::filesystem::xfs::seal::DIRECTORY;

/// Where a block of version 5 says which directory it belongs to.
pub(super) const OWNER_AT: usize = 40;

/// Shows the directory blocks that begin within `within`. Fails only when somebody wants the work to end.
pub(super) fn show(xfs: &Xfs, within: Extent, visit: &mut dyn FnMut(StrayBlock) -> ControlFlow<()>) -> Result<(), FilesystemError> {
    let geometry = xfs.disk.geometry();
    let (block_bytes, directory_bytes) = (u64::from(geometry.block_bytes()), geometry.directory_bytes() as usize);
    let start = within.offset.checked_next_multiple_of(block_bytes).unwrap_or(u64::MAX);
    let within = Extent::between(start, within.end());
    let swept = overlapping(&*xfs.volume, within, geometry.directory_bytes().into(), &mut |piece, bytes, _| {
        for offset in (0..piece.length).step_by(geometry.block_bytes() as usize) {
            let from = usize::try_from(offset).unwrap_or(usize::MAX);
            let Some(bytes) = from.checked_add(directory_bytes).and_then(|end| bytes.get(from..end)) else { break };
            let at = piece.offset + offset;
            if let Some(stray) = parse(geometry, at, bytes).or_else(|| mended(xfs, at, bytes)) {
                visit(stray)?;
            }
        }
        ControlFlow::Continue(())
    });
    swept.map(drop).map_err(|source| FilesystemError::Io { object: Object::Superblock, source })
}

/// The same with a flipped bit put right. Of what does not look like a directory block at all, nothing is expected.
fn mended(xfs: &Xfs, at: u64, bytes: &[u8]) -> Option<StrayBlock> {
    let (single, plain) = magics(xfs.disk.geometry());
    let mut copy = (bytes.starts_with(single) || bytes.starts_with(plain)).then(|| bytes.to_vec())?;
    xfs.disk.mend(Object::Directory(0), at, &DIRECTORY, &mut copy);
    parse(xfs.disk.geometry(), at, &copy)
}

/// The directory block at byte `at`, if there is one.
fn parse(geometry: &Geometry, at: u64, bytes: &[u8]) -> Option<StrayBlock> {
    let entries = Entries::read(geometry, at, bytes)?;
    // Without a checksum, its structure is all that speaks for it.
    if !geometry.crc && (!entries.are_whole || entries.records.is_empty()) {
        return None;
    }
    let proof = if geometry.crc { Proof::Checksum } else { Proof::Plausible };
    Some(stray(geometry, at, geometry.crc.then_some(entries.owner), &entries.records, proof))
}

/// True when a directory block lies in its place and nothing of it is missing.
pub(super) fn is_whole(xfs: &Xfs, at: u64) -> bool {
    let geometry = xfs.disk.geometry();
    let Ok(mut bytes) = xfs.disk.read(Object::Directory(0), at, geometry.directory_bytes()) else { return false };
    xfs.disk.mend(Object::Directory(0), at, &DIRECTORY, &mut bytes);
    Entries::read(geometry, at, &bytes).is_some_and(|entries| entries.are_whole)
}

/// A block of the directory `owner`, or of one that only its entries name.
pub(super) fn stray(geometry: &Geometry, at: u64, owner: Option<u64>, records: &[Record<'_>], proof: Proof) -> StrayBlock {
    let (itself, parent) = leading(records);
    let directory = owner.or(itself).filter(|directory| geometry.inode(*directory).is_some());
    StrayBlock {
        at,
        directory: directory.map(InodeNumber),
        key: None,
        parent: parent.map(InodeNumber),
        names: records.iter().filter(|record| !matches!(record.name, b"." | b"..")).map(found_name).collect(),
        proof,
    }
}

/// What is in a block that has a right checksum, or that needs none.
struct Entries<'a> {
    /// The directory that the block says it belongs to; zero in version 4.
    owner: u64,
    records: Vec<Record<'a>>,
    are_whole: bool,
}

impl<'a> Entries<'a> {
    fn read(geometry: &Geometry, at: u64, bytes: &'a [u8]) -> Option<Self> {
        let (single, plain) = magics(geometry);
        if !bytes.starts_with(single) && !bytes.starts_with(plain) {
            return None;
        }
        let owner = if geometry.crc { Fields::new(bytes, Object::Directory(0), at).be64(OWNER_AT).ok()? } else { 0 };
        let fields = Fields::new(bytes, Object::Directory(owner), at);
        let within = check(geometry, &fields, None, at, owner).ok()?;
        let (mut records, mut are_whole) = (Vec::new(), true);
        let _all = around(&fields, within, geometry, &mut |record| {
            match record {
                Ok(record) => records.push(record),
                Err(_) => are_whole = false,
            }
            ControlFlow::Continue(())
        });
        Some(Self { owner, records, are_whole })
    }
}

/// The directory itself and the one that holds it, which the first block of a directory begins with.
fn leading(records: &[Record<'_>]) -> (Option<u64>, Option<u64>) {
    match records {
        [itself, parent, ..] if itself.name == b"." && parent.name == b".." => (Some(itself.inode), Some(parent.inode)),
        _ => (None, None),
    }
}
