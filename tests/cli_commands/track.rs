//! Tracking from outside: the change list of an epoch makes a backup that is the disk, or there is none and a reason.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use icecore::testkit;
use icecore::testkit::loop_device::LoopDevice;
use icecore::tracking::{Settings, obstacles};
use serde_json::Value;

use crate::world::{Run, World, noise};

const SIZE: u64 = 32 << 20;

/// A world with a tracker of its own and a disk.
pub struct Tracked {
    pub world: World,
    device: LoopDevice,
    _turn: File,
}

impl Tracked {
    fn new() -> Option<Self> {
        Self::of_size(SIZE)
    }

    pub fn of_size(size: u64) -> Option<Self> {
        let obstacles = obstacles(&Settings::default());
        if !obstacles.is_empty() {
            testkit::skip(&obstacles.join("; "));
            return None;
        }
        // The same lock as that of the tests of the tracker itself, so that each has its disks and their counts to itself.
        let turn = File::create("/var/tmp/icecore-tracking-tests.lock").unwrap();
        turn.lock().unwrap();
        let world = World::new();
        world.image("image", size as usize, 1);
        let device = LoopDevice::attach(&world.path("image")).ok()?;
        Some(Self { world, device, _turn: turn })
    }

    pub fn disk(&self) -> &str {
        self.device.path().to_str().unwrap()
    }

    fn track(&self, arguments: &[&str]) -> Run {
        self.world.run(&[&["track", "--bpffs", "bpf", "--tracker-state", "state"], arguments].concat())
    }

    fn epoch(&self, more: &[&str]) -> Run {
        self.track(&[&["epoch", self.disk(), "--token", "token"], more].concat())
    }

    fn keep_token(&self) {
        fs::rename(self.world.path("token.new"), self.world.path("token")).unwrap();
    }

    fn write(&self, offset: u64, seed: u64) {
        let file = OpenOptions::new().write(true).open(self.device.path()).unwrap();
        file.write_all_at(&noise(100_000, seed), offset).unwrap();
        file.sync_all().unwrap();
    }

    fn backup(&self, more: &[&str]) -> Run {
        self.world.backup(self.disk(), &[&["--volume", "disk"], more].concat())
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        let _may_not_be_mounted = Command::new("umount").arg("--lazy").arg(self.world.path("bpf")).output();
    }
}

/// What every subcommand prints, for the comparison with its documentation.
pub fn outputs() -> Option<Vec<Value>> {
    let tracked = Tracked::new()?;
    let json = |arguments: &[&str], code: i32| tracked.track(&[arguments, &["--json"]].concat()).exits(code).json();
    let disk = tracked.disk();
    let mut outputs = vec![json(&["add", disk], 0), json(&["epoch", disk, "--token", "token"], 3)];
    tracked.keep_token();
    tracked.write(0, 5);
    assert!(Command::new("blkdiscard").args(["--length", "65536", disk]).status().unwrap().success());
    outputs.extend([json(&["list"], 0), json(&["epoch", disk, "--token", "token"], 0), json(&["remove", disk], 0)]);
    Some(outputs)
}

#[test]
fn a_chain_of_epochs_makes_backups_that_are_the_disk() {
    let Some(tracked) = Tracked::new() else { return };
    let world = &tracked.world;
    assert!(tracked.track(&["add", tracked.disk()]).exits(0).out.contains("is tracked by requests"));
    let first = tracked.epoch(&[]).exits(3).says("the first of its chain");
    assert_eq!(first.out, "");
    tracked.backup(&[]).exits(0);
    tracked.keep_token();
    for round in 0..3 {
        tracked.write(1_000_000 * (round + 1), round + 10);
        let list = tracked.epoch(&[]).exits(0).out;
        assert!(list.lines().count() == 1, "{list}");
        fs::write(world.path("changes"), list).unwrap();
        let report = tracked.backup(&["--changed", "changes", "--audit-share", "0.5", "--json"]).exits(0).json();
        assert!(report["point"]["read_bytes"].as_u64().unwrap() < 1 << 20, "{report}");
        tracked.keep_token();
        world.expect("latest", &fs::read(tracked.device.path()).unwrap());
    }
    assert!(tracked.track(&["list"]).exits(0).out.contains("16.0 KiB"));
    tracked.track(&["remove", tracked.disk()]).exits(0);
    tracked.epoch(&[]).exits(2).says("is not tracked");
    assert_eq!(tracked.track(&["list"]).exits(0).out, "no disk is tracked\n");
}

#[test]
fn a_token_whose_backup_failed_leads_to_an_unknown_delta_and_never_to_a_short_one() {
    let Some(tracked) = Tracked::new() else { return };
    tracked.track(&["add", tracked.disk()]).exits(0);
    tracked.epoch(&[]).exits(3);
    tracked.keep_token();
    tracked.write(0, 2);
    tracked.epoch(&[]).exits(0);
    // No backup was made of it, so the token stays as it was.
    tracked.write(9_000_000, 3);
    let told = tracked.epoch(&[]).exits(3).says("the token is not that of the last cut");
    assert_eq!(told.out, "");
}

#[test]
fn the_cut_is_taken_inside_the_epoch_and_one_that_fails_loses_nothing() {
    let Some(tracked) = Tracked::new() else { return };
    tracked.track(&["add", tracked.disk()]).exits(0);
    tracked.epoch(&[]).exits(3);
    tracked.keep_token();
    tracked.write(5 << 20, 2);
    tracked.epoch(&["--cut", "echo no >&2; exit 7"]).exits(1).says("the command that takes the cut failed");
    let write = format!("dd if=/dev/zero of={} bs=4k seek=4000 count=1 conv=notrunc,fsync status=none", tracked.disk());
    let list = tracked.epoch(&["--cut", &format!("echo said; {write}")]).exits(0).out;
    assert_eq!(list, "5242880 114688\n16384000 16384\n");
}

impl Tracked {
    fn backup_tracked(&self, more: &[&str]) -> Value {
        let tracked = ["--track", "--bpffs", "bpf", "--tracker-state", "state", "--audit-share", "0.5", "--json"];
        self.backup(&[&tracked, more].concat()).exits(0).json()["point"].clone()
    }

    fn expect_disk(&self) {
        self.world.expect("latest", &fs::read(self.device.path()).unwrap());
    }
}

#[test]
fn tracked_backups_read_what_was_written_and_prove_it_by_the_point_before() {
    let Some(tracked) = Tracked::new() else { return };
    let first = tracked.backup_tracked(&[]);
    assert_eq!((&first["change_source"], &first["cut_names"][0]["source"]), (&"full".into(), &"epoch".into()));
    for round in 1..4 {
        tracked.write(round * 1_000_000, round);
        let next = tracked.backup_tracked(&[]);
        assert_eq!((&next["change_source"], &next["told_in_a_row"]), (&"epoch".into(), &round.into()), "{next}");
        assert!(next["read_bytes"].as_u64().unwrap() < 1 << 20 && next["passed_over"].as_array().unwrap().is_empty(), "{next}");
        tracked.expect_disk();
    }
    // A backup that nobody tracked leaves a point without a name for its cut.
    tracked.write(0, 9);
    tracked.backup(&[]).exits(0);
    tracked.write(7 << 20, 10);
    let next = tracked.backup_tracked(&[]);
    assert_eq!(next["change_source"], "compare");
    assert!(next["passed_over"][0]["reason"].as_str().unwrap().contains("first of its chain"), "{next}");
    tracked.expect_disk();
    tracked.write(8 << 20, 11);
    assert_eq!(tracked.backup_tracked(&["--compare-every", "1"])["change_source"], "compare");
    assert_eq!(tracked.backup_tracked(&[])["change_source"], "epoch");
    tracked.expect_disk();
}

#[test]
fn a_snapshot_of_a_tracked_disk_is_backed_up_by_what_was_written_to_the_disk() {
    let Some(tracked) = Tracked::new() else { return };
    let world = &tracked.world;
    let cut = format!("cp {} snapshot", tracked.disk());
    let tracking = ["--track", tracked.disk(), "--cut", &cut, "--bpffs", "bpf", "--tracker-state", "state"];
    let backup = |more: &[&str]| {
        world.backup("snapshot", &[&["--volume", "disk", "--audit-share", "0.5", "--json"], &tracking[..], more].concat())
    };
    backup(&[]).exits(0);
    tracked.write(3 << 20, 4);
    let next = backup(&[]).exits(0).json();
    assert_eq!(next["point"]["change_source"], "epoch");
    tracked.expect_disk();
    // Written after the cut: not in this point, and in the next.
    let before = fs::read(tracked.device.path()).unwrap();
    let late = format!("{cut}; dd if=/dev/urandom of={} bs=4k seek=100 count=1 conv=notrunc,fsync status=none", tracked.disk());
    let tracking = ["--track", tracked.disk(), "--cut", &late, "--bpffs", "bpf", "--tracker-state", "state"];
    world.backup("snapshot", &[&["--volume", "disk", "--audit-share", "0.5"], &tracking[..]].concat()).exits(0);
    world.expect("latest", &before);
    assert_eq!(backup(&[]).exits(0).json()["point"]["change_source"], "epoch");
    tracked.expect_disk();
    // Another disk is no snapshot of this one.
    let shorter = ["--track", tracked.disk(), "--cut", "truncate -s 8M snapshot", "--bpffs", "bpf", "--tracker-state", "state"];
    let other = world.backup("snapshot", &[&["--volume", "disk"], &shorter[..]].concat()).exits(0);
    other.says("so it is no snapshot of it");
    assert_eq!(backup(&[]).exits(0).json()["point"]["change_source"], "epoch");
    tracked.expect_disk();
    // A cut that fails makes no point, and loses nothing.
    tracked.write(5 << 20, 6);
    let tracking = ["--track", tracked.disk(), "--cut", "exit 5", "--bpffs", "bpf", "--tracker-state", "state"];
    world.backup("snapshot", &[&["--volume", "disk"], &tracking[..]].concat()).exits(1).says("takes the cut failed");
    assert_eq!(backup(&[]).exits(0).json()["point"]["change_source"], "epoch");
    tracked.expect_disk();
}

#[test]
fn what_cannot_be_tracked_is_refused_with_a_reason() {
    let Some(tracked) = Tracked::new() else { return };
    tracked.track(&["add", "/dev/null"]).exits(2).says("it is no block device");
    tracked.track(&["add", tracked.disk(), "--chunk-size", "10000"]).exits(2).says("a power of two");
    tracked.track(&["epoch", tracked.disk(), "--token", "token"]).exits(2).says("is not tracked");
    fs::write(tracked.world.path("token"), "nonsense").unwrap();
    tracked.epoch(&[]).exits(2).says("this is no token of a cut");
    tracked.track(&["remove"]).exits(2);
    tracked.track(&["remove", "--all"]).exits(0);
    assert!(Path::new(tracked.disk()).exists());
}
