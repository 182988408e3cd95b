//! File systems that stopped at once: what we show is what the kernel shows after its recovery.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use icecore::filesystem::{InodeNumber, View};
use icecore::testkit::contents::random_bytes;
use icecore::testkit::crash_image::{CrashImage, Recipe, Shutdown};
use icecore::testkit::differential::compare;
use icecore::testkit::image::{Image, Mounted, run};
use icecore::testkit::{self, tree::populate};

use crate::allocation::fill_with_words;
use crate::{MIB, none, open};

/// Changes of every kind after a sync, each synced for itself, so that nothing of it lies in place.
fn change(mount: &Path) -> io::Result<()> {
    populate(mount, 3)?;
    let folder = mount.join("after");
    fs::create_dir(&folder)?;
    for number in 0..40 {
        let path = folder.join(format!("{number}"));
        fs::write(&path, random_bytes(3_000 + number * 333, number as u64))?;
        File::open(&path)?.sync_all()?;
    }
    fs::remove_file(mount.join("sizes/4097"))?;
    fs::rename(mount.join("sizes/4096"), folder.join("renamed"))?;
    fs::hard_link(mount.join("sizes/8192"), folder.join("linked"))?;
    fs::create_dir(folder.join("folder"))?;
    fs::write(folder.join("folder/inside"), b"inside")?;
    File::options().write(true).open(mount.join("sizes/65537"))?.set_len(10)?;
    File::open(folder.join("folder/inside"))?.sync_all()?;
    File::open(mount.join("sizes/65537"))?.sync_all()
}

#[track_caller]
fn check(options: &[&str], mount_options: &str, shutdown: Shutdown) {
    let mkfs = [&["mkfs.ext4", "-q", "-F", "-m", "0"], options].concat();
    let recipe = Recipe { mkfs: &mkfs, size_bytes: 96 * MIB, mount_options, shutdown };
    let crashed = match CrashImage::make(&recipe, change) {
        Ok(crashed) => crashed,
        Err(error) => return testkit::skip(&error.to_string()),
    };
    let ours = open(&crashed.path());
    assert!(matches!(ours.view(), View::Replayed { .. }), "{:?}", ours.view());
    assert!(!ours.replayed().is_empty());
    let allocation = ours.allocation();
    assert_eq!(allocation.doubts, []);
    // Whoever backs up this volume without its free blocks gets the same files.
    let copy = crashed.copy("copy").unwrap();
    fill_with_words(&copy, &allocation.free);
    let point = copy.with_file_name("point");
    fs::create_dir(&point).unwrap();
    // Mounted read-only, this kernel cannot recover fast commits.
    let mounted = Mounted::new(&copy, point, "noatime").unwrap();
    let mut differences = compare(mounted.point(), &*ours);
    if options.contains(&"fast_commit") {
        differences.retain(|line| !is_of_recovery(line));
    }
    none(&differences);
    drop(mounted);
}

/// The kernel carries fast commits out one by one: directories get the time of recovery, and new ones lose a link and their space.
/// We show them as they were before the crash.
fn is_of_recovery(line: &str) -> bool {
    ["modified is", "changed is", "links is 1, we say 2", "sectors is 0, we say"].iter().any(|words| line.contains(words))
}

#[test]
fn what_was_synced_before_a_crash_is_shown() {
    check(&["-b", "4096"], "commit=300", Shutdown::WithoutLog);
    check(&["-b", "1024", "-O", "^metadata_csum"], "commit=300", Shutdown::WithoutLog);
}

#[test]
fn what_the_journal_held_at_a_crash_is_shown() {
    check(&["-b", "1024", "-O", "inline_data"], "commit=300,data=journal", Shutdown::WithLog);
    check(&["-O", "bigalloc"], "commit=300", Shutdown::WithLog);
}

#[test]
fn fast_commits_of_a_crash_are_shown() {
    check(&["-O", "fast_commit"], "commit=300", Shutdown::WithoutLog);
}

/// A snapshot under `fsfreeze` has a clean journal, and still holds files that only an open descriptor kept alive.
#[track_caller]
fn check_frozen(features: &str) {
    let made = Image::make(64 * MIB, "mkfs.ext4", &["-q", "-F", "-O", features]).and_then(|image| Ok((image.mount("")?, image)));
    let (mounted, image) = match made {
        Ok(made) => made,
        Err(error) => return testkit::skip(&error.to_string()),
    };
    let mut held = Vec::new();
    for number in 0..300 {
        let path = mounted.point().join(format!("{number}"));
        fs::write(&path, random_bytes(5_000, number)).unwrap();
        if number % 3 != 0 {
            held.push((fs::metadata(&path).unwrap(), File::open(&path).unwrap()));
            fs::remove_file(path).unwrap();
        }
    }
    run(Command::new("fsfreeze").arg("--freeze").arg(mounted.point())).unwrap();
    let copied = run(Command::new("cp").arg("--sparse=always").arg(image.path()).arg(image.path().with_extension("copy")));
    run(Command::new("fsfreeze").arg("--unfreeze").arg(mounted.point())).unwrap();
    copied.unwrap();
    let ours = open(&image.path().with_extension("copy"));
    assert_eq!(*ours.view(), View::Clean);
    for (metadata, _open) in &held {
        let number = InodeNumber(metadata.ino());
        assert!(ours.inode(number).unwrap_err().to_string().contains("no such file"), "{number:?}");
    }
    assert_eq!(ours.allocation().doubts, []);
    none(&compare(mounted.point(), &*ours));
    held.clear();
    drop(mounted);
}

#[test]
fn files_that_wait_to_be_deleted_are_hidden() {
    check_frozen("^orphan_file");
    check_frozen("orphan_file");
}
