//! Real mounts that have no block device to back up: overlay, btrfs subvolumes, tmpfs; and deep and wide trees.

use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use icecore::filesystem::{Links, resolve};
use icecore::testkit;
use icecore::testkit::image::{Image, run};
use icecore::testkit::tree::populate;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat, symlinkat};
use tempfile::TempDir;

use crate::rig::Rig;
use crate::tree_facts::{Exactness, facts, same};
use crate::world::noise;

const MIB: u64 = 1 << 20;
const EXACT: Exactness = Exactness { holes: true, sockets: true };

/// Something mounted, until it is dropped.
struct Mount(PathBuf);

impl Mount {
    fn new(kind: &str, at: &Path, options: &str) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        match mount(Some(kind), at, Some(kind), MsFlags::empty(), Some(options)) {
            Ok(()) => Some(Self(at.to_path_buf())),
            Err(errno) => {
                testkit::skip(&format!("{kind} cannot be mounted: {errno}"));
                None
            }
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _gone_already = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

/// Two points of a tree, the second after a few changes, held against it; sockets and holes as `exactness` says.
fn check(source: &Path, exactness: Exactness) {
    let folder = TempDir::new().unwrap();
    let Some(target) = Mount::new("tmpfs", &folder.path().join("mnt"), "size=512m") else { return };
    let rig = Rig::new();
    for round in 0..2u64 {
        if round > 0 {
            fs::write(source.join("sizes/100"), noise(5000, 1)).unwrap();
            fs::remove_file(source.join("sizes/4096")).unwrap();
            fs::write(source.join("added"), noise(50_000, 2)).unwrap();
        }
        let report = rig.backup(source);
        assert!(report.troubles.is_empty(), "{:?}", report.troubles);
        let out = target.0.join(round.to_string());
        let extracted = rig.extract(&report.point, &out);
        assert_eq!(extracted.findings.count(), 0, "{:?}", extracted.findings);
        same(&facts(source, exactness), &facts(&out, exactness));
        if round > 0 {
            assert!(report.read_files < 20, "{} files were read", report.read_files);
        }
    }
}

#[test]
fn a_tmpfs_comes_back() {
    let folder = TempDir::new().unwrap();
    let Some(mounted) = Mount::new("tmpfs", &folder.path().join("mnt"), "size=256m") else { return };
    populate(&mounted.0, 11).unwrap();
    check(&mounted.0, EXACT);
}

#[test]
fn an_overlay_comes_back_with_the_changes_of_its_upper_layer() {
    let folder = TempDir::new().unwrap();
    let Some(layers) = Mount::new("tmpfs", &folder.path().join("layers"), "size=512m") else { return };
    let at = |name: &str| layers.0.join(name);
    for name in ["lower", "upper", "work"] {
        fs::create_dir(at(name)).unwrap();
    }
    populate(&at("lower"), 12).unwrap();
    let options = format!("lowerdir={},upperdir={},workdir={}", at("lower").display(), at("upper").display(), at("work").display());
    let Some(mounted) = Mount::new("overlay", &folder.path().join("mnt"), &options) else { return };
    fs::remove_dir_all(mounted.0.join("wide")).unwrap();
    fs::write(mounted.0.join("sizes/1024"), "copied up").unwrap();
    fs::write(mounted.0.join("upper only"), "upper").unwrap();
    check(&mounted.0, EXACT);
}

#[test]
fn a_btrfs_subvolume_comes_back_with_those_inside_it() {
    let Ok(image) = Image::make(512 * MIB, "mkfs.btrfs", &["-q", "-f"]) else { return testkit::skip("mkfs.btrfs is missing") };
    let mounted = match image.mount("") {
        Ok(mounted) => mounted,
        Err(error) => return testkit::skip(&error.to_string()),
    };
    let subvolume = mounted.point().join("volume");
    for path in [subvolume.clone(), subvolume.join("inner")] {
        run(Command::new("btrfs").args(["-q", "subvolume", "create"]).arg(path)).unwrap();
    }
    fs::write(subvolume.join("inner/file"), "inside").unwrap();
    let populated = subvolume.join("tree");
    fs::create_dir(&populated).unwrap();
    fs::create_dir(subvolume.join("sizes")).unwrap();
    fs::write(subvolume.join("sizes/4096"), noise(4096, 3)).unwrap();
    populate(&populated, 13).unwrap();
    assert_ne!(fs::metadata(&subvolume).unwrap().dev(), fs::metadata(subvolume.join("inner")).unwrap().dev());
    check(&subvolume, Exactness { holes: false, sockets: true });
}

#[test]
fn a_tree_deeper_than_any_path_is_kept_in_full() {
    const LEVELS: u64 = 1500;
    let rig = Rig::new();
    let tree = rig.tree();
    let mut directory = openat(CWD, &tree, OFlags::DIRECTORY, Mode::empty()).unwrap();
    for _ in 0..LEVELS {
        mkdirat(&directory, "a rather long name", Mode::RWXU).unwrap();
        directory = openat(&directory, "a rather long name", OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    symlinkat("deep", &directory, "link").unwrap();
    drop(openat(&directory, "file", OFlags::CREATE | OFlags::WRONLY, Mode::RWXU).unwrap());
    for _ in 0..2 {
        let report = rig.backup(&tree);
        assert!(report.troubles.is_empty(), "{:?}", report.troubles);
        assert_eq!(report.point.point.file_tree.unwrap().inodes, LEVELS + 3);
    }
    rig.expect_whole();
}

#[test]
fn a_folder_of_more_names_than_are_held_is_sorted_all_the_same() {
    const NAMES: u64 = 70_000;
    let folder = TempDir::new().unwrap();
    let Some(mounted) = Mount::new("tmpfs", &folder.path().join("mnt"), "size=256m,nr_inodes=200000") else { return };
    fs::create_dir(mounted.0.join("wide")).unwrap();
    for number in 0..NAMES {
        // Names that come in another order than they were made.
        fs::write(mounted.0.join(format!("wide/{:05}", number * 7919 % 100_000)), "").unwrap();
    }
    let rig = Rig::new();
    rig.backup(&mounted.0);
    fs::remove_file(mounted.0.join("wide/00000")).unwrap();
    fs::write(mounted.0.join("wide/zzz"), "z").unwrap();
    let report = rig.backup(&mounted.0);
    assert_eq!(report.read_files, 1);
    let filesystem = rig.open(&report.point);
    let wide = resolve(filesystem.as_ref(), b"/wide", Links::Keep).unwrap();
    let mut names = Vec::new();
    filesystem
        .list(&wide, &mut |entry| {
            names.push(entry.name);
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(names.len() as u64, NAMES);
    assert!(names.is_sorted() && names.last().is_some_and(|last| last == b"zzz") && names[0] != b"00000");
}
