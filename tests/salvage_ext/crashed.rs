//! Volumes that crashed and then lost parts: what the journal holds is there, or it is said that it is missing.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use icecore::base::extent::Extent;
use icecore::base::io::ReadAt;
use icecore::filesystem::{self, Ext, Filesystem, Inode, Object, Scanned, View, Wreck};
use icecore::testkit;
use icecore::testkit::contents::random_bytes;
use icecore::testkit::crash_image::{CrashImage, Recipe, Shutdown};
use icecore::testkit::damage::Damage;
use icecore::testkit::image::FileSource;

use crate::MIB;

/// Files that are only in the journal.
fn work(mount: &Path) -> io::Result<()> {
    fs::create_dir(mount.join("new"))?;
    for number in 0..40 {
        let path = mount.join(format!("new/{number}"));
        fs::write(&path, random_bytes(3_000 + 300 * number as usize, number))?;
        File::open(&path)?.sync_all()?;
    }
    Ok(())
}

fn crashed(arguments: &[&str]) -> Option<CrashImage> {
    let mkfs = [&["mkfs.ext4", "-q", "-F", "-b", "1024"], arguments].concat();
    let recipe = Recipe { mkfs: &mkfs, size_bytes: 64 * MIB, mount_options: "commit=300", shutdown: Shutdown::WithoutLog };
    CrashImage::make(&recipe, work).inspect_err(|error| testkit::skip(&error.to_string())).ok()
}

fn salvage(image: &CrashImage, lost: &[Extent]) -> Box<dyn Wreck> {
    let intact: Arc<dyn ReadAt> = Arc::new(FileSource::open(&image.path()).unwrap());
    filesystem::salvage(Arc::new(Damage::default().and_zeros(lost).done_to(intact))).unwrap()
}

fn scanned(wreck: &dyn Wreck) -> BTreeMap<u64, Inode> {
    let mut inodes = BTreeMap::new();
    wreck
        .scan(1, &mut |scanned| {
            if let Scanned::Inode(found) = scanned {
                inodes.insert(found.inode.number.0, found.inode);
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    inodes
}

/// Without its superblock, a volume is shown as it is with it: after replay, and with everything that was synced.
#[track_caller]
fn check(arguments: &[&str]) {
    let Some(image) = crashed(arguments) else { return };
    let strict = Ext::open(Arc::new(FileSource::open(&image.path()).unwrap())).unwrap();
    assert!(matches!(strict.view(), View::Replayed { .. }), "{:?}", strict.view());
    let wreck = salvage(&image, &[Extent::new(1024, 1024)]);
    assert_eq!(wreck.view(), strict.view());
    let found = scanned(&*wreck);
    assert!(found.len() > 40, "{}", found.len());
    for inode in found.values() {
        assert_eq!(strict.inode(inode.number).unwrap(), *inode);
        let whole = Extent::new(0, inode.size);
        assert_eq!(strict.map(inode, whole).unwrap(), wreck.map(inode, whole).unwrap());
    }
}

#[test]
fn what_only_the_journal_holds_is_found_without_a_superblock() {
    check(&[]);
    check(&["-O", "^metadata_csum,^64bit"]);
    check(&["-O", "fast_commit"]);
}

#[test]
fn a_journal_that_is_needed_and_lost_is_told() {
    let Some(image) = crashed(&[]) else { return };
    let source = FileSource::open(&image.path()).unwrap();
    let strict = Ext::open(Arc::new(FileSource::open(&image.path()).unwrap())).unwrap();
    let magic = [0xC0, 0x3B, 0x39, 0x98, 0, 0, 0, 4];
    let is_start = |at: &u64| {
        let mut bytes = [0; 8];
        source.read_at(*at, &mut bytes).unwrap();
        bytes == magic
    };
    let journal = (0..strict.identity().size).step_by(1024).find(is_start).unwrap();
    for lost in [vec![Extent::new(journal, 1024)], vec![Extent::new(journal, 1024), Extent::new(1024, 1024)]] {
        let wreck = salvage(&image, &lost);
        assert!(wreck.view().stale().is_some(), "{:?}", wreck.view());
        let told =
            wreck.damage().iter().any(|error| matches!(error, filesystem::FilesystemError::Lost { object: Object::Journal, .. }));
        assert!(told, "{:?}", wreck.damage());
    }
}
