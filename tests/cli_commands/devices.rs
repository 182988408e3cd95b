//! Real block devices: backed up, restored to, refused while mounted, and read around their bad spots.

use std::fs::{self, File, OpenOptions};
use std::process::Command;

use icecore::testkit;
use icecore::testkit::image::unmount;
use icecore::testkit::loop_device::LoopDevice;

use crate::world::{World, change, noise};

const SIZE: u64 = 4 << 20;

fn loop_device(world: &World, name: &str, contents: Option<u64>) -> Option<LoopDevice> {
    let path = world.path(name);
    match contents {
        Some(seed) => fs::write(&path, noise(SIZE as usize, seed)).unwrap(),
        None => File::create(&path).unwrap().set_len(SIZE).unwrap(),
    }
    let device = LoopDevice::attach(&path).ok();
    if device.is_none() {
        testkit::skip("no loop device can be attached");
    }
    device
}

#[test]
fn a_block_device_comes_back_onto_another() {
    let world = World::new();
    let (Some(source), Some(target)) = (loop_device(&world, "a", Some(1)), loop_device(&world, "b", None)) else { return };
    let (source, to) = (source.path().to_str().unwrap(), target.path().to_str().unwrap());
    world.backup(source, &["--volume", "disk"]).exits(0);
    change(source.as_ref(), 1 << 20, &noise(4096, 7));
    let second = world.backup(source, &["--volume", "disk", "--json"]).exits(0).json();
    assert_eq!(second["point"]["new_bytes"], 16_384);
    world.run(&["restore", "latest", "--to", to, "--verify"]).exits(0);
    assert!(fs::read(source).unwrap() == fs::read(to).unwrap());
    world.run(&["restore", "latest", "--to", to]).exits(2).says("holds data");
    let again = world.run(&["restore", "latest", "--to", to, "--force", "--only-differences", "--json"]).exits(0).json();
    assert_eq!(again["written_bytes"], 0);
}

#[test]
fn a_mounted_device_is_no_target_and_a_source_only_live() {
    let world = World::new();
    let Some(device) = loop_device(&world, "a", None) else { return };
    let (path, point) = (device.path().to_str().unwrap(), world.text("mounted"));
    fs::create_dir(&point).unwrap();
    let run = |program: &str, arguments: &[&str]| Command::new(program).args(arguments).status().is_ok_and(|s| s.success());
    if !run("mkfs.ext4", &["-q", path]) || !run("mount", &[path, &point]) {
        return testkit::skip("cannot make and mount a filesystem");
    }
    let refused = world.backup(path, &["--volume", "disk"]);
    let live = world.backup(path, &["--volume", "disk", "--live", "--json"]);
    let overwritten = world.run(&["restore", "latest", "--to", path, "--force"]);
    unmount(point.as_ref()).unwrap();
    refused.exits(2).says("is mounted read-write");
    assert_eq!(live.exits(0).json()["point"]["consistency"], "live");
    overwritten.exits(2).says("is mounted at");
    assert!(world.run(&["points"]).exits(0).out.contains("live"));
}

#[test]
fn ranges_that_cannot_be_read_are_named_in_the_point_and_in_every_restore() {
    let world = World::new();
    let Some(device) = loop_device(&world, "a", Some(2)) else { return };
    let path = device.path().to_str().unwrap();
    // A loop device over a file that was cut short answers reads beyond its end with an error.
    OpenOptions::new().write(true).open(world.path("a")).unwrap().set_len(SIZE - (1 << 20)).unwrap();
    let backup = world.backup(path, &["--volume", "disk", "--json"]).exits(3);
    let unreadable = &backup.json()["point"]["unreadable"];
    assert_eq!(unreadable[0]["offset_bytes"], SIZE - (1 << 20), "{unreadable}");
    assert_eq!(unreadable[0]["length_bytes"], 1 << 20, "{unreadable}");
    assert!(backup.err.contains("unreadable on the source"), "{backup:?}");
    world.run(&["restore", "latest", "--to", "whole"]).exits(3).says("--degraded");
    assert!(!world.path("whole").exists(), "the refusal comes before the target is made");
    world.run(&["restore", "latest", "--to", "rest", "--degraded"]).exits(3).says("not restored");
    let good = (SIZE - (1 << 20)) as usize;
    assert!(fs::read(world.path("rest")).unwrap()[..good] == noise(good, 2));
}
