//! Snapshots of a thin volume in use: what the pool says has changed holds whatever has, and the points are the snapshots.

use std::fs;
use std::path::Path;

use icecore::base::cancel::Cancel;
use icecore::base::clock::SystemClock;
use icecore::base::extent::ExtentSet;
use icecore::tracking::{Answer, ChangeSource, ThinChanges};
use serde_json::Value;

use crate::machine::{Machine, Mapped, Mounted};
use crate::pool::{BLOCK_BYTES, Pool, VOLUME_BYTES};
use crate::rig::{differences, run, text, try_run};
use crate::world::{World, noise};

/// A volume with a file system, its snapshots, and a repository. Fields go from the top to the bottom of the stack.
pub struct Scene {
    pub mounted: Mounted,
    pub pool: Pool,
    pub world: World,
    _machine: Machine,
}

impl Scene {
    pub fn new() -> Option<Self> {
        let machine = Machine::here()?;
        let (world, pool) = (World::new(), Pool::new(&machine.small_sectors()));
        run("mkfs.ext4", &["-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", pool.volume.text()]);
        let mounted = Mounted::new(pool.volume.path(), world.path("mounted"), "noatime");
        let scene = Self { mounted, pool, world, _machine: machine };
        (0..8).for_each(|file| scene.write(file, 500_000));
        Some(scene)
    }

    pub fn write(&self, file: u64, length: usize) {
        fs::write(self.mounted.path().join(file.to_string()), noise(length, file)).unwrap();
        run("sync", &["-f", text(self.mounted.path())]);
    }

    pub fn remove(&self, file: u64) {
        fs::remove_file(self.mounted.path().join(file.to_string())).unwrap();
    }

    pub fn backup(&self, source: &Mapped) -> Value {
        let arguments = ["--volume", "disk", "--thin", "--audit-share", "0.5", "--json"];
        self.world.backup(source.text(), &arguments).exits(0).json()["point"].clone()
    }

    /// The newest point gives back what the device holds.
    #[track_caller]
    pub fn expect(&self, device: &Mapped) {
        let target = self.world.path("restored");
        let _absent_at_first = fs::remove_file(&target);
        self.world.run(&["restore", "latest", "--to", text(&target)]).exits(0);
        assert!(try_run("cmp", &[text(&target), device.text()]).status.success(), "the newest point is not {device:?}");
    }

    /// What the pool says has changed since the cut of the newest point.
    pub fn asked(&self, device: &Mapped, base: &str) -> Answer {
        let mut thin = ThinChanges::ask(device.path(), VOLUME_BYTES, Some(base), &SystemClock::new(), &Cancel::new()).unwrap();
        thin.changes().unwrap()
    }
}

/// The name of the cut in what a backup printed.
pub fn cut_name(point: &Value) -> &str {
    assert_eq!(point["cut_names"][0]["source"], "thin", "{point}");
    point["cut_names"][0]["name"].as_str().unwrap()
}

/// Why the pool was not believed.
pub fn reason(point: &Value) -> &str {
    assert_eq!((&point["change_source"], &point["passed_over"][0]["source"]), (&"compare".into(), &"thin".into()), "{point}");
    point["passed_over"][0]["reason"].as_str().unwrap()
}

/// Bytes in which two devices differ, by blocks of the pool.
fn changed(before: &Mapped, now: &Mapped, world: &World) -> ExtentSet {
    let copies = [(before, "before"), (now, "now")].map(|(device, name)| {
        let path = world.path(name);
        copy(device.path(), &path);
        path
    });
    differences(&copies[0], &copies[1], u32::try_from(BLOCK_BYTES).unwrap())
}

fn copy(device: &Path, to: &Path) {
    run("dd", &[&format!("if={}", text(device)), &format!("of={}", text(to)), "bs=1M", "conv=sparse", "status=none"]);
}

#[test]
fn a_chain_of_thin_snapshots_is_backed_up_by_what_the_pool_says_and_comes_back_the_same() {
    let Some(scene) = Scene::new() else { return };
    let mut before = scene.pool.snapshot(1);
    let mut point = scene.backup(&before);
    assert_eq!(point["change_source"], "full");
    for round in 1..4 {
        scene.write(100 + u64::from(round), 700_000);
        scene.write(u64::from(round), 300_000);
        scene.remove(u64::from(round) + 3);
        if round != 2 {
            run("fstrim", &[text(scene.mounted.path())]);
        }
        let now = scene.pool.snapshot(round + 1);
        let Answer::Exact { ranges, .. } = scene.asked(&now, cut_name(&point)) else { panic!("round {round} is not known") };
        let changed = changed(&before, &now, &scene.world);
        assert!(changed.difference(&ranges).is_empty() && changed.bytes() > 1 << 19, "round {round} missed {changed:?}");
        let more = ranges.bytes() as f64 / changed.bytes() as f64;
        println!("round {round}: {} bytes changed, {} reported (x{more:.3}), 0 missed", changed.bytes(), ranges.bytes());
        point = scene.backup(&now);
        assert_eq!((&point["change_source"], &point["listed_bytes"]), (&"thin".into(), &ranges.bytes().into()), "{point}");
        assert!(!scene.pool.is_held());
        scene.expect(&now);
        scene.pool.delete(before, round);
        before = now;
    }
    // Nothing has changed between a snapshot and itself.
    let again = scene.backup(&before);
    assert_eq!((&again["change_source"], &again["listed_bytes"]), (&"thin".into(), &0.into()), "{again}");
}
