//! Files compared between points, images and paths in them, after the kernel changed them between two backups.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use icecore::testkit;
use icecore::testkit::image::Image;
use rustix::fs::{XattrFlags, lsetxattr};
use serde_json::Value;

use crate::files::ext4;
use crate::world::{World, change, noise};

const MIB: u64 = 1 << 20;

fn xfs(size: u64, fill: impl FnOnce(&Path)) -> Option<Image> {
    let made = Image::make(size, "mkfs.xfs", &["-q", "-f"]).and_then(|image| {
        let mounted = image.mount("")?;
        fill(mounted.point());
        drop(mounted);
        Ok(image)
    });
    made.inspect_err(|error| testkit::skip(&error.to_string())).ok()
}

fn before(mount: &Path) {
    fs::create_dir_all(mount.join("etc/deep")).unwrap();
    fs::create_dir(mount.join("moved")).unwrap();
    for (number, name) in
        ["etc/same", "etc/longer", "etc/gone", "etc/deep/was", "etc/mode", "etc/owner", "moved/inside", "moved/written"]
            .into_iter()
            .enumerate()
    {
        fs::write(mount.join(name), noise(20_000 + number, number as u64)).unwrap();
    }
    fs::write(mount.join("etc/rewritten"), noise(300_000, 77)).unwrap();
    symlink("same", mount.join("etc/link")).unwrap();
    fs::hard_link(mount.join("etc/same"), mount.join("etc/second")).unwrap();
}

/// Everything that a walk and a catalog call by the same name.
fn after(mount: &Path) {
    let rewritten = File::options().write(true).open(mount.join("etc/rewritten")).unwrap();
    rewritten.write_all_at(b"some other bytes", 150_000).unwrap();
    fs::write(mount.join("etc/longer"), noise(50_000, 5)).unwrap();
    fs::remove_file(mount.join("etc/gone")).unwrap();
    fs::rename(mount.join("etc/deep/was"), mount.join("etc/deep/is")).unwrap();
    fs::rename(mount.join("moved"), mount.join("here")).unwrap();
    fs::write(mount.join("here/written"), "short").unwrap();
    fs::set_permissions(mount.join("etc/mode"), Permissions::from_mode(0o4711)).unwrap();
    chown(mount.join("etc/owner"), Some(1000), Some(70_000)).unwrap();
    fs::remove_file(mount.join("etc/link")).unwrap();
    symlink("rewritten", mount.join("etc/link")).unwrap();
    fs::hard_link(mount.join("etc/same"), mount.join("third")).unwrap();
    fs::create_dir(mount.join("new")).unwrap();
    fs::write(mount.join("new/file"), "new").unwrap();
}

const CHANGES: &str = "\
R /etc/deep/was -> /etc/deep/is
- /etc/gone
M /etc/link
M /etc/longer
A /etc/mode
A /etc/owner
M /etc/rewritten
R /moved -> /here
M /here/written
+ /new
+ /new/file
+ /third
";

/// Lines in the order of their newer paths.
fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort();
    lines
}

/// Two backups of an image that changed between them, and a copy of the first state.
fn changed(make: impl FnOnce(u64, &dyn Fn(&Path)) -> Option<Image>, size: u64) -> Option<(World, Image)> {
    let image = make(size, &before)?;
    let world = World::new();
    world.backup(image.path().to_str().unwrap(), &["--volume", "disk"]).exits(0);
    fs::copy(image.path(), world.path("old.img")).unwrap();
    let mounted = image.mount("").unwrap();
    after(mounted.point());
    drop(mounted);
    world.backup(image.path().to_str().unwrap(), &["--volume", "disk"]).exits(0);
    fs::rename(image.path(), world.path("new.img")).or_else(|_| fs::copy(image.path(), world.path("new.img")).map(drop)).unwrap();
    Some((world, image))
}

/// What `--json` says of each path: everything but where it was read.
fn files(report: &Value) -> Vec<Value> {
    report["files"].as_array().unwrap().clone()
}

fn check_changes(make: impl FnOnce(u64, &dyn Fn(&Path)) -> Option<Image>, size: u64) {
    let Some((world, _image)) = changed(make, size) else { return };
    let ids = world.ids();
    let diff = |old: &str, new: &str, more: &[&str]| world.run(&[&["diff", old, new, "--cache-dir", "cache"], more].concat());
    let of_catalogs = diff(&ids[0], &ids[1], &["--files"]).exits(0).out;
    assert_eq!(sorted(&of_catalogs), sorted(CHANGES));
    let places = [format!("{}:/", ids[0]), "./old.img".to_owned()];
    let newer = [format!("{}:/", ids[1]), "new.img".to_owned()];
    for (old, new) in places.iter().flat_map(|old| newer.iter().map(move |new| (old, new))) {
        assert_eq!(diff(old, new, &[]).exits(0).out, of_catalogs, "{old} {new}");
    }
    assert_eq!(diff(&ids[0], &ids[1], &["--content"]).exits(0).out, of_catalogs);
    let told = diff(&ids[0], &ids[1], &["--files", "--json"]).exits(0).json();
    let walked = diff(&ids[0], &ids[1], &["--content", "--json"]).exits(0).json();
    assert_eq!(files(&told), files(&walked));
    assert_eq!(told["extents"], walked["extents"]);
    assert_eq!((&told["new_source"], &walked["new_source"]["data_verified"]), (&Value::Null, &Value::Bool(true)));
    let nothing = diff("new.img", &format!("{}:/", ids[1]), &["--content", "--json"]).exits(0).json();
    assert_eq!(files(&nothing), Vec::<Value>::new());
    assert!(nothing["compared_bytes"].as_u64().unwrap() > 400_000 && nothing["differing_bytes"].is_null(), "{nothing}");
    let below = diff(&format!("{}:/etc", ids[0]), "new.img:/etc", &[]).exits(0).out;
    assert!(below.starts_with("R /deep/was -> /deep/is\n- /gone\nM /link\n") && !below.contains("/etc"), "{below}");
    assert_eq!(diff("old.img:/etc/rewritten", "new.img:/etc/rewritten", &[]).exits(0).out, "M /rewritten\n");
    assert_eq!(diff("old.img:/etc/same", "new.img:/etc/second", &[]).exits(0).out, "");
    diff("old.img:/none", "new.img", &[]).exits(5);
}

#[test]
fn what_the_kernel_changed_on_ext4_is_told_alike_by_catalogs_and_by_a_walk() {
    check_changes(|size, fill| ext4(size, fill), 32 * MIB);
}

#[test]
fn what_the_kernel_changed_on_xfs_is_told_alike_by_catalogs_and_by_a_walk() {
    check_changes(|size, fill| xfs(size, fill), 320 * MIB);
}

#[test]
fn a_walk_reads_bytes_where_a_catalog_trusts_times_and_sees_extended_attributes() {
    let Some(image) = ext4(32 * MIB, before) else { return };
    let world = World::new();
    let disk = image.path().to_str().unwrap();
    world.backup(disk, &["--volume", "disk"]).exits(0);
    let mounted = image.mount("").unwrap();
    let touched = File::options().write(true).open(mounted.point().join("etc/same")).unwrap();
    touched.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    lsetxattr(mounted.point().join("etc/mode"), "user.note", b"x", XattrFlags::empty()).unwrap();
    drop((touched, mounted));
    world.backup(disk, &["--volume", "disk"]).exits(0);
    let ids = world.ids();
    let told = world.run(&["diff", &ids[0], &ids[1], "--files", "--cache-dir", "cache"]).exits(0).out;
    assert_eq!(told, "M /etc/same\nM /etc/second\n");
    let walked = world.run(&["diff", &ids[0], &ids[1], "--content"]).exits(0).out;
    assert_eq!(walked, "A /etc/mode\nA /etc/same\nA /etc/second\n");
}

#[test]
fn file_systems_of_two_kinds_are_compared_by_what_files_hold() {
    let Some(old) = ext4(32 * MIB, before) else { return };
    let Some(new) = xfs(320 * MIB, before) else { return };
    let world = World::new();
    let place = |image: &Image| format!("{}:/etc", image.path().display());
    let report = world.run(&["diff", &place(&old), &place(&new), "--json"]).exits(0).json();
    assert!(report["compared_bytes"].as_u64().unwrap() > 400_000, "{report}");
    // Both were written by now, and so at other times; nothing else differs.
    let all: Vec<_> = files(&report).iter().map(|file| file["change"].as_str().unwrap().to_owned()).collect();
    assert!(all.len() >= 8 && all.iter().all(|change| change == "attributes"), "{report}");
}

#[test]
fn what_one_side_cannot_read_is_a_finding_on_both_and_counts_as_neither_gone_nor_new() {
    let Some((world, _image)) = changed(|size, fill| ext4(size, fill), 32 * MIB) else { return };
    let stat = world.run(&["stat", "new.img:/etc/mode", "--json"]).exits(0).json();
    let inode = stat["file"]["inode"].as_u64().unwrap();
    let told = Command::new("debugfs").args(["-R", &format!("imap <{inode}>")]).arg(world.path("new.img")).output();
    let told = String::from_utf8(told.unwrap().stdout).unwrap();
    let (block, offset) = told.split("at block ").nth(1).unwrap().split_once(", offset ").unwrap();
    let at = block.trim().parse::<u64>().unwrap() * 4096 + u64::from_str_radix(offset.trim().trim_start_matches("0x"), 16).unwrap();
    change(&world.path("new.img"), at + 4, &[0xff; 4]);
    let run = world.run(&["diff", "old.img", "new.img", "--json"]).exits(3).says("not compared: /etc/mode");
    let report = run.json();
    assert_eq!(report["findings"][0]["path"], "/etc/mode");
    assert!(report["findings"][0]["reason"].as_str().unwrap().starts_with("in the new one: "), "{report}");
    assert!(files(&report).iter().all(|file| file["path"] != "/etc/mode"), "{report}");
    assert_eq!(files(&report).len(), 11);
}
