//! The tracker on this kernel: disks of other drivers under load, and devices that it must refuse.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::thread;

use icecore::tracking::{ChangeAnswer, TrackingError};

use crate::machine::{Machine, Mapped};
use crate::pool::Pool;
use crate::rig::{Rig, differences, missed, run, text};
use crate::writers::{REACH_BYTES, Writers};

const ROUNDS: u32 = 4;
/// Small, so that a round leaves many as they were.
const CHUNK_BYTES: u32 = 16 << 10;
/// At least so many writes lie between two cuts.
const WRITES: u64 = 60;

/// What the disk holds now, as far as it is written to. The page cache is written back first.
fn copy(device: &Path, to: &Path) {
    run("blockdev", &["--flushbufs", text(device)]);
    let count = (REACH_BYTES >> 20).to_string();
    let (from, to) = (format!("if={}", text(device)), format!("of={}", text(to)));
    run("dd", &[&from, &to, "bs=1M", &format!("count={count}"), "iflag=direct", "status=none"]);
}

/// Each round is an epoch that begins and ends under load; at its cut the writers are held still and the disk is copied.
fn prove(device: &Path) {
    let rig = Rig::new().expect("the tracker works here");
    let writers = Writers::on(device);
    let (mut exact, mut changed_bytes, mut reported_bytes, mut doubts) = (0, 0, 0, Vec::new());
    thread::scope(|scope| {
        let _over = writers.until_dropped();
        writers.start(scope, 1);
        let mut token = rig.begin_in(device, CHUNK_BYTES);
        let mut before: Option<PathBuf> = None;
        for round in 0..=ROUNDS {
            let now = rig.path(&format!("cut{}", round % 2));
            let busy_until = writers.writes.load(Ordering::Relaxed) + WRITES;
            while writers.writes.load(Ordering::Relaxed) < busy_until {
                thread::yield_now();
            }
            let cut = rig.epoch(device, token, || {
                let _still = writers.hold_still();
                copy(device, &now);
            });
            token = cut.token.unwrap_or_else(|| panic!("no token: {:?}", cut.answer));
            if let Some(before) = &before {
                let changed = differences(before, &now, CHUNK_BYTES);
                match &cut.answer {
                    ChangeAnswer::Unknown { reason, .. } => doubts.push(reason.to_string()),
                    ChangeAnswer::Exact(marks) => {
                        let missed = missed(&changed, marks);
                        assert!(missed.is_empty(), "round {round} missed {missed:?}");
                        exact += 1;
                        changed_bytes += changed.bytes();
                        reported_bytes += marks.written.union(&marks.discarded).bytes();
                    }
                }
            }
            before = Some(now);
        }
    });
    let (changed, reported) = (changed_bytes / u64::from(CHUNK_BYTES), reported_bytes / u64::from(CHUNK_BYTES));
    let device = device.display();
    println!("{device}: {exact} of {ROUNDS} rounds exact, {changed} chunks changed, {reported} reported, 0 missed; {doubts:?}");
    let all = u64::from(exact) * (REACH_BYTES / u64::from(CHUNK_BYTES));
    assert!(exact * 4 >= ROUNDS * 3 && changed > u64::from(ROUNDS) && reported < all, "too little was proven");
}

#[test]
fn a_virtio_disk_under_load_has_no_change_that_is_not_reported() {
    let Some(machine) = Machine::here() else { return };
    prove(&machine.small_sectors());
}

#[test]
fn a_virtio_disk_of_large_sectors_under_load_has_none() {
    let Some(machine) = Machine::here() else { return };
    prove(&machine.large_sectors());
}

#[test]
fn an_nvme_disk_under_load_has_none() {
    let Some(machine) = Machine::here() else { return };
    prove(&machine.nvme());
}

#[test]
fn devices_whose_writes_cannot_all_be_seen_are_refused_with_the_reason() {
    let Some(machine) = Machine::here() else { return };
    let rig = Rig::new().expect("the tracker works here");
    let disk = machine.small_sectors();
    let pool = Pool::new(&machine.nvme());
    let linear = Mapped::new("linear", &format!("0 2048 linear {} 0", text(&disk)));
    run("modprobe", &["-d", &fs::read_to_string("/run/kernel").unwrap(), "brd", "rd_nr=1", "rd_size=4096"]);
    let below = "what lies under it can be exchanged without a write";
    for (device, reason) in [
        (linear.path(), below),
        (pool.volume.path(), below),
        (pool.device.path(), below),
        (Path::new("/dev/ram0"), "before Linux 6.3 it is written in ways that cannot be seen"),
    ] {
        let refused = rig.tracker().add(device, Some(CHUNK_BYTES)).unwrap_err();
        assert!(matches!(refused, TrackingError::Unfit { .. }) && refused.to_string().contains(reason), "{device:?}: {refused}");
    }
    assert!(rig.tracker().add(&disk, Some(CHUNK_BYTES)).unwrap().is_new);
}
