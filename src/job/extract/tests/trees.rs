//! What is kept: content, holes, links, owners, modes, times, attributes.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;

use nix::unistd::{Whence, geteuid, lseek};

use super::*;
use crate::filesystem::is_data;
use crate::filesystem::{FileTime, Source};
use crate::testkit::model_filesystem::{MODEL_BLOCK_BYTES, patchwork};
use rustix::fs::lgetxattr;
use std::process::Command;

/// Where a file has data, as its filesystem says.
fn data_of(path: &Path) -> Vec<Extent> {
    let file = File::open(path).unwrap();
    let mut extents = Vec::new();
    let mut at = 0;
    while let Ok(start) = lseek(&file, at, Whence::SeekData) {
        at = lseek(&file, start, Whence::SeekHole).unwrap();
        extents.push(Extent::between(start as u64, at as u64));
    }
    extents
}

#[test]
fn content_comes_back_with_its_holes_whatever_the_number_of_readers() {
    for workers in [1, 2, 5] {
        let mut model = ModelFilesystem::new();
        let (number, content) = patchwork(&mut model, b"f", 40);
        model.push_segment(number, 100, Source::Inline(b"tail".to_vec()));
        let wanted: Vec<_> = Filesystem::map(&model, &model.inode(number).unwrap(), Extent::new(0, u64::MAX))
            .unwrap()
            .into_iter()
            .filter(is_data)
            .map(|segment| segment.extent.align_outward(MODEL_BLOCK_BYTES))
            .collect();
        let scene = Scene::new();
        let report = scene.extract(&model, ExtractOptions { workers, ..PLAIN }, false).unwrap();
        expect(&report, &[]);
        let tail: Vec<u8> = b"tail".iter().copied().chain([0; 96]).collect();
        assert!(fs::read(scene.at("f")).unwrap() == [content, tail].concat());
        let size = fs::metadata(scene.at("f")).unwrap().len();
        let limit = Extent::new(0, size);
        let wanted: ExtentSet = wanted.iter().map(|extent| extent.intersect(&limit)).collect();
        let found: ExtentSet = data_of(&scene.at("f")).into_iter().collect();
        assert_eq!(found, wanted);
    }
}

#[test]
fn an_enormous_hole_costs_nothing() {
    let mut model = ModelFilesystem::new();
    let file = model.file(model.root_number(), b"f", b"");
    model.push_segment(file, 1 << 42, Source::Hole);
    model.append(file, b"end");
    let scene = Scene::new();
    let report = scene.extract(&model, PLAIN, false).unwrap();
    if told(&report).iter().any(|line| line.contains("too large for the target")) {
        return;
    }
    let facts = fs::metadata(scene.at("f")).unwrap();
    assert_eq!(facts.len(), (1 << 42) + 3);
    assert!(facts.blocks() * 512 <= 64 << 10);
}

#[test]
fn names_links_and_attributes_are_kept() {
    let mut model = ModelFilesystem::new();
    let root = model.root_number();
    let time = |seconds, nanoseconds| FileTime { seconds, nanoseconds };
    let directory = model.directory(root, "gr\u{fc}n \u{1f9ca}\n".as_bytes());
    let file = model.file(directory, b"a", b"content");
    model.entry(root, b"zz", file);
    model.entry(directory, b"b", file);
    let link = model.symlink(directory, b"link", b"../nowhere/at all");
    let read_only = model.directory(root, b"read-only");
    model.file(read_only, b"inside", b"1");
    model.file(read_only, b"empty", b"");
    for (number, mode) in [(directory, 0o1750), (file, 0o640), (read_only, 0o500), (link, 0o777)] {
        model.change(number, |inode| {
            (inode.mode, inode.uid, inode.gid) = (mode, 1234, 4_000_000_000);
            inode.modified = time(-86_400 - number.0 as i64, 123_456_789);
            inode.accessed = time(1_000_000_000, 987_654_321);
        });
    }
    model.change(file, |inode| inode.links = 3);
    model.xattr(file, b"user.note", b"\x00binary\xff");
    model.xattr(directory, b"user.empty", b"");
    let scene = Scene::new();
    let report = scene.extract(&model, PLAIN, false).unwrap();
    assert_eq!((report.files, report.hard_links, report.symlinks, report.directories), (3, 2, 1, 3), "{:?}", told(&report));
    expect(&report, &[]);
    let name = "gr\u{fc}n \u{1f9ca}\n";
    for (path, number, mode) in [
        (scene.at(name), directory, 0o1750),
        (scene.at(name).join("a"), file, 0o640),
        (scene.at("read-only"), read_only, 0o500),
        (scene.at(name).join("link"), link, 0o777),
    ] {
        let facts = fs::symlink_metadata(&path).unwrap();
        assert_eq!(facts.mode() & 0o7777, mode, "{}", path.display());
        assert_eq!((facts.mtime(), facts.mtime_nsec()), (-86_400 - number.0 as i64, 123_456_789), "{}", path.display());
        assert_eq!((facts.atime(), facts.atime_nsec()), (1_000_000_000, 987_654_321));
        if geteuid().is_root() {
            assert_eq!((facts.uid(), facts.gid()), (1234, 4_000_000_000), "{}", path.display());
        }
    }
    assert_eq!(fs::read_link(scene.at(name).join("link")).unwrap(), Path::new("../nowhere/at all"));
    let inode_of = |path: PathBuf| fs::metadata(path).unwrap().ino();
    assert_eq!(inode_of(scene.at("zz")), inode_of(scene.at(name).join("a")));
    assert_eq!(inode_of(scene.at("zz")), inode_of(scene.at(name).join("b")));
    let mut value = [0; 64];
    let length = lgetxattr(scene.at("zz"), "user.note", &mut value[..]).unwrap();
    assert_eq!(&value[..length], b"\x00binary\xff");
    assert_eq!(lgetxattr(scene.at(name), "user.empty", &mut value[..]).unwrap(), 0);
}

#[test]
fn one_file_gets_the_name_it_is_given() {
    let mut model = ModelFilesystem::new();
    let file = model.file(model.root_number(), b"old name", b"content");
    let scene = Scene::new();
    let mut target = DirectoryTarget::open(&scene.target(), DirectoryOptions { force: false }).unwrap();
    let report = extract(&model, &model.inode(file).unwrap(), b"new name", &mut target, PLAIN, &Silent, &Cancel::new()).unwrap();
    assert_eq!((report.files, report.directories, report.data_bytes), (1, 0, 7));
    assert_eq!(listing(&scene.target()), ["new name: 7 bytes"]);
}

#[test]
fn a_tree_with_a_path_longer_than_any_call_takes_is_extracted() {
    let mut model = ModelFilesystem::new();
    let mut at = model.root_number();
    for _ in 0..60 {
        at = model.directory(at, &[b'd'; 200]);
    }
    let file = model.file(at, b"deep", b"1");
    model.entry(at, b"deeper", file);
    model.change(file, |inode| inode.links = 2);
    let scene = Scene::new();
    let report = scene.extract(&model, PLAIN, false).unwrap();
    assert_eq!((report.directories, report.files + report.hard_links), (61, 2), "{:?}", told(&report));
    let removed = Command::new("rm").arg("-rf").arg(scene.target()).status().unwrap();
    assert!(removed.success());
}
