//! Whatever a tree holds and whatever lies in the target, nothing is made or changed outside.

use std::fs;
use std::os::unix::fs::symlink;

use super::*;
use crate::filesystem::{FileKind, InodeNumber};
use crate::testkit;
use nix::sys::stat::makedev;
use nix::unistd::geteuid;
use rustix::fs::lgetxattr;

fn root(model: &ModelFilesystem) -> InodeNumber {
    model.root_number()
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let scene = Scene::new();
    let before = scene.outside();
    let mut model = ModelFilesystem::new();
    let evil = model.file(root(&model), b"plain", b"evil");
    for name in [&b".."[..], b".", b"", b"../outside", b"a/b", b"/etc/passwd", b"x\0y", &[b'n'; 256]] {
        model.entry(root(&model), name, evil);
    }
    let up = model.directory(root(&model), b"..");
    model.file(up, b"escaped", b"evil");
    let report = scene.extract(&model, PLAIN, true).unwrap();
    assert_eq!(scene.outside(), before);
    assert_eq!(listing(&scene.target()), ["plain: 4 bytes"]);
    assert_eq!(report.findings.list.len(), 9, "{:#?}", told(&report));
    assert_eq!(report.findings.harm, 9);
}

#[test]
fn the_target_itself_refuses_such_names_from_whoever_asks() {
    let scene = Scene::new();
    let before = scene.outside();
    let model = ModelFilesystem::new();
    let inode = model.inode(model.root()).unwrap();
    let attributes = Attributes::new(&inode, Vec::new(), PLAIN);
    for name in [&b".."[..], b".", b"../x", b"/tmp/x", b"a\0b"] {
        let mut target = DirectoryTarget::open(&scene.target(), DirectoryOptions { force: true }).unwrap();
        let spot = Spot { directory: b"", name };
        assert!(target.enter(&spot, &attributes).is_err());
        assert!(target.begin(&spot, &attributes, 1, None).is_err());
        assert!(target.symlink(&spot, &attributes, b"x").is_err());
        assert!(target.special(&spot, &attributes).is_err());
        assert!(target.link(&spot, &attributes, b"x").is_err());
        assert!(target.link(&Spot { directory: b"", name: b"new" }, &attributes, name).is_err());
    }
    assert_eq!(scene.outside(), before);
    assert!(listing(&scene.target()).is_empty());
}

#[test]
fn a_link_and_a_directory_of_one_name_do_not_lead_out() {
    for (link_first, force) in [(true, false), (true, true), (false, false), (false, true)] {
        let scene = Scene::new();
        let before = scene.outside();
        let mut model = ModelFilesystem::new();
        let top = root(&model);
        let link = model.add(FileKind::Symlink, 0o777);
        model.entry(InodeNumber(1), b"holder", link);
        let outside = scene.folder.path().display().to_string();
        let link = model.symlink(top, b"y", outside.as_bytes());
        let directory = model.directory(top, b"z");
        model.file(directory, b"outside", b"evil");
        model.file(directory, b"new", b"evil");
        // Both under one name, in both orders.
        let both = if link_first { [link, directory] } else { [directory, link] };
        let holder = model.directory(top, b"both");
        both.iter().for_each(|inode| model.entry(holder, b"x", *inode));
        // The directory is reached through `both` only.
        let report = scene.extract(&model, PLAIN, force).unwrap();
        assert_eq!(scene.outside(), before, "{:#?}", told(&report));
        assert_eq!(fs::read(scene.folder.path().join("outside")).unwrap(), b"untouched");
        assert!(report.findings.harm > 0);
    }
}

#[test]
fn links_that_lie_in_the_target_are_not_followed() {
    for force in [false, true] {
        let scene = Scene::new();
        let elsewhere = scene.folder.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        fs::write(elsewhere.join("file"), "theirs").unwrap();
        symlink(&elsewhere, scene.at("directory")).unwrap();
        symlink(elsewhere.join("file"), scene.at("file")).unwrap();
        let before = scene.outside();
        let mut model = ModelFilesystem::new();
        let directory = model.directory(root(&model), b"directory");
        model.file(directory, b"file", b"evil evil");
        model.file(root(&model), b"file", b"evil evil");
        let report = scene.extract(&model, PLAIN, force).unwrap();
        assert_eq!(scene.outside(), before);
        assert_eq!(fs::read(elsewhere.join("file")).unwrap(), b"theirs");
        if force {
            expect(&report, &["directory: something that is no directory"]);
            assert_eq!(fs::read(scene.at("file")).unwrap(), b"evil evil", "the link itself was replaced");
            assert!(!scene.at("file").is_symlink());
        } else {
            expect(&report, &["directory: something that is no directory", "file: something is there already"]);
        }
    }
}

#[test]
fn a_hard_link_to_a_first_name_that_was_moved_away_leads_nowhere() {
    let scene = Scene::new();
    let elsewhere = scene.folder.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("first"), "theirs").unwrap();
    symlink(&elsewhere, scene.at("moved")).unwrap();
    let model = ModelFilesystem::new();
    let attributes = Attributes::new(&model.inode(model.root()).unwrap(), Vec::new(), PLAIN);
    let mut target = DirectoryTarget::open(&scene.target(), DirectoryOptions { force: false }).unwrap();
    for first in [&b"moved/first"[..], b"../elsewhere/first", b"moved/../outside"] {
        assert!(target.link(&Spot { directory: b"", name: b"stolen" }, &attributes, first).is_err(), "{first:?}");
    }
    assert!(!scene.at("stolen").exists());
}

#[test]
fn device_nodes_and_lent_rights_come_only_when_asked_for() {
    let mut model = ModelFilesystem::new();
    let top = root(&model);
    model.special(top, b"disk", FileKind::BlockDevice { major: 7, minor: 300 });
    model.special(top, b"null", FileKind::CharacterDevice { major: 1, minor: 3 });
    model.special(top, b"pipe", FileKind::Fifo);
    model.special(top, b"socket", FileKind::Socket);
    let su = model.file(top, b"su", b"#!");
    model.change(su, |inode| inode.mode = 0o7755);
    model.xattr(su, b"security.capability", &[1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let shared = model.directory(top, b"shared");
    model.change(shared, |inode| inode.mode = 0o3777);
    let scene = Scene::new();
    let report = scene.extract(&model, PLAIN, false).unwrap();
    assert_eq!(listing(&scene.target()), ["pipe: pipe", "shared: directory", "socket: socket", "su: 2 bytes"]);
    let mode = |scene: &Scene, name: &str| fs::metadata(scene.at(name)).unwrap().mode() & 0o7777;
    assert_eq!((mode(&scene, "su"), mode(&scene, "shared")), (0o755, 0o1777));
    expect(
        &report,
        &["disk: it is a device node", "null: it is a device node", "mode 7755 became 0755", "its file capabilities", "mode 3777"],
    );
    assert_eq!(report.findings.harm, 0, "nothing is wrong with what was not asked for");
    if !geteuid().is_root() {
        return testkit::skip("only root makes device nodes");
    }
    let scene = Scene::new();
    let report = scene.extract(&model, ExtractOptions { devices: true, setuid: true, ..PLAIN }, false).unwrap();
    expect(&report, &[]);
    assert_eq!((mode(&scene, "su"), mode(&scene, "shared")), (0o7755, 0o3777));
    let disk = fs::symlink_metadata(scene.at("disk")).unwrap();
    assert_eq!(disk.rdev(), makedev(7, 300));
    assert!(fs::symlink_metadata(scene.at("null")).unwrap().file_type().is_char_device());
    let mut value = [0; 64];
    assert_eq!(lgetxattr(scene.at("su"), "security.capability", &mut value[..]).unwrap(), 20);
}
