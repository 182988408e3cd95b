//! Descriptors put together one by one: from the first table, from its copies in other groups, or from the layout of the volume.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::super::groups::Descriptor;
use super::super::superblock::Superblock;
use super::super::volume::Volume;
use super::copies::keepers;
use super::layout::by_layout;
use super::probe::{Likelihood, probe};
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::mend::Mended;

/// Descriptors that are remembered: 64 KiB of them, and asking anew costs little.
const MOST_REMEMBERED: usize = 1024;
/// Groups that are looked at, and runs of them that are told, when a volume is opened.
const MOST_SURVEYED: u64 = 1 << 16;
const MOST_TOLD: usize = 16;

/// Where a descriptor comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The table behind the superblock, which alone is kept up to date.
    First,
    /// A copy: it points to the right places, and its counts and flags are as old as the volume.
    Copy,
    /// The layout that mkfs gives to such a volume.
    Layout,
}

/// A descriptor that was decided on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Decided {
    /// Flags and counts are those of a group that is all in use, unless it is the first copy.
    pub(super) descriptor: Descriptor,
    pub(super) origin: Origin,
}

/// How descriptors are put together.
#[derive(Debug)]
pub(in super::super) struct Merge {
    /// Groups that keep a copy of all descriptors.
    keepers: Vec<u64>,
    decided: Mutex<HashMap<u32, Decided>>,
    /// Flipped bits that were put right on the way.
    pub(in super::super) mended: Mended,
}

impl Merge {
    /// For the volume that a superblock describes.
    pub(in super::super) fn new(superblock: &Superblock) -> Self {
        Self { keepers: keepers(superblock), decided: Mutex::default(), mended: Mended::default() }
    }

    /// The descriptor of a group.
    pub(in super::super) fn descriptor(&self, volume: &Volume, group: u32) -> Result<Descriptor, FilesystemError> {
        Ok(self.decide(volume, group)?.descriptor)
    }

    /// The same, and where it comes from.
    pub(super) fn decide(&self, volume: &Volume, group: u32) -> Result<Decided, FilesystemError> {
        if let Some(known) = self.decided.lock().unwrap_or_else(PoisonError::into_inner).get(&group) {
            return Ok(*known);
        }
        let mut decided = match volume.superblock.has_descriptor_checksums() {
            true => self.by_checksum(volume, group),
            false => self.by_agreement(volume, group),
        }?;
        if decided.origin != Origin::First {
            let Descriptor { block_bitmap, inode_bitmap, inode_table, .. } = decided.descriptor;
            decided.descriptor = Descriptor { block_bitmap, inode_bitmap, inode_table, ..Descriptor::default() };
        }
        let mut remembered = self.decided.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= MOST_REMEMBERED {
            remembered.clear();
        }
        remembered.insert(group, decided);
        Ok(decided)
    }

    fn by_checksum(&self, volume: &Volume, group: u32) -> Result<Decided, FilesystemError> {
        let first = volume.descriptor_at(group, volume.superblock.descriptor_place(u64::from(group)));
        let error = match first {
            Ok(descriptor) => return Ok(Decided { descriptor, origin: Origin::First }),
            Err(error) if super::is_stop(&error) => return Err(error),
            Err(error) => error,
        };
        let copy = self.copies(volume, group).next();
        match copy {
            Some(descriptor) => Ok(Decided { descriptor, origin: Origin::Copy }),
            None => likeliest_layout(volume, group).map(|descriptor| Decided { descriptor, origin: Origin::Layout }).ok_or(error),
        }
    }

    /// Without checksums, what most copies say and what lies there decide.
    fn by_agreement(&self, volume: &Volume, group: u32) -> Result<Decided, FilesystemError> {
        let at = volume.superblock.descriptor_place(u64::from(group));
        let first = volume.descriptor_at(group, at).and_then(|found| is_in_its_group(volume, group, at, found));
        let copies = self.copies(volume, group).map(|descriptor| Decided { descriptor, origin: Origin::Copy });
        let mut found: Vec<Decided> =
            first.as_ref().ok().map(|descriptor| Decided { descriptor: *descriptor, origin: Origin::First }).into_iter().collect();
        found.extend(copies);
        let are_unanimous = found.windows(2).all(|pair| places(&pair[0].descriptor) == places(&pair[1].descriptor));
        if let Some(all) = found.first().filter(|_| found.len() > 1 && are_unanimous) {
            return Ok(*all);
        }
        found.extend(by_layout(&volume.superblock, group).map(|descriptor| Decided { descriptor, origin: Origin::Layout }));
        let votes = |one: &Decided| found.iter().filter(|other| places(&one.descriptor) == places(&other.descriptor)).count();
        let likely = |one: &Decided| probe(volume, group, one.descriptor.inode_table);
        // A table that was overwritten proves nothing, and then it counts how many point there.
        let weight = |one: &&Decided| (likely(one) == Likelihood::Proven, votes(one), likely(one));
        // Of equals the last one is taken, and that must be the first table.
        let best = found.iter().rev().max_by_key(weight);
        let contradiction = || FilesystemError::corrupt(Object::Group(group), at, "its descriptors contradict each other");
        match best.filter(|one| one.origin != Origin::Layout || likely(one) > Likelihood::No) {
            Some(best) => Ok(*best),
            None => Err(first.err().unwrap_or_else(contradiction)),
        }
    }

    fn copies<'a>(&'a self, volume: &'a Volume, group: u32) -> impl Iterator<Item = Descriptor> + 'a {
        let superblock = &volume.superblock;
        let per_block = superblock.descriptors_per_block();
        let leader = u64::from(group) / per_block * per_block;
        let in_meta_group = superblock.is_in_meta_group(u64::from(group));
        let near = [leader.saturating_add(1), leader.saturating_add(per_block - 1)];
        let keepers = if in_meta_group { &[][..] } else { &self.keepers };
        let near = near.into_iter().filter(move |_| in_meta_group);
        let places = keepers.iter().copied().chain(near).map(move |keeper| superblock.descriptor_copy(u64::from(group), keeper));
        places.filter_map(move |at| {
            let found = volume.descriptor_at(group, at).and_then(|found| is_in_its_group(volume, group, at, found));
            found.ok()
        })
    }
}

/// The layout where inodes lie, or else one where nothing does.
fn likeliest_layout(volume: &Volume, group: u32) -> Option<Descriptor> {
    let probed = by_layout(&volume.superblock, group).map(|found| (probe(volume, group, found.inode_table), found));
    let mut likely: Vec<_> = probed.filter(|(likelihood, _)| *likelihood > Likelihood::No).collect();
    likely.sort_by_key(|(likelihood, _)| Reverse(*likelihood));
    likely.first().map(|(_, found)| *found)
}

fn places(descriptor: &Descriptor) -> [u64; 3] {
    [descriptor.block_bitmap, descriptor.inode_bitmap, descriptor.inode_table]
}

/// Without flexible groups, a group keeps its bitmaps and its table itself.
fn is_in_its_group(volume: &Volume, group: u32, at: u64, found: Descriptor) -> Result<Descriptor, FilesystemError> {
    let superblock = &volume.superblock;
    let own = superblock.first_block_of(u64::from(group))..superblock.end_of(u64::from(group));
    let inside = superblock.log_flex_groups > 0 || places(&found).iter().all(|block| own.contains(block));
    let apart = found.block_bitmap != found.inode_bitmap;
    match (inside && apart) || superblock.has_descriptor_checksums() {
        true => Ok(found),
        false => Err(FilesystemError::corrupt(Object::Group(group), at, "its descriptor points to other groups")),
    }
}

impl Volume {
    /// The descriptor of a group, and where it comes from.
    pub(super) fn decided(&self, group: u32) -> Result<Decided, FilesystemError> {
        match &self.merge {
            Some(merge) => merge.decide(self, group),
            None => Ok(Decided { descriptor: self.descriptor(group)?, origin: Origin::First }),
        }
    }
}

/// What is said of groups whose first descriptor is lost, the first of them.
pub(super) fn replaced(volume: &Volume) -> Vec<FilesystemError> {
    let mut runs: Vec<(u32, u32, String)> = Vec::new();
    let size = volume.bytes().size();
    for group in 0..volume.superblock.group_count().min(MOST_SURVEYED) {
        if runs.len() > MOST_TOLD || volume.superblock.descriptor_place(group) >= size {
            break;
        }
        let number = group as u32;
        let said = match volume.decided(number).map(|decided| decided.origin) {
            Ok(Origin::First) => continue,
            Ok(Origin::Copy) => "a copy in another group stands in for its descriptor".to_owned(),
            Ok(Origin::Layout) => "its descriptor is inferred from the layout of the volume".to_owned(),
            Err(error) => error.to_string(),
        };
        match runs.last_mut() {
            Some((_, after, reason)) if *after == number && *reason == said => *after += 1,
            _ => runs.push((number, number + 1, said)),
        }
    }
    let tell = |(first, after, said): (u32, u32, String)| {
        let others = after - first - 1;
        let reason = if others == 0 { said } else { format!("{said}, as for the {others} groups that follow") };
        FilesystemError::Lost { object: Object::Group(first), reason }
    };
    runs.into_iter().take(MOST_TOLD).map(tell).collect()
}
