//! A place where an inode can lie, and what is found there.

use std::ops::{ControlFlow, Range};

use crate::base::extent::Extent;
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::fields::Fields;
use crate::filesystem::inode::Inode;
use crate::filesystem::wreck::Scanned;
use crate::filesystem::xfs::geometry::Geometry;

/// What every inode begins with.
pub(super) const MAGIC: &[u8] = b"IN";
/// Where an inode of version 5 says its number.
const NUMBER_AT: usize = 152;
/// `di_flags2`, and the bit of an inode that belongs to the filesystem itself.
const FLAGS2_AT: usize = 120;
const METADATA: u64 = 1 << 5;

/// What lies in a place.
#[derive(Debug)]
pub(super) enum Look {
    /// An inode that names can lead to.
    Inode(Inode),
    /// A free one.
    Free,
    /// One that waits to be deleted, or belongs to the filesystem itself.
    Waiting,
}

/// A place.
#[derive(Debug)]
pub(super) struct Spot {
    /// The inode's number.
    pub(super) number: u64,
    /// Its bytes of the filesystem.
    pub(super) extent: Extent,
}

impl Spot {
    /// True when a part of it is in one of these.
    pub(super) fn is_within(&self, unreadable: &[Extent]) -> bool {
        unreadable.iter().any(|gap| !gap.intersect(&self.extent).is_empty())
    }

    /// Says that it cannot be read.
    pub(super) fn unreadable(&self) -> FilesystemError {
        let reason = format!("the source cannot be read at byte {}", self.extent.offset);
        FilesystemError::Lost { object: Object::Inode(self.number), reason }
    }

    /// True when these bytes look like an inode that was written for this place, whatever its checksum is.
    pub(super) fn is_claimed_by(&self, raw: &[u8], geometry: &Geometry) -> bool {
        let fields = Fields::new(raw, Object::Inode(self.number), self.extent.offset);
        raw.starts_with(MAGIC) && (!geometry.crc || fields.be64(NUMBER_AT).is_ok_and(|number| number == self.number))
    }

    /// Says that it should not be free.
    pub(super) fn not_free(&self) -> FilesystemError {
        let what = "its group calls it used, and it calls itself free";
        FilesystemError::corrupt(Object::Inode(self.number), self.extent.offset, what)
    }
}

/// True for an inode that belongs to the filesystem itself.
pub(super) fn is_metadata(inode: &Inode, has_metadata_directory: bool) -> bool {
    let fields = Fields::new(&inode.raw, Object::Inode(inode.number.0), 0);
    has_metadata_directory && fields.be64(FLAGS2_AT).is_ok_and(|flags| flags & METADATA != 0)
}

/// Lost inodes that follow each other, which are shown together.
#[derive(Debug, Default)]
pub(super) struct Losses {
    open: Option<(Range<u64>, FilesystemError)>,
}

impl Losses {
    /// Adds an inode, and shows the ones before that do not touch it.
    pub(super) fn add(
        &mut self,
        number: u64,
        error: FilesystemError,
        visit: &mut dyn FnMut(Scanned) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if let Some((inodes, _)) = self.open.as_mut().filter(|(inodes, _)| inodes.end == number) {
            inodes.end += 1;
            return ControlFlow::Continue(());
        }
        self.show(visit)?;
        self.open = Some((number..number + 1, error));
        ControlFlow::Continue(())
    }

    /// Shows what was added.
    pub(super) fn show(&mut self, visit: &mut dyn FnMut(Scanned) -> ControlFlow<()>) -> ControlFlow<()> {
        match self.open.take() {
            Some((inodes, error)) => visit(Scanned::Lost { inodes, error }),
            None => ControlFlow::Continue(()),
        }
    }
}
