//! The superblock: the first one, or the copy that most others agree with, or what can be inferred without any.

use std::sync::Arc;

use super::super::recovery::Need;
use super::super::superblock::{PLACE, Superblock};
use super::copies::{are_of_one_volume, is_in_its_place, keepers, place};
use super::lookout::{Sighting, look_out};
use super::{inference, is_stop};
use crate::base::io::ReadAt;
use crate::filesystem::error::{FilesystemError, Object};

/// Groups in which copies stand, whatever the block size: those of a volume of a few GiB.
const USUAL_KEEPERS: [u64; 10] = [1, 3, 5, 7, 9, 25, 27, 49, 81, 125];
/// Block sizes, as logarithms above 1 KiB.
const LOG_BLOCKS: [u32; 7] = [2, 0, 1, 3, 4, 5, 6];

/// The superblock to go by.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) superblock: Superblock,
    /// Whether the journal must be replayed: only the first superblock is told.
    pub(super) need: Need,
    /// Copies that describe this volume, this one included.
    pub(super) agreeing: u32,
    /// What is wrong with the first one.
    pub(super) damage: Vec<FilesystemError>,
}

/// A copy, and where it stands.
#[derive(Debug, Clone)]
struct Copy {
    superblock: Superblock,
    at: u64,
}

/// Finds the superblock to go by.
pub(super) fn find(source: &Arc<dyn ReadAt>) -> Result<Found, FilesystemError> {
    let error = match Superblock::read(&**source) {
        Ok(first) => return Ok(beside_copies(&**source, first)),
        Err(error) if is_stop(&error) => return Err(error),
        Err(error) => error,
    };
    if let Some((copy, agreeing)) = at_usual_places(&**source) {
        return Ok(in_place_of(&error, copy, agreeing));
    }
    let Sighting { in_place, elsewhere } = look_out(&**source)?;
    if let Some((superblock, at)) = in_place {
        let agreeing = agreeing(&**source, &superblock);
        return Ok(in_place_of(&error, Copy { superblock, at }, agreeing));
    }
    let proven = elsewhere.into_iter().find(|(superblock, _)| inference::is_borne_out(superblock, source));
    if let Some((superblock, at)) = proven {
        return Ok(in_place_of(&error, Copy { superblock, at }, 0));
    }
    match inference::infer(source)? {
        Some(superblock) => Ok(Found {
            superblock,
            need: Need::Unknown,
            agreeing: 0,
            damage: vec![lost(&error, "no copy is left; what inodes and directories say of themselves stands in for it")],
        }),
        None => Err(error),
    }
}

/// The superblock of an earlier state of the same volume.
pub(super) fn of_earlier(earlier: &dyn ReadAt) -> Result<Found, FilesystemError> {
    let reason = "no copy is left, and not enough to infer it; that of an earlier state stands in for it".to_owned();
    let damage = vec![FilesystemError::Lost { object: Object::Superblock, reason }];
    Ok(Found { superblock: Superblock::read(earlier)?, need: Need::Unknown, agreeing: 0, damage })
}

/// The first superblock, unless it has no checksum and copies agree with each other against it.
fn beside_copies(source: &dyn ReadAt, first: Superblock) -> Found {
    let agreeing = agreeing(source, &first).saturating_add(1);
    if agreeing == 1
        && !first.has_metadata_checksums()
        && let Some((copy, others)) = at_usual_places(source).filter(|(_, others)| *others > 1)
    {
        let error = FilesystemError::corrupt(Object::Superblock, PLACE, format!("{others} copies contradict it"));
        return in_place_of(&error, copy, others);
    }
    Found { need: Need::of(&first), superblock: first, agreeing, damage: Vec::new() }
}

fn in_place_of(error: &FilesystemError, copy: Copy, agreeing: u32) -> Found {
    let reason = format!("its copy at byte {} stands in for it", copy.at);
    Found { superblock: copy.superblock, need: Need::Unknown, agreeing, damage: vec![lost(error, &reason)] }
}

fn lost(error: &FilesystemError, instead: &str) -> FilesystemError {
    FilesystemError::Lost { object: Object::Superblock, reason: format!("{error}; {instead}") }
}

/// The copy that most others agree with, among those at places that can be computed, and how many do, itself included.
fn at_usual_places(source: &dyn ReadAt) -> Option<(Copy, u32)> {
    let mut best: Option<(Copy, u32)> = None;
    for log_block in LOG_BLOCKS {
        let (block_bytes, first_block) = (1024_u64 << log_block, u64::from(log_block == 0));
        for group in USUAL_KEEPERS {
            let at = (first_block + group * block_bytes * 8) * block_bytes;
            let Some(copy) = copy_at(source, at) else { continue };
            if best.as_ref().is_some_and(|(known, _)| are_of_one_volume(&known.superblock, &copy.superblock)) {
                continue;
            }
            let agreeing = agreeing(source, &copy.superblock);
            if best.as_ref().is_none_or(|(_, most)| agreeing > *most) {
                best = Some((copy, agreeing));
            }
        }
    }
    best
}

fn copy_at(source: &dyn ReadAt, at: u64) -> Option<Copy> {
    let superblock = Superblock::read_copy(source, at).ok()?;
    is_in_its_place(&superblock, at).then_some(Copy { superblock, at })
}

/// How many copies behind the first agree with a superblock.
fn agreeing(source: &dyn ReadAt, superblock: &Superblock) -> u32 {
    let copies = keepers(superblock).into_iter().filter_map(|group| copy_at(source, place(superblock, group)));
    u32::try_from(copies.filter(|copy| are_of_one_volume(&copy.superblock, superblock)).count()).unwrap_or(u32::MAX)
}
