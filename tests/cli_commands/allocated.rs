//! Free space left out of backups: the kernel finds every file in what is restored, and its own checker finds nothing wrong.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use icecore::testkit;
use icecore::testkit::crash_image::{CrashImage, Recipe, Shutdown, shell};
use icecore::testkit::image::{Image, Mounted};
use icecore::testkit::tree::populate;
use tempfile::TempDir;

use crate::tree_facts::{Exactness, facts, same};
use crate::world::{World, noise};

const MIB: u64 = 1 << 20;
const EXACT: Exactness = Exactness { holes: true, sockets: true };

/// A way to make a file system, and to have it checked without changing it.
struct Kind {
    mkfs: &'static [&'static str],
    size_bytes: u64,
    check: &'static [&'static str],
}

const KINDS: &[Kind] = &[
    Kind { mkfs: &["mkfs.ext4", "-q", "-F"], size_bytes: 160 * MIB, check: &["e2fsck", "-fn"] },
    Kind { mkfs: &["mkfs.ext4", "-q", "-F", "-b", "1024", "-O", "fast_commit"], size_bytes: 160 * MIB, check: &["e2fsck", "-fn"] },
    Kind { mkfs: &["mkfs.ext4", "-q", "-F", "-O", "bigalloc", "-C", "16384"], size_bytes: 192 * MIB, check: &["e2fsck", "-fn"] },
    Kind { mkfs: &["mkfs.ext2", "-q", "-F"], size_bytes: 96 * MIB, check: &["e2fsck", "-fn"] },
    Kind { mkfs: &["mkfs.xfs", "-q", "-f"], size_bytes: 320 * MIB, check: &["xfs_repair", "-n"] },
];

/// Files, and free space full of what deleted files left.
fn fill(mount: &Path) -> std::io::Result<()> {
    fs::write(mount.join("junk"), noise(24 << 20, 3))?;
    shell(mount, "sync -f .")?;
    fs::remove_file(mount.join("junk"))?;
    shell(mount, "sync -f .")?;
    populate(mount, 8)?;
    shell(mount, "sync -f .")?;
    // Some of it only in the journal when the lights go out.
    fs::write(mount.join("late"), noise(3 << 20, 4))?;
    shell(mount, "sync late; rm -rf \"$(ls -d */ | head -n 1)\"; mkdir last; echo x > last/x; sync last/x")
}

/// What the kernel shows of a copy of `image`, after its own recovery.
fn shown_by_the_kernel(image: &Path, folder: &Path) -> std::collections::BTreeMap<PathBuf, String> {
    let (copy, point) = (folder.join("copy"), folder.join("point"));
    fs::create_dir_all(&point).unwrap();
    assert!(Command::new("cp").arg("--sparse=always").arg(image).arg(&copy).status().unwrap().success());
    let mounted = Mounted::new(&copy, point, "").unwrap();
    let shown = facts(mounted.point(), EXACT);
    drop(mounted);
    shown
}

/// Backs `image` up without its free space, restores it, and holds the restored one against it. Says how much was left out.
fn comes_back(image: &Path, kind: &Kind) -> u64 {
    let world = World::new();
    let report = world.backup(image.to_str().unwrap(), &["--volume", "disk", "--allocated", "auto", "--json"]).exits(0).json();
    let restored = world.path("restored");
    world.run(&["restore", "disk@latest", "--to", restored.to_str().unwrap()]).exits(0);
    let folder = TempDir::new().unwrap();
    let theirs = shown_by_the_kernel(image, folder.path());
    assert!(theirs.len() > 1000);
    same(&theirs, &shown_by_the_kernel(&restored, folder.path()));
    // The copy was mounted and unmounted: what the checker would otherwise only find in the journal is in place.
    let (program, arguments) = kind.check.split_first().unwrap();
    let checked = Command::new(program).args(arguments).arg(folder.path().join("copy")).output().unwrap();
    assert!(checked.status.success(), "{} {}", String::from_utf8_lossy(&checked.stdout), String::from_utf8_lossy(&checked.stderr));
    report["point"]["omitted_bytes"].as_u64().unwrap()
}

#[test]
fn a_volume_at_rest_comes_back_without_what_no_file_used() {
    for kind in KINDS {
        let made = Image::make(kind.size_bytes, kind.mkfs[0], &kind.mkfs[1..]);
        let Ok(image) =
            made.and_then(|image| fill(image.mount("")?.point()).map(|()| image)).inspect_err(|e| testkit::skip(&e.to_string()))
        else {
            return;
        };
        let omitted = comes_back(image.path(), kind);
        println!("{:?}: {omitted} of {} bytes left out", kind.mkfs, kind.size_bytes);
        assert!(omitted > kind.size_bytes / 8, "{:?}: only {omitted} bytes were left out", kind.mkfs);
    }
}

#[test]
fn a_volume_frozen_in_the_middle_of_work_comes_back_whole() {
    for kind in KINDS {
        let Ok(image) = Image::make(kind.size_bytes, kind.mkfs[0], &kind.mkfs[1..]).inspect_err(|e| testkit::skip(&e.to_string()))
        else {
            return;
        };
        let Ok(mounted) = image.mount("").inspect_err(|e| testkit::skip(&e.to_string())) else { return };
        fill(mounted.point()).unwrap();
        let frozen = image.path().with_extension("frozen");
        let lines = format!("fsfreeze -f .; cp --sparse=always {} {}; fsfreeze -u .", image.path().display(), frozen.display());
        shell(mounted.point(), &lines).unwrap();
        drop(mounted);
        println!("{:?}: {} bytes left out", kind.mkfs, comes_back(&frozen, kind));
    }
}

#[test]
fn a_volume_that_crashed_comes_back_as_recovery_would_leave_it() {
    for kind in KINDS.iter().filter(|kind| kind.mkfs[0] != "mkfs.ext2") {
        for shutdown in [Shutdown::WithLog, Shutdown::WithoutLog] {
            let recipe = Recipe { mkfs: kind.mkfs, size_bytes: kind.size_bytes, mount_options: "", shutdown };
            let Ok(crashed) = CrashImage::make(&recipe, fill).inspect_err(|e| testkit::skip(&e.to_string())) else { return };
            println!("{:?}: {} bytes left out", kind.mkfs, comes_back(&crashed.path(), kind));
        }
    }
}
