//! An increment reads what changed, stores what is new, and lets go of what nothing uses.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use icecore::base::clock::{Clock, SystemClock};
use icecore::base::extent::Extent;
use icecore::files::ReaderChoice;
use icecore::filesystem::file_tree::FileTree;
use icecore::filesystem::{Links, resolve};
use icecore::job::backup::{FilesReport, FilesRequest};
use icecore::testkit;
use icecore::testkit::image::Image;
use icecore::testkit::loop_device::LoopDevice;

use crate::rig::{Hooked, Rig};
use crate::tree_facts::{Exactness, facts, same};
use crate::world::noise;

const CHUNK: u64 = 4096;
const PLAIN: Exactness = Exactness { holes: false, sockets: true };

/// Forty short files in two folders, and a long one.
fn fill(tree: &Path) {
    for number in 0..40u64 {
        let folder = tree.join(format!("folder-{}", number % 2));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{number:02}")), noise(700, number)).unwrap();
    }
    fs::write(tree.join("long"), noise(1 << 20, 99)).unwrap();
}

fn stored(report: &FilesReport) -> u64 {
    report.point.point.statistics.new_bytes
}

fn read(rig: &Rig, report: &FilesReport, path: &str) -> Vec<u8> {
    let filesystem = rig.open(&report.point);
    let file = resolve(filesystem.as_ref(), path.as_bytes(), Links::Keep).unwrap();
    let mut out = vec![0; usize::try_from(file.size).unwrap()];
    assert_eq!(filesystem.read(&file, 0, &mut out).unwrap(), out.len());
    out
}

#[track_caller]
fn expect(rig: &Rig, report: &FilesReport, tree: &Path, name: &str) {
    assert!(report.troubles.is_empty(), "{:?}", report.troubles);
    let out = rig.folder.path().join(name);
    assert_eq!(rig.extract(&report.point, &out).findings.count(), 0);
    same(&facts(tree, PLAIN), &facts(&out, PLAIN));
}

#[test]
fn where_nothing_changed_nothing_is_read() {
    let rig = Rig::new();
    let tree = rig.tree();
    fill(&tree);
    assert_eq!(rig.backup(&tree).read_files, 41);
    rig.backup(&tree);
    let third = rig.backup(&tree);
    assert_eq!((third.read_files, third.point.point.statistics.read_bytes), (0, 0));
    assert!(stored(&third) <= 6 * CHUNK, "only the state and what names it: {}", stored(&third));
    expect(&rig, &third, &tree, "out");
}

#[test]
fn only_what_changed_is_read_and_only_its_chunks_are_stored() {
    let rig = Rig::new();
    let tree = rig.tree();
    fill(&tree);
    rig.backup(&tree);
    rig.backup(&tree);
    let long = OpenOptions::new().write(true).open(tree.join("long")).unwrap();
    long.write_all_at(b"changed", 500_000).unwrap();
    fs::write(tree.join("folder-0/04"), "other").unwrap();
    fs::write(tree.join("folder-1/new"), "new").unwrap();
    let third = rig.backup(&tree);
    assert_eq!(third.read_files, 3);
    assert_eq!(third.point.point.statistics.read_bytes, (1 << 20) + 8);
    assert!(stored(&third) < 20 * CHUNK, "{} bytes are new", stored(&third));
    expect(&rig, &third, &tree, "out");
    assert_eq!(&read(&rig, &third, "/long")[499_999..500_008][1..8], b"changed");
}

#[test]
fn a_file_of_which_only_the_mode_changed_keeps_its_place() {
    let rig = Rig::new();
    let tree = rig.tree();
    fill(&tree);
    rig.backup(&tree);
    let second = rig.backup(&tree);
    for number in 0..40 {
        let path = tree.join(format!("folder-{}/{number:02}", number % 2));
        fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    }
    fs::set_permissions(tree.join("long"), Permissions::from_mode(0o600)).unwrap();
    let third = rig.backup(&tree);
    assert_eq!(third.read_files, 41);
    let place = |report: &FilesReport, path: &str| {
        let filesystem = rig.open(&report.point);
        let file = resolve(filesystem.as_ref(), path.as_bytes(), Links::Keep).unwrap();
        filesystem.map(&file, Extent::new(0, 1)).unwrap()
    };
    for path in ["/folder-0/04", "/folder-1/39", "/long"] {
        assert_eq!(place(&second, path), place(&third, path), "{path}");
    }
    assert!(stored(&third) < 20 * CHUNK, "{} bytes are new", stored(&third));
    expect(&rig, &third, &tree, "out");
}

#[test]
fn a_renamed_folder_is_not_read_and_a_moved_file_keeps_its_number() {
    let rig = Rig::new();
    let tree = rig.tree();
    fill(&tree);
    let first = rig.backup(&tree);
    fs::rename(tree.join("folder-0"), tree.join("other")).unwrap();
    fs::rename(tree.join("folder-1/01"), tree.join("01")).unwrap();
    let second = rig.backup(&tree);
    assert!(second.read_files <= 1, "{} files were read", second.read_files);
    let number = |report: &FilesReport, path: &str| {
        let filesystem = rig.open(&report.point);
        resolve(filesystem.as_ref(), path.as_bytes(), Links::Keep).unwrap().number
    };
    assert_eq!(number(&first, "/folder-0/04"), number(&second, "/other/04"));
    assert_eq!(number(&first, "/folder-1/01"), number(&second, "/01"));
    expect(&rig, &second, &tree, "out");
}

#[test]
fn a_file_that_grows_moves_when_it_must_and_then_has_room() {
    let rig = Rig::new();
    let tree = rig.tree();
    fill(&tree);
    let mut reports = vec![rig.backup(&tree)];
    for number in 1..6u64 {
        let long = OpenOptions::new().append(true).open(tree.join("long")).unwrap();
        (&long).write_all(&noise(100_000, number)).unwrap();
        reports.push(rig.backup(&tree));
        expect(&rig, &reports[reports.len() - 1], &tree, &format!("out-{number}"));
    }
    assert!(stored(&reports[1]) > 1 << 20, "it had no room");
    for report in &reports[2..] {
        assert!(stored(report) < 200_000, "{}", stored(report));
    }
    rig.expect_whole();
}

#[test]
fn what_is_deleted_or_cut_off_becomes_a_hole_at_once() {
    let rig = Rig::new();
    let tree = rig.tree();
    fill(&tree);
    fs::write(tree.join("gone"), noise(1 << 20, 5)).unwrap();
    let first = rig.backup(&tree);
    fs::remove_file(tree.join("gone")).unwrap();
    File::options().write(true).open(tree.join("long")).unwrap().set_len(100_000).unwrap();
    let second = rig.backup(&tree);
    expect(&rig, &second, &tree, "out");
    rig.repository.forget_point(&first.point).unwrap();
    let verified = rig.expect_whole();
    assert!(verified < 400_000, "{verified} bytes are still reached");
}

#[test]
fn chunks_that_are_nearly_empty_are_emptied() {
    let rig = Rig::new();
    let tree = rig.tree();
    for number in 0..2000u64 {
        fs::write(tree.join(format!("{number:04}")), noise(1000, number)).unwrap();
    }
    // Without catalogs, whose pages would be most of it.
    let backup = || rig.run(&FilesRequest { catalog: None, ..rig.request(&tree) }).unwrap();
    let mut points = vec![backup().point];
    for number in (0..2000u64).filter(|number| number % 10 != 0) {
        fs::remove_file(tree.join(format!("{number:04}"))).unwrap();
    }
    let mut last = None;
    for _ in 0..2 {
        let report = backup();
        assert_eq!(report.read_files, 0, "what moves is copied from the repository");
        points.push(report.point.clone());
        last = Some(report);
    }
    let last = last.unwrap();
    expect(&rig, &last, &tree, "out");
    for point in points.iter().filter(|point| point.id != last.point.id) {
        rig.repository.forget_point(point).unwrap();
    }
    let verified = rig.expect_whole();
    assert!(verified < 2000 * 160 + 200_000 + 30 * CHUNK, "{verified} bytes are reached for 200,000 bytes of content");
}

#[test]
fn a_file_that_changed_in_the_tick_of_the_backup_is_read_again() {
    let rig = Rig::new();
    let tree = rig.tree();
    fill(&tree);
    // This one begins when the files were written, as a backup right after a change does.
    let request = FilesRequest { cut: SystemClock::new().now(), ..rig.request(&tree) };
    rig.run(&request).unwrap();
    assert_eq!(rig.backup(&tree).read_files, 41, "any of them may have changed again within one tick");
    assert_eq!(rig.backup(&tree).read_files, 0);
}

#[test]
fn a_file_that_outgrew_its_place_after_the_walk_is_whole_all_the_same() {
    let rig = Rig::new();
    let tree = rig.tree();
    fill(&tree);
    rig.backup(&tree);
    let long = tree.join("long");
    fs::write(&long, noise(1 << 20, 7)).unwrap();
    fs::write(tree.join("folder-0/02"), "x").unwrap();
    let (mut grown, path) = (false, long.clone());
    let mut reader = Hooked::new(ReaderChoice::Threads, move |name| {
        if name == "long" && !grown {
            grown = true;
            fs::write(&path, noise(3 << 20, 8)).unwrap();
        }
        if name == "02" {
            fs::write(path.with_file_name("folder-0/02"), noise(100_000, 9)).unwrap();
        }
    });
    let report = rig.run_with(&rig.request(&tree), &mut reader).unwrap();
    assert!(read(&rig, &report, "/long") == noise(3 << 20, 8));
    assert!(read(&rig, &report, "/folder-0/02") == noise(100_000, 9));
    expect(&rig, &report, &tree, "out");
    rig.backup(&tree);
    rig.expect_whole();
}

#[test]
fn content_that_changed_behind_its_times_is_found_when_everything_is_read() {
    let Ok(image) = Image::make(32 << 20, "mkfs.ext4", &["-q", "-F", "-b", "4096"]) else {
        return testkit::skip("mkfs.ext4 is missing");
    };
    let rig = Rig::new();
    let (short, long) = (noise(600, 1), noise(300_000, 2));
    {
        let mounted = image.mount("").unwrap();
        fs::write(mounted.point().join("short"), &short).unwrap();
        fs::write(mounted.point().join("long"), &long).unwrap();
        fs::write(mounted.point().join("other"), noise(300_000, 3)).unwrap();
        rig.backup(mounted.point());
    }
    let mut bytes = fs::read(image.path()).unwrap();
    for beginning in [&short[..64], &long[8192..8256]] {
        let at = bytes.windows(64).position(|window| window == beginning).unwrap();
        bytes[at] ^= 1;
    }
    fs::write(image.path(), bytes).unwrap();
    let mounted = image.mount("").unwrap();
    assert_eq!(rig.backup(mounted.point()).read_files, 0, "nothing shows it");
    let request = FilesRequest { rehash: true, ..rig.request(mounted.point()) };
    let report = rig.run(&request).unwrap();
    let mut named: Vec<_> = report.troubles.iter().map(|trouble| String::from_utf8_lossy(&trouble.path).into_owned()).collect();
    named.sort();
    assert_eq!(named, ["long", "short"], "{:?}", report.troubles);
    assert!(report.point.point.incident.is_some() && report.point.point.file_tree.unwrap().troubled == 2);
    assert!(read(&rig, &report, "/long") == fs::read(mounted.point().join("long")).unwrap());
    assert!(read(&rig, &report, "/short") == fs::read(mounted.point().join("short")).unwrap());
    let again = FilesRequest { rehash: true, ..rig.request(mounted.point()) };
    assert!(rig.run(&again).unwrap().troubles.is_empty(), "what was found once is stored");
}

#[test]
fn a_filesystem_that_is_mounted_as_another_device_is_known_again() {
    let Ok(image) = Image::make(32 << 20, "mkfs.ext4", &["-q", "-F", "-b", "4096"]) else {
        return testkit::skip("mkfs.ext4 is missing");
    };
    let rig = Rig::new();
    let first = image.mount("").unwrap();
    fill(first.point());
    fs::hard_link(first.point().join("long"), first.point().join("long again")).unwrap();
    let device = fs::metadata(first.point()).unwrap().dev();
    rig.backup(first.point());
    drop(first);
    // Whatever loop device it had is somebody else's now.
    let other = rig.folder.path().join("other");
    File::create(&other).unwrap().set_len(1 << 20).unwrap();
    let taken: Vec<_> = (0..4).map(|_| LoopDevice::attach(&other).unwrap()).collect();
    let second = image.mount("").unwrap();
    assert_ne!(fs::metadata(second.point()).unwrap().dev(), device);
    let report = rig.backup(second.point());
    drop(taken);
    assert_eq!(report.read_files, 0);
    assert!(stored(&report) < 20 * CHUNK, "{} bytes are new", stored(&report));
    expect(&rig, &report, second.point(), "out");
}

#[test]
fn laid_out_anew_a_tree_shares_nothing_and_loses_nothing() {
    let rig = Rig::new();
    let tree = rig.tree();
    fill(&tree);
    rig.backup(&tree);
    fs::remove_file(tree.join("long")).unwrap();
    let request = FilesRequest { full: true, ..rig.request(&tree) };
    let report = rig.run(&request).unwrap();
    assert_eq!(report.read_files, 40);
    expect(&rig, &report, &tree, "out");
    let opened = FileTree::open(Arc::new(rig.repository.read_point(&report.point))).unwrap();
    assert_eq!(opened.state().inodes, 43);
    assert!(opened.idle().unwrap().is_empty());
}
