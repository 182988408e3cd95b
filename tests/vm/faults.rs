//! Disks that fail: what cannot be read is named to the byte, what cannot be written is an error, and the rest is saved.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use icecore::base::extent::{Extent, ExtentSet};
use serde_json::Value;

use crate::machine::{Machine, Mapped, Mounted, SECTOR_BYTES};
use crate::rig::{run, text};
use crate::world::{World, noise};

const SIZE: u64 = 12 << 20;

/// The first `size` bytes of a disk, with other targets instead of it in some ranges.
fn table(disk: &Path, size: u64, instead: &[(Extent, String)]) -> String {
    let line = |range: &Extent, target: &str| format!("{} {} {target}", range.offset / SECTOR_BYTES, range.length / SECTOR_BYTES);
    let linear = |range: &Extent| line(range, &format!("linear {} {}", text(disk), range.offset / SECTOR_BYTES));
    let holes: ExtentSet = instead.iter().map(|(range, _)| *range).collect();
    let whole = ExtentSet::whole(size).difference(&holes);
    let mut lines: Vec<(u64, String)> = whole.as_slice().iter().map(|range| (range.offset, linear(range))).collect();
    lines.extend(instead.iter().map(|(range, target)| (range.offset, line(range, target))));
    lines.sort();
    lines.into_iter().map(|(_, line)| line).collect::<Vec<_>>().join("\n")
}

fn errors(ranges: &[Extent]) -> Vec<(Extent, String)> {
    ranges.iter().map(|range| (*range, "error".to_owned())).collect()
}

fn fill(device: &Path, contents: &[u8]) {
    let file = OpenOptions::new().write(true).open(device).unwrap();
    file.write_all_at(contents, 0).unwrap();
    file.sync_all().unwrap();
}

fn ranges(list: &Value) -> Vec<Extent> {
    let number = |entry: &Value, name: &str| entry[name].as_u64().unwrap();
    let entries = list.as_array().unwrap().iter();
    entries.map(|entry| Extent::new(number(entry, "offset_bytes"), number(entry, "length_bytes"))).collect()
}

/// A volume of noise with these holes is backed up, and given back around them.
fn check_holes(disk: &Path, holes: &[Extent]) {
    let (world, contents) = (World::new(), noise(usize::try_from(SIZE).unwrap(), 1));
    fill(disk, &contents);
    let device = Mapped::new("holed", &table(disk, SIZE, &errors(holes)));
    for engine in ["uring", "pread"] {
        let backup = world.backup(device.text(), &["--volume", engine, "--engine", engine, "--json"]).exits(3);
        assert_eq!(ranges(&backup.json()["point"]["unreadable"]), holes, "{engine}");
        assert!(
            backup.err.contains(&format!("unreadable on the source: {}", holes[0])) || backup.err.contains("unreadable"),
            "{backup:?}"
        );
    }
    let point = "uring@latest";
    world.run(&["restore", point, "--to", "whole"]).exits(3).says("--degraded");
    world.run(&["restore", point, "--to", "rest", "--degraded"]).exits(3);
    let mut rest = fs::read(world.path("rest")).unwrap();
    for hole in holes {
        let range = usize::try_from(hole.offset).unwrap()..usize::try_from(hole.end()).unwrap();
        rest[range.clone()].copy_from_slice(&contents[range]);
    }
    assert!(rest == contents, "outside of the holes everything comes back");
}

#[test]
fn unreadable_sectors_are_named_to_the_sector_and_the_rest_comes_back() {
    let Some(machine) = Machine::here() else { return };
    let single = Extent::new(3 << 20, SECTOR_BYTES);
    let odd = Extent::new((7 << 20) + 3 * SECTOR_BYTES, 40_000 - 40_000 % SECTOR_BYTES);
    check_holes(&machine.small_sectors(), &[single, odd, Extent::new(SIZE - (1 << 20), 1 << 20)]);
}

#[test]
fn on_a_disk_of_large_sectors_too() {
    let Some(machine) = Machine::here() else { return };
    check_holes(&machine.large_sectors(), &[Extent::new(4096, 4096), Extent::new((7 << 20) + 8192, 5 * 4096)]);
}

/// A target of which the second half refuses or forgets writes.
fn failing(disk: &Path, how: &str) -> Mapped {
    let half = Extent::new(SIZE / 2, SIZE / 2);
    run("blkdiscard", &["-z", "-l", &SIZE.to_string(), text(disk)]);
    // Never up, always down.
    let flakey = format!("flakey {} {} 0 1 1 {how}", text(disk), half.offset / SECTOR_BYTES);
    Mapped::new("failing", &table(disk, SIZE, &[(half, flakey)]))
}

#[test]
fn a_target_that_refuses_writes_fails_the_restore_and_one_that_forgets_them_its_verification() {
    let Some(machine) = Machine::here() else { return };
    let world = World::new();
    world.image("disk", usize::try_from(SIZE).unwrap(), 3);
    world.backup("disk", &[]).exits(0);
    let target = failing(&machine.nvme(), "error_writes");
    let refused = world.run(&["restore", "latest", "--to", target.text()]).exits(1);
    let half = format!("{} fails, and holds only a part of the point; restore to another target: write bytes", target.text());
    assert!(refused.err.contains(&half) && refused.err.contains("Input/output error"), "{refused:?}");
    drop(target);
    let target = failing(&machine.nvme(), "drop_writes");
    world.run(&["restore", "latest", "--to", target.text(), "--verify"]).exits(3).says("do not trust this target");
}

/// Where the bytes of a file lie on its volume.
fn extent_of(path: &Path) -> Extent {
    let lines = run("filefrag", &["-b4096", "-v", text(path)]);
    let line = lines.lines().find(|line| line.trim_start().starts_with("0:")).expect("a first extent");
    let numbers: Vec<u64> = line.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect();
    // Its number, the first and last block within the file, and those on the volume.
    Extent::between(numbers[3] * 4096, (numbers[4] + 1) * 4096)
}

#[test]
fn of_a_volume_with_a_hole_all_files_but_one_are_salvaged() {
    let Some(machine) = Machine::here() else { return };
    let (world, disk) = (World::new(), machine.small_sectors());
    run("blkdiscard", &["-z", "-l", &SIZE.to_string(), text(&disk)]);
    let sound = Mapped::new("sound", &table(&disk, SIZE, &[]));
    run("mkfs.ext4", &["-q", "-b", "4096", sound.text()]);
    let mounted = Mounted::new(sound.path(), world.path("mounted"), "noatime");
    let file = |index: u64| noise(200_000, index);
    for index in 0..12 {
        fs::write(mounted.path().join(index.to_string()), file(index)).unwrap();
    }
    run("sync", &["-f", text(mounted.path())]);
    let hole = Extent::new(extent_of(&mounted.path().join("5")).offset + 3 * 4096, 2 * 4096);
    drop(mounted);
    drop(sound);
    let device = Mapped::new("holed", &table(&disk, SIZE, &errors(&[hole])));
    let run = world.run(&["salvage", device.text(), "--to", "out", "--json"]).exits(3);
    let out = |path: &str| fs::read(world.path("out").join(path)).unwrap_or_default();
    for index in (0..12).filter(|index| *index != 5) {
        assert!(out(&index.to_string()) == file(index), "file {index}: {run:?}");
    }
    let incomplete = run.json()["incomplete"].clone();
    assert_eq!(incomplete.as_array().map(Vec::len), Some(1), "{run:?}");
    assert_eq!(ranges(&incomplete[0]["missing"]), [Extent::new(3 * 4096, 2 * 4096)], "{run:?}");
    let (mut rest, lost) = (out(incomplete[0]["kept_as"].as_str().unwrap()), 3 * 4096..5 * 4096);
    assert_eq!(rest.len(), 200_000, "{run:?}");
    rest[lost.clone()].copy_from_slice(&file(5)[lost]);
    assert!(rest == file(5), "outside of the hole file 5 is whole");
}
