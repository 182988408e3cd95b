//! Snapshots that cannot be counted from: everything is compared, the reason is said, and the point is right.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::machine::Machine;
use crate::pool::Pool;
use crate::rig::run;
use crate::thin::{Scene, cut_name, reason};
use crate::world::{World, noise};

fn overwrite(device: &Path, offset: u64) {
    let file = OpenOptions::new().write(true).open(device).unwrap();
    file.write_all_at(&noise(4096, offset), offset).unwrap();
    file.sync_all().unwrap();
}

#[test]
fn a_snapshot_that_was_deleted_or_made_again_is_not_counted_from() {
    let Some(scene) = Scene::new() else { return };
    let first = scene.pool.snapshot(1);
    cut_name(&scene.backup(&first));
    scene.pool.delete(first, 1);
    scene.write(3, 500_000);
    // The number is free, and given to the next.
    let again = scene.pool.snapshot(1);
    let point = scene.backup(&again);
    assert!(reason(&point).contains("thin device 1, was deleted, and its number given to another"), "{point}");
    scene.expect(&again);
    scene.write(4, 500_000);
    let other = scene.pool.snapshot(2);
    scene.pool.delete(again, 1);
    let point = scene.backup(&other);
    assert!(reason(&point).contains("thin device 1, was deleted; keep it for the next backup"), "{point}");
    scene.expect(&other);
}

#[test]
fn a_snapshot_that_was_written_to_is_not_counted_from() {
    let Some(scene) = Scene::new() else { return };
    type Deed = fn(&Path);
    let deeds: [(&str, Deed); 2] = [
        ("a write", |device| overwrite(device, 5 << 20)),
        ("a discard", |device| drop(run("blkdiscard", &["-o", "0", "-l", "1048576", device.to_str().unwrap()]))),
    ];
    for (id, (deed, act)) in (1..).step_by(2).zip(deeds) {
        let base = scene.pool.snapshot(id);
        scene.backup(&base);
        act(scene.pool.writable(id).path());
        scene.write(u64::from(id), 400_000);
        let next = scene.pool.snapshot(id + 1);
        let point = scene.backup(&next);
        assert!(reason(&point).contains("was written to since"), "{deed}: {point}");
        scene.expect(&next);
        scene.pool.delete(base, id);
        scene.pool.delete(next, id + 1);
    }
}

#[test]
fn what_is_written_in_place_has_no_name_that_a_backup_could_count_from() {
    let Some(machine) = Machine::here() else { return };
    let (world, pool) = (World::new(), Pool::with(&machine.small_sectors(), &[]));
    overwrite(pool.volume.path(), 0);
    let thin = |device: &str, code| world.backup(device, &["--volume", "disk", "--thin", "--json"]).exits(code);
    let snapshot = pool.snapshot(1);
    let nameless = thin(snapshot.text(), 0).says("has no UUID").json();
    assert!(nameless["point"]["cut_names"].as_array().unwrap().is_empty(), "{nameless}");
    run("dmsetup", &["rename", "pool", "--setuuid", "ICECORE-TEST-later"]);
    thin(pool.volume.text(), 0).says("it is no snapshot, or was written to after it was made");
    let point = thin(snapshot.text(), 0).json()["point"].clone();
    assert!(reason(&point).contains("not made from a thin snapshot that can be counted from"), "{point}");
    cut_name(&point);
    thin(machine.large_sectors().to_str().unwrap(), 2).says("is no thin device: it does not belong to device-mapper");
    thin(pool.device.text(), 2).says("device-mapper calls it thin-pool");
}

#[test]
fn a_metadata_snapshot_that_somebody_holds_is_left_to_them() {
    let Some(scene) = Scene::new() else { return };
    scene.backup(&scene.pool.snapshot(1));
    scene.pool.device.message("reserve_metadata_snap");
    let next = scene.pool.snapshot(2);
    let arguments = ["--volume", "disk", "--thin", "--json"];
    let point = scene.world.backup(next.text(), &arguments).exits(0).json()["point"].clone();
    assert!(reason(&point).contains("dmsetup message pool 0 release_metadata_snap"), "{point}");
    assert!(scene.pool.is_held());
    scene.expect(&next);
    scene.pool.device.message("release_metadata_snap");
    scene.backup(&next);
    assert_eq!(scene.backup(&next)["change_source"], "thin");
}

#[test]
fn a_killed_backup_gives_the_metadata_snapshot_back() {
    let Some(scene) = Scene::new() else { return };
    let snapshot = scene.pool.snapshot(1);
    let was_held = (0..20).any(|_attempt| {
        let mut backup = scene.world.command(&["backup", snapshot.text(), "--volume", "disk", "--thin"]).spawn().unwrap();
        while !scene.pool.is_held() && backup.try_wait().unwrap().is_none() {}
        kill(Pid::from_raw(i32::try_from(backup.id()).unwrap()), Signal::SIGKILL).unwrap();
        let was_held = scene.pool.is_held();
        backup.wait().unwrap();
        // The keeper is told by the end of its pipe; the machine's time limit ends a wait that is in vain.
        while scene.pool.is_held() {}
        was_held
    });
    assert!(was_held, "it was never caught in the middle");
    scene.backup(&snapshot);
    assert_eq!(scene.backup(&snapshot)["change_source"], "thin");
}
