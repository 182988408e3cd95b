//! ext2, ext3 and ext4 with parts lost: whatever survived a damage is found again as it was, and nothing that never was.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests may fail loudly; tests are read by their names"
)]

use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::sync::Arc;

use icecore::base::io::ReadAt;
use icecore::filesystem::{self, FilesystemError, InodeNumber, Scanned, View, Wreck};
use icecore::testkit;
use icecore::testkit::damage::{Class, Damage};
use icecore::testkit::image::{FileSource, Image};
use icecore::testkit::tree::populate;

#[path = "salvage_ext/crashed.rs"]
mod crashed;
#[path = "salvage_ext/intact.rs"]
mod intact;
#[path = "salvage_ext/judge.rs"]
mod judge;

use intact::Intact;
use judge::judge;

const MIB: u64 = 1 << 20;
/// What is done to every volume; other seeds come from the soak test.
const CLASSES: &[Class] = &[
    Class::Nothing,
    Class::Superblock,
    Class::Descriptors,
    Class::FirstMebibyte,
    Class::Root,
    Class::SuperblockDescriptorsRoot,
    Class::Metadata(16),
    Class::Metadata(64),
    Class::InodeTable(16),
    Class::Directories(32),
    Class::Truncated(70),
    Class::Journal,
];
/// What only checksums notice.
const FLIPS: &[Class] = &[Class::Flips(100), Class::MetadataFlips(100)];

/// Makes, fills and unmounts a file system; `None` says why that cannot be done here.
fn filled(size: u64, program: &str, arguments: &[&str], seed: u64) -> Option<Image> {
    let made = Image::make(size, program, &[&["-q", "-F", "-m", "0"], arguments].concat()).and_then(|image| {
        let mounted = image.mount("")?;
        populate(mounted.point(), seed)?;
        drop(mounted);
        Ok(image)
    });
    made.inspect_err(|error| testkit::skip(&error.to_string())).ok()
}

fn salvage(damage: &Damage, image: &Path) -> Result<Box<dyn Wreck>, FilesystemError> {
    let intact: Arc<dyn ReadAt> = Arc::new(FileSource::open(image).unwrap());
    filesystem::salvage(Arc::new(damage.done_to(intact)))
}

/// What is wrong with what is found after some damage. Only a volume without a single inode cannot be opened.
fn verdict(intact: &Intact, damage: &Damage, image: &Path) -> Vec<String> {
    match salvage(damage, image) {
        Ok(wreck) => judge(intact, damage, &*wreck),
        Err(_) if !intact.anatomy.bodies.iter().any(|body| damage.spares(body.place)) => Vec::new(),
        Err(error) => vec![error.to_string()],
    }
}

/// Does all of this to a volume and says what is wrong with what is found.
fn complaints(image: &Path, classes: &[Class], seeds: Range<u64>) -> Vec<String> {
    let intact = Intact::learn(image);
    let mut complaints = Vec::new();
    for class in classes {
        for seed in seeds.clone() {
            let damage = Damage::plan(*class, &intact.anatomy, seed);
            let found = verdict(&intact, &damage, image);
            complaints.extend(found.into_iter().map(|what| format!("{class:?} {seed}: {what}")));
        }
    }
    complaints
}

/// Takes every superblock and every descriptor away, and with them the copies that a journal holds.
fn complaints_without_any_copy(image: &Path) -> Vec<String> {
    let intact = Intact::learn(image);
    let mut complaints = Vec::new();
    for class in [Class::Nothing, Class::Journal] {
        let damage = Damage::plan(class, &intact.anatomy, 0).and_zeros(&intact.copies);
        let found = verdict(&intact, &damage, image);
        complaints.extend(found.into_iter().map(|what| format!("{class:?}: {what}")));
    }
    complaints
}

#[track_caller]
fn check(size: u64, program: &str, arguments: &[&str], classes: &[&[Class]]) {
    let Some(image) = filled(size, program, arguments, 3) else { return };
    let mut complaints = complaints(image.path(), &classes.concat(), 0..2);
    // Groups of another length than the usual one are not inferred.
    if !arguments.contains(&"-g") {
        complaints.extend(complaints_without_any_copy(image.path()));
    }
    assert!(
        complaints.is_empty(),
        "{arguments:?}: {}\n  {}",
        complaints.len(),
        complaints[..complaints.len().min(40)].join("\n  ")
    );
}

#[test]
fn whatever_survives_is_found_in_the_usual_ext4() {
    check(160 * MIB, "mkfs.ext4", &["-b", "4096"], &[CLASSES, FLIPS]);
}

#[test]
fn whatever_survives_is_found_with_small_blocks() {
    check(96 * MIB, "mkfs.ext4", &["-b", "1024"], &[CLASSES, FLIPS]);
}

#[test]
fn whatever_survives_is_found_without_checksums() {
    check(160 * MIB, "mkfs.ext4", &["-O", "^metadata_csum,^64bit"], &[CLASSES]);
}

#[test]
fn whatever_survives_is_found_in_clusters() {
    check(256 * MIB, "mkfs.ext4", &["-O", "bigalloc", "-b", "1024", "-C", "4096"], &[CLASSES, FLIPS]);
}

#[test]
fn whatever_survives_is_found_with_content_in_inodes() {
    check(160 * MIB, "mkfs.ext4", &["-O", "inline_data", "-b", "4096", "-I", "256"], &[CLASSES, FLIPS]);
}

#[test]
fn whatever_survives_is_found_in_every_layout_of_groups() {
    check(96 * MIB, "mkfs.ext4", &["-b", "1024", "-O", "meta_bg,^resize_inode"], &[CLASSES, FLIPS]);
    check(96 * MIB, "mkfs.ext4", &["-b", "1024", "-O", "^flex_bg,^sparse_super,^resize_inode", "-g", "2048"], &[CLASSES, FLIPS]);
}

#[test]
fn whatever_survives_is_found_in_ext3_and_ext2() {
    check(160 * MIB, "mkfs.ext3", &["-b", "4096"], &[CLASSES]);
    check(96 * MIB, "mkfs.ext2", &["-b", "1024"], &[CLASSES]);
}

/// An inode that lies in no block any more is in the journal, as it was when that was written last.
#[test]
fn lost_inodes_are_found_in_the_journal() {
    let Some(image) = filled(160 * MIB, "mkfs.ext4", &["-b", "4096"], 3) else { return };
    let intact = Intact::learn(image.path());
    let damage = Damage::plan(Class::InodeTable(16), &intact.anatomy, 1);
    let wreck = salvage(&damage, image.path()).unwrap();
    let lost: Vec<_> = intact.anatomy.bodies.iter().filter(|body| !damage.spares(body.place)).collect();
    let found: Vec<_> = lost.iter().filter_map(|body| wreck.older(body.inode.number).map(|older| (&body.inode, older))).collect();
    assert!(found.len() * 2 > lost.len(), "{} of {}", found.len(), lost.len());
    for (inode, older) in found {
        assert!(older.number == inode.number && older.changed <= inode.changed, "{older:?} {inode:?}");
    }
    assert_eq!(wreck.older(InodeNumber(0)), None);
    assert_eq!(wreck.older(InodeNumber(u64::MAX)), None);
}

#[test]
fn an_inode_that_is_blank_and_counted_as_used_is_lost() {
    let Some(image) = filled(96 * MIB, "mkfs.ext4", &["-b", "1024"], 3) else { return };
    let intact = Intact::learn(image.path());
    let wreck = salvage(&Damage::plan(Class::Root, &intact.anatomy, 0), image.path()).unwrap();
    let mut lost = Vec::new();
    wreck
        .scan(1, &mut |scanned| {
            if let Scanned::Lost { inodes, .. } = scanned {
                lost.extend(inodes);
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(lost, [2]);
}

#[test]
fn a_volume_that_nothing_happened_to_has_no_damage() {
    let Some(image) = filled(96 * MIB, "mkfs.ext4", &["-b", "1024"], 3) else { return };
    let wreck = salvage(&Damage::default(), image.path()).unwrap();
    assert!(wreck.damage().is_empty(), "{:?}", wreck.damage());
    assert_eq!(*wreck.view(), View::Clean);
    assert!(wreck.agreeing_superblocks() > 3, "{}", wreck.agreeing_superblocks());
    let mut lost = Vec::new();
    wreck
        .scan(1, &mut |scanned| {
            if let Scanned::Lost { inodes, error } = scanned {
                lost.push((inodes, error.to_string()));
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    assert!(lost.is_empty(), "{lost:?}");
}
