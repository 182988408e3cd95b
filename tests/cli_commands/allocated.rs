//! Free space left out of backups: the kernel finds every file in what is restored, and its own checker finds nothing wrong.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use icecore::testkit;
use icecore::testkit::crash_image::{CrashImage, Recipe, Shutdown, shell};
use icecore::testkit::image::{Image, Mounted};
use icecore::testkit::tree::populate;
use serde_json::Value;
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
fn fill(mount: &Path) -> io::Result<()> {
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
fn shown_by_the_kernel(image: &Path, folder: &Path) -> BTreeMap<PathBuf, String> {
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

/// A mounted file system with files; `None` says why there is none.
fn in_use(kind: &Kind) -> Option<(Image, Mounted)> {
    let image = Image::make(kind.size_bytes, kind.mkfs[0], &kind.mkfs[1..]);
    let both = image.and_then(|image| image.mount("").map(|mounted| (image, mounted)));
    let (image, mounted) = both.inspect_err(|error| testkit::skip(&error.to_string())).ok()?;
    fill(mounted.point()).unwrap();
    Some((image, mounted))
}

/// What a snapshot of it holds now.
fn frozen(image: &Image, mounted: &Mounted) -> PathBuf {
    let frozen = image.path().with_extension("frozen");
    let lines = format!("fsfreeze -f .; cp --sparse=always {} {}; fsfreeze -u .", image.path().display(), frozen.display());
    shell(mounted.point(), &lines).unwrap();
    frozen
}

#[test]
fn a_volume_frozen_in_the_middle_of_work_comes_back_whole() {
    for kind in KINDS {
        let Some((image, mounted)) = in_use(kind) else { return };
        let frozen = frozen(&image, &mounted);
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

/// What a command prints of the files of volume `disk`; what only names the point is left out.
fn files_of(world: &World, arguments: &[&str], list: &str) -> Value {
    let mut shown = world.run(&[arguments, &["--json"]].concat()).exits(0).json();
    let mut files = shown[list].take();
    for file in files.as_array_mut().unwrap() {
        file.as_object_mut().unwrap().retain(|name, _| !name.ends_with("_point"));
    }
    files
}

#[test]
fn the_files_of_a_point_without_free_space_are_those_of_a_whole_one() {
    for kind in KINDS {
        let Some((image, mounted)) = in_use(kind) else { return };
        // The second backup builds on the catalog of the first.
        let first = frozen(&image, &mounted);
        shell(mounted.point(), "rm last/x; cp late again; mkdir new; echo new > new/file; sync -f .").unwrap();
        drop(mounted);
        let (first, second) = (first.as_path(), image.path());
        let (whole, without) = (World::new(), World::new());
        for image in [first, second] {
            let image = image.to_str().unwrap();
            let full = whole.backup(image, &["--volume", "disk", "--json"]).exits(0).json();
            let report = without.backup(image, &["--volume", "disk", "--allocated", "auto", "--json"]).exits(0).json();
            // A file system that was never unmounted, and has no journal, is read in full.
            assert!(image == first.to_str().unwrap() || report["point"]["omitted_bytes"].as_u64().unwrap() > MIB);
            let catalog = |report: &Value| ["inodes", "names", "left_out"].map(|field| report["point"]["catalog"][field].as_u64());
            assert_eq!(catalog(&report), catalog(&full));
            assert_eq!(report["point"]["catalog"]["left_out"], 0);
            let find: &[&str] = &["find", "*", "--limit", "100000", "--cache-dir", "cache"];
            let (found, listed) = (files_of(&without, find, "files"), files_of(&without, &["ls", "-R", "disk@latest"], "entries"));
            assert!(found.as_array().unwrap().len() > 1000);
            assert!(found == files_of(&whole, find, "files"), "{:?}: find differs", kind.mkfs);
            assert!(listed == files_of(&whole, &["ls", "-R", "disk@latest"], "entries"), "{:?}: ls differs", kind.mkfs);
        }
    }
}
