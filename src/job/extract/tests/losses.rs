//! What cannot be had, or cannot be written: said, never made up, never left behind half.

use std::fs;
use std::process::Command;

use super::*;
use crate::base::progress::Step;
use crate::filesystem::{FilesystemError, InodeNumber, Object, Source};
use crate::job::JobErrorKind;
use crate::testkit;
use crate::testkit::image::unmount;

#[test]
fn a_file_that_lacks_bytes_is_not_left_behind_and_the_next_one_is_extracted() {
    let mut model = ModelFilesystem::new();
    let bad = model.file(model.root_number(), b"bad", &vec![7; 5 << 20]);
    model.lose(bad, Extent::new(3 << 20, 12_800));
    model.file(model.root_number(), b"good", b"content");
    let scene = Scene::new();
    let report = scene.extract(&model, PLAIN, false).unwrap();
    expect(&report, &["Lost bad: bytes 3145728+12800 of it are missing: cannot read the inode 2"]);
    assert_eq!(listing(&scene.target()), ["good: 7 bytes"]);
    assert_eq!((report.files, report.findings.harm), (1, 1));
}

#[test]
fn a_partial_file_is_kept_when_asked_for_and_names_exactly_what_is_missing() {
    let mut model = ModelFilesystem::new();
    let mut content = vec![7; (5 << 20) + 100];
    let bad = model.file(model.root_number(), b"bad", &content);
    let lost = [
        Extent::new(0, 4096),
        Extent::new(5632, 1024),
        Extent::new(7168, 512),
        Extent::new(3 << 20, 8192),
        Extent::new((4 << 20) - 4096, 8192),
        Extent::new(5 << 20, 100),
    ];
    for extent in lost {
        model.lose(bad, extent);
        content[extent.offset as usize..extent.end() as usize].fill(0);
    }
    let scene = Scene::new();
    let report = scene.extract(&model, ExtractOptions { partial: true, ..PLAIN }, false).unwrap();
    expect(&report, &["Partial bad"]);
    assert_eq!(report.findings.list[0].missing, lost);
    assert_eq!((report.files, report.findings.harm), (1, 1));
    assert!(fs::read(scene.at("bad")).unwrap() == content, "everything else is there");
}

#[test]
fn a_bad_inode_directory_or_attribute_costs_only_itself() {
    let mut model = ModelFilesystem::new();
    let root = model.root_number();
    let broken = model.directory(root, b"broken");
    model.file(broken, b"listed", b"1");
    model.fail_list(broken, FilesystemError::corrupt(Object::Directory(2), 8192, "its checksum is wrong"));
    model.entry(root, b"dangling", InodeNumber(99));
    let secret = model.file(root, b"secret", b"1");
    model.change(secret, |inode| inode.encrypted = true);
    let odd = model.file(root, b"odd", b"12");
    model.xattr(odd, b"nowhere.note", b"no such namespace");
    model.symlink(root, b"nul", b"a\0b");
    let scene = Scene::new();
    let report = scene.extract(&model, PLAIN, false).unwrap();
    expect(
        &report,
        &[
            "Lost broken: directory inode 2, byte 8192 of the volume: its checksum is wrong",
            "Lost dangling: inode 99",
            "Lost secret: inode 4 is encrypted",
            "Altered odd: its attribute nowhere.note",
            "Lost nul: its target holds a NUL",
        ],
    );
    assert_eq!(listing(&scene.target()), ["broken/listed: 1 bytes", "broken: directory", "odd: 2 bytes"]);
}

#[test]
fn what_is_there_stays_unless_forced_and_a_failed_replacement_leaves_it() {
    let mut model = ModelFilesystem::new();
    model.file(model.root_number(), b"good", b"new");
    let bad = model.file(model.root_number(), b"bad", &[1; 10_000]);
    model.lose(bad, Extent::new(4096, 4096));
    let directory = model.directory(model.root_number(), b"directory");
    model.file(directory, b"inside", b"new");
    let scene = Scene::new();
    fs::write(scene.at("good"), "old").unwrap();
    fs::write(scene.at("bad"), "old").unwrap();
    fs::create_dir(scene.at("directory")).unwrap();
    let report = scene.extract(&model, PLAIN, false).unwrap();
    expect(&report, &["Lost good: something is there already; add --force", "Lost bad: something is there already"]);
    assert_eq!(fs::read(scene.at("good")).unwrap(), b"old");
    assert_eq!(fs::read(scene.at("directory/inside")).unwrap(), b"new", "directories are joined");
    let report = scene.extract(&model, PLAIN, true).unwrap();
    expect(&report, &["Lost bad: bytes 4096+4096"]);
    assert_eq!(fs::read(scene.at("good")).unwrap(), b"new");
    assert_eq!(fs::read(scene.at("bad")).unwrap(), b"old", "the old file outlives the failure");
    assert_eq!(listing(&scene.target()).len(), 4, "nothing unfinished is left");
}

#[test]
fn a_file_never_takes_the_place_of_a_directory() {
    let mut model = ModelFilesystem::new();
    model.file(model.root_number(), b"name", b"new");
    let scene = Scene::new();
    fs::create_dir(scene.at("name")).unwrap();
    let report = scene.extract(&model, PLAIN, true).unwrap();
    expect(&report, &["Lost name: cannot replace it: Is a directory"]);
    assert_eq!(listing(&scene.target()), ["name: directory"]);
}

#[test]
fn a_stop_leaves_no_half_file() {
    let mut model = ModelFilesystem::new();
    model.file(model.root_number(), b"first", b"1");
    let cancel = Cancel::new();
    cancel.cancel();
    let scene = Scene::new();
    assert!(matches!(scene.extract_until(&model, PLAIN, false, &cancel), Err(JobError::Cancelled)));
    assert!(listing(&scene.target()).is_empty());
    // In the middle of a file.
    let start = model.file(model.root_number(), b"large", &vec![1; 40 << 20]);
    let cancel = Cancel::new();
    let mut target = DirectoryTarget::open(&scene.target(), DirectoryOptions { force: false }).unwrap();
    let progress = StopAfter { cancel: cancel.clone(), bytes: 3 << 20 };
    let stopped = extract(&model, &model.inode(start).unwrap(), b"large", &mut target, PLAIN, &progress, &cancel);
    assert!(matches!(stopped, Err(JobError::Cancelled)), "{stopped:?}");
    assert!(listing(&scene.target()).is_empty());
}

/// Asks for a stop once so much is done.
#[derive(Debug)]
struct StopAfter {
    cancel: Cancel,
    bytes: u64,
}

impl Progress for StopAfter {
    fn begin(&self, _: &str, _: u64) {}
    fn step(&self, step: Step) {
        if step.done_bytes > 0 && self.bytes > 0 {
            self.cancel.cancel();
        }
    }
    fn warn(&self, _: &str) {}
    fn finish(&self) {}
}

/// Mounts a small file system over the target while `run` runs.
fn mounted(scene: &Scene, options: &str, run: impl FnOnce()) {
    let done = |command: &mut Command| command.status().is_ok_and(|status| status.success());
    if !done(Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(scene.target())) {
        return testkit::skip("cannot mount a tmpfs");
    }
    run();
    unmount(&scene.target()).unwrap();
}

#[test]
fn a_full_or_read_only_target_ends_it_and_says_what_to_do() {
    let mut model = ModelFilesystem::new();
    model.file(model.root_number(), b"large", &vec![1; 3 << 20]);
    let scene = Scene::new();
    mounted(&scene, "size=1m", || {
        let ended = scene.extract(&model, PLAIN, false).unwrap_err();
        assert!(ended.to_string().contains("free some space"), "{ended}");
        assert!(listing(&scene.target()).is_empty(), "{:?}", listing(&scene.target()));
    });
    mounted(&scene, "ro", || {
        let ended = scene.extract(&model, PLAIN, false).unwrap_err();
        assert!(ended.to_string().contains("read-only"), "{ended}");
    });
}

#[test]
fn a_stream_ends_at_the_first_missing_byte_and_all_before_it_is_right() {
    let mut model = ModelFilesystem::new();
    let content: Vec<u8> = (0..3_000_000u32).map(|at| (at % 253) as u8).collect();
    let file = model.file(model.root_number(), b"f", &content);
    model.push_segment(file, 100_000, Source::Hole);
    let mut out = Vec::new();
    let inode = model.inode(file).unwrap();
    assert_eq!(stream(&model, &inode, &mut out, 3, &Cancel::new()).unwrap(), 3_100_000);
    assert!(out == [content.clone(), vec![0; 100_000]].concat());
    model.lose(file, Extent::new(2_097_152 + 8192, 4096));
    let mut out = Vec::new();
    let ended = stream(&model, &inode, &mut out, 3, &Cancel::new()).unwrap_err();
    assert_eq!(ended.kind(), JobErrorKind::Damage, "{ended}");
    assert!(out == content[..2_097_152 + 8192]);
    let root = model.inode(model.root()).unwrap();
    assert!(matches!(stream(&model, &root, &mut out, 1, &Cancel::new()), Err(JobError::Refused(_))));
}
