//! What a fuzzer's input does to a base image: a few bytes laid over the structures that one target is about.
//!
//! ```text
//!   input   base | patch | patch ...
//!   patch   place (3 bytes) | what and how long (1 byte) | bytes
//! ```
//! Places count through all regions of the target, one behind the other, and begin anew after the last: every input means something.

use std::path::Path;
use std::sync::Arc;
use std::{fs, io};

use super::exercise::{Seen, exercise, exercise_partitions};
use super::exercise_wreck::exercise_wreck;
use super::patched::Patched;
use crate::base::extent::{Extent, ExtentSet};
use zstd::bulk::decompress;

/// The largest base image; zeros in them cost nothing on disk, but do in memory.
const MAX_BASE_BYTES: usize = 32 << 20;
/// Longer inputs say nothing that shorter ones do not.
const MAX_PATCHES: usize = 64;
/// What a whole image is searched for: pieces that hold something.
const PIECE_BYTES: usize = 512;
/// Images of ext2, ext3 and ext4.
const EXT_IMAGES: &[&str] = &["ext4", "ext4_plain", "ext2", "ext4_dirty", "ext4_plain_dirty", "ext4_fast"];
/// The images that a whole-image target is about; `regions.txt` names the others.
const WHOLE_IMAGES: &[(&str, &[&str])] = &[
    ("ext_image", EXT_IMAGES),
    ("ext_wreck", EXT_IMAGES),
    ("xfs_image", &["xfs", "xfs_4", "xfs_dirty"]),
    ("xfs_wreck", &["xfs", "xfs_4", "xfs_dirty"]),
];

/// An image, and where inputs are laid over it.
#[derive(Debug)]
struct Base {
    bytes: Arc<[u8]>,
    regions: Vec<Extent>,
}

/// Base images and how to lay an input over them.
#[derive(Debug)]
pub struct FuzzTarget {
    bases: Vec<Base>,
    about: About,
}

/// What is asked of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    Filesystem,
    Wreck,
    Partitions,
}

impl About {
    fn of(target: &str) -> Self {
        match target {
            "partition_table" => Self::Partitions,
            _ if target.ends_with("_wreck") => Self::Wreck,
            _ => Self::Filesystem,
        }
    }
}

impl FuzzTarget {
    /// The target `name` over the base images in `folder`.
    pub fn load(folder: &Path, name: &str) -> io::Result<Self> {
        let list = fs::read_to_string(folder.join("regions.txt"))?;
        let mut bases = Vec::new();
        for (image, regions) in regions_of(&list, name) {
            let compressed = fs::read(folder.join(format!("{image}.img.zst")))?;
            let bytes: Arc<[u8]> = decompress(&compressed, MAX_BASE_BYTES)?.into();
            let regions = if regions.is_empty() { filled(&bytes) } else { regions };
            bases.push(Base { bytes, regions });
        }
        if bases.is_empty() {
            return Err(io::Error::other(format!("regions.txt knows no target {name}")));
        }
        Ok(Self { bases, about: About::of(name) })
    }

    /// How many base images there are.
    #[must_use]
    pub fn bases(&self) -> usize {
        self.bases.len()
    }

    /// Asks everything of what `input` makes.
    ///
    /// # Panics
    /// When an answer breaks a promise of the room.
    pub fn run(&self, input: &[u8]) -> Seen {
        let volume = Arc::new(self.volume(input));
        match self.about {
            About::Filesystem => exercise(&volume),
            About::Wreck => exercise_wreck(&volume),
            About::Partitions => exercise_partitions(&volume),
        }
    }

    /// The volume that `input` makes.
    #[must_use]
    pub fn volume(&self, input: &[u8]) -> Patched {
        let (first, mut rest) = input.split_first().unwrap_or((&0, &[]));
        let base = &self.bases[usize::from(*first) % self.bases.len()];
        let mut volume = Patched::new(Arc::clone(&base.bytes));
        for _ in 0..MAX_PATCHES {
            let Some((patch, after)) = Patch::take(rest) else { break };
            let (offset, room) = base.place(patch.place);
            let mut bytes = patch.bytes(base);
            bytes.truncate(room);
            volume.lay(offset, bytes);
            rest = after;
        }
        volume
    }
}

impl Base {
    /// The byte of the image at a place counted through all regions, and how many bytes of its region follow.
    fn place(&self, place: u64) -> (u64, usize) {
        let total: u64 = self.regions.iter().map(|region| region.length).sum();
        let mut left = place % total.max(1);
        for region in &self.regions {
            if left < region.length {
                return (region.offset + left, (region.length - left) as usize);
            }
            left -= region.length;
        }
        (0, 0)
    }
}

/// A change of a few bytes.
#[derive(Debug)]
struct Patch<'a> {
    place: u64,
    act: Act<'a>,
}

#[derive(Debug)]
enum Act<'a> {
    /// These bytes.
    Write(&'a [u8]),
    /// One byte many times.
    Fill(u8, usize),
    /// Bytes from another place: structures that were moved or doubled.
    Copy(u64, usize),
}

impl<'a> Patch<'a> {
    /// The first patch of some input, and what follows it.
    fn take(input: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (&[a, b, c, how], rest) = input.split_first_chunk::<4>()?;
        let (length, place) = (usize::from(how & 15) + 1, number([a, b, c]));
        let (act, rest) = match how >> 4 {
            0 => {
                let (byte, rest) = rest.split_first()?;
                (Act::Fill(*byte, length * 16), rest)
            }
            1 => {
                let (from, rest) = rest.split_first_chunk::<3>()?;
                (Act::Copy(number(*from), length * 64), rest)
            }
            _ => {
                let (bytes, rest) = rest.split_at_checked(length.min(rest.len()))?;
                (Act::Write(bytes), rest)
            }
        };
        Some((Self { place, act }, rest))
    }

    fn bytes(&self, base: &Base) -> Vec<u8> {
        match self.act {
            Act::Write(bytes) => bytes.to_vec(),
            Act::Fill(byte, length) => vec![byte; length],
            Act::Copy(from, length) => {
                let (offset, room) = base.place(from);
                let start = offset as usize;
                base.bytes.get(start..start + room.min(length)).unwrap_or_default().to_vec()
            }
        }
    }
}

fn number([a, b, c]: [u8; 3]) -> u64 {
    u64::from(u32::from_le_bytes([a, b, c, 0]))
}

/// The images of a target in their order, with the regions that the list gives; none for a whole image.
fn regions_of(list: &str, target: &str) -> Vec<(String, Vec<Extent>)> {
    if let Some((_, images)) = WHOLE_IMAGES.iter().find(|(name, _)| *name == target) {
        return images.iter().map(|image| ((*image).to_owned(), Vec::new())).collect();
    }
    let mut found: Vec<(String, Vec<Extent>)> = Vec::new();
    for line in list.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let &[image, name, offset, length] = words.as_slice() else { continue };
        let (Ok(offset), Ok(length)) = (offset.parse(), length.parse()) else { continue };
        if name != target {
            continue;
        }
        match found.last_mut() {
            Some((last, regions)) if last == image => regions.push(Extent::new(offset, length)),
            _ => found.push((image.to_owned(), vec![Extent::new(offset, length)])),
        }
    }
    found
}

/// Where an image holds something other than zeros.
fn filled(bytes: &[u8]) -> Vec<Extent> {
    let pieces = (0..).zip(bytes.chunks(PIECE_BYTES)).filter(|(_, piece)| piece.iter().any(|byte| *byte != 0));
    let filled: ExtentSet = pieces.map(|(index, piece)| Extent::new(index * PIECE_BYTES as u64, piece.len() as u64)).collect();
    filled.as_slice().to_vec()
}
