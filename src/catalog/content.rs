//! Where a file's bytes lie, as far as a record keeps it.

use super::varint::{self, MAX_VARINT_BYTES};
use crate::base::bytes::{ByteReader, PutBytes, Truncated};
use crate::base::extent::Extent;
use crate::filesystem::{FileKind, Filesystem, FilesystemError, Inode, Kind, Source};

/// A record holds no more runs than this; an ext4 inode itself holds as many.
pub(super) const MAX_PLACES: usize = 4;
/// The longest encoded content: the count, and three numbers a run.
pub(super) const MAX_CONTENT_BYTES: usize = 1 + MAX_PLACES * 3 * MAX_VARINT_BYTES;
/// Bytes of a file that are mapped at once: bounds the answer to a quarter million runs.
const LONGEST_STEP: u64 = 1 << 30;
const FIRST_STEP: u64 = 8 << 20;
/// A file that takes more steps than this (terabytes without a second run) is called unlisted.
const MAX_STEPS: usize = 1 << 14;
/// ext2 and ext3 keep the places of this many blocks in the inode, and those of all further ones elsewhere.
const DIRECT_BLOCKS: u64 = 12;

/// A run of a file on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Where in the file it begins.
    pub file: u64,
    /// Where in the filesystem it begins.
    pub disk: u64,
    /// How many bytes.
    pub length: u64,
}

impl Place {
    /// The bytes of the filesystem.
    #[must_use]
    pub fn extent(&self) -> Extent {
        Extent::new(self.disk, self.length)
    }
}

/// Where a file's content is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// In these runs, and zeros everywhere else.
    Places(Vec<Place>),
    /// In more runs than a record holds, or in runs that can change without the inode.
    Unlisted,
    /// In the inode itself.
    Inline,
}

impl Content {
    /// Asks the filesystem.
    pub(super) fn of(filesystem: &dyn Filesystem, inode: &Inode) -> Result<Self, FilesystemError> {
        match inode.kind {
            FileKind::Regular if may_change_unseen(filesystem, inode) => Ok(Self::Unlisted),
            FileKind::Regular | FileKind::Directory => places(filesystem, inode),
            _ => Ok(Self::Places(Vec::new())),
        }
    }

    pub(super) fn code(&self) -> u8 {
        match self {
            Self::Places(_) => 0,
            Self::Unlisted => 1,
            Self::Inline => 2,
        }
    }

    /// Appends the runs, if there are any to be kept.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let Self::Places(places) = self else { return };
        out.put_u8(places.len() as u8);
        let mut at = 0;
        for place in places {
            varint::put(out, place.file.saturating_sub(at));
            varint::put(out, place.length);
            varint::put(out, place.disk);
            at = place.file.saturating_add(place.length);
        }
    }

    pub(super) fn parse(code: u8, reader: &mut ByteReader<'_>) -> Result<Option<Self>, Truncated> {
        match code {
            0 => parse_places(reader),
            1 => Ok(Some(Self::Unlisted)),
            2 => Ok(Some(Self::Inline)),
            _ => Ok(None),
        }
    }
}

fn parse_places(reader: &mut ByteReader<'_>) -> Result<Option<Content>, Truncated> {
    let count = usize::from(reader.u8()?);
    if count > MAX_PLACES {
        return Ok(None);
    }
    let mut places = Vec::with_capacity(count);
    let mut at = 0u64;
    for _ in 0..count {
        let file = at.saturating_add(varint::take(reader)?);
        let length = varint::take(reader)?;
        places.push(Place { file, disk: varint::take(reader)?, length });
        at = file.saturating_add(length);
    }
    Ok(Some(Content::Places(places)))
}

/// Blocks whose places lie outside the inode can be exchanged within one tick of the clock, and the inode stays as it was.
fn may_change_unseen(filesystem: &dyn Filesystem, inode: &Inode) -> bool {
    let identity = filesystem.identity();
    let direct = DIRECT_BLOCKS * u64::from(identity.block_bytes);
    matches!(identity.kind, Kind::Ext2 | Kind::Ext3) && inode.size > direct
}

fn places(filesystem: &dyn Filesystem, inode: &Inode) -> Result<Content, FilesystemError> {
    let mut places: Vec<Place> = Vec::new();
    let (mut at, mut step) = (0, FIRST_STEP);
    for _ in 0..MAX_STEPS {
        if at >= inode.size {
            return Ok(Content::Places(places));
        }
        let range = Extent::new(at, step).intersect(&Extent::new(0, inode.size));
        for segment in filesystem.map(inode, range)? {
            match segment.source {
                Source::Hole | Source::Unwritten(_) => {}
                Source::Inline(_) => return Ok(Content::Inline),
                Source::Lost(_) => return Ok(Content::Unlisted),
                Source::Disk(disk) => join(&mut places, Place { file: segment.extent.offset, disk, length: segment.extent.length }),
            }
            if places.len() > MAX_PLACES {
                return Ok(Content::Unlisted);
            }
        }
        at = range.end();
        step = (step * 2).min(LONGEST_STEP);
    }
    Ok(Content::Unlisted)
}

fn join(places: &mut Vec<Place>, next: Place) {
    match places.last_mut() {
        Some(last) if last.file + last.length == next.file && last.disk + last.length == next.disk => last.length += next.length,
        _ => places.push(next),
    }
}
