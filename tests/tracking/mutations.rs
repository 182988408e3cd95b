//! Each step of the protocol is needed: left out, a change is missed that is not missed with it.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;

use icecore::base::extent::ExtentSet;
use icecore::testkit::loop_device::LoopDevice;
use icecore::tracking::fault::{FORGET_FLIGHTS, Faults, TRUST_SHORT_WALK, WALK_EVERY_DISCARD};
use icecore::tracking::{ChangeAnswer, Cut};
use nix::libc;

use crate::rig::{CHUNK_BYTES, Rig, Studio, differences, exact, missed, run, text, try_run, unknown};

const SIZE: u64 = 64 << 20;
const NOTHING: Faults = Faults { in_kernel: 0, no_overlap: false, no_carry: false };

/// Thaws what it froze, whatever happens.
struct Frozen(PathBuf);

impl Frozen {
    fn new(mount: &Path) -> Self {
        run("fsfreeze", &["--freeze", text(mount)]);
        Self(mount.to_path_buf())
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _thawed = try_run("fsfreeze", &["--unfreeze", text(&self.0)]);
    }
}

fn overwrite(device: &Path, offset: u64) {
    let file = OpenOptions::new().write(true).open(device).unwrap();
    file.write_all_at(&[0x77; 4096], offset).unwrap();
    file.sync_all().unwrap();
}

/// Writes between the exchange of the maps and the cut; bytes of chunks that are missed.
fn missed_by_overlap(faults: Faults) -> Option<u64> {
    let rig = Rig::with(faults)?;
    let studio = Studio::new(512 << 20);
    let image = studio.image("disk", SIZE);
    let device = LoopDevice::attach(&image).unwrap();
    let token = rig.begin(device.path());
    let before = studio.cut(&image, "before");
    let cut = rig.epoch(device.path(), token, || {
        overwrite(device.path(), 5 << 20);
        studio.cut(&image, "after");
    });
    let changed = differences(&before, &studio.path("after"), CHUNK_BYTES);
    assert_eq!(changed.bytes(), u64::from(CHUNK_BYTES));
    Some(missed(&changed, exact(&cut)).bytes())
}

#[test]
fn without_the_overlap_a_write_between_exchange_and_cut_is_missed() {
    let Some(missed) = missed_by_overlap(NOTHING) else { return };
    assert_eq!(missed, 0);
    assert_eq!(missed_by_overlap(Faults { no_overlap: true, ..NOTHING }), Some(CHUNK_BYTES.into()));
}

fn copy(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap();
}

const STUCK: u64 = 16;

fn write_stuck(device: &Path, number: u64) {
    let file = OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(device).unwrap();
    let mut memory = vec![0x33_u8; 8192];
    let start = memory.as_ptr().align_offset(4096);
    let block = &mut memory[start..start + 4096];
    file.write_all_at(block, number * 3 * u64::from(CHUNK_BYTES)).unwrap();
}

/// Waits until the kernel counts this many writes on their way; each look gives way to others.
fn wait_until_stuck(device: &Path) {
    let name = device.file_name().unwrap().to_str().unwrap();
    loop {
        let text = fs::read_to_string(format!("/sys/block/{name}/inflight")).unwrap();
        if text.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() >= STUCK {
            return;
        }
        thread::yield_now();
    }
}

/// The epoch after one in which writes began before the exchange and landed after the cut, and what changed in it. The file system that
/// holds the image is frozen all the while.
fn after_stuck_writes(faults: Faults) -> Option<(Cut, ExtentSet)> {
    let rig = Rig::with(faults)?;
    let studio = Studio::new(512 << 20);
    let image = studio.image("disk", SIZE);
    let device = LoopDevice::attach(&image).unwrap();
    let name = device.path().file_name().unwrap().to_str().unwrap();
    // Nothing that has ended is held back here, and a flush would wait for the frozen file system.
    fs::write(format!("/sys/block/{name}/queue/write_cache"), "write through").unwrap();
    let token = rig.begin(device.path());
    let (between, after) = (rig.path("between"), rig.path("after"));
    let frozen = Frozen::new(studio.mount());
    let next = thread::scope(|scope| {
        for number in 0..STUCK {
            let path = device.path();
            scope.spawn(move || write_stuck(path, number));
        }
        wait_until_stuck(device.path());
        let cut = rig.epoch(device.path(), token, || copy(&image, &between));
        drop(frozen);
        cut.token.unwrap()
    });
    let cut = rig.epoch(device.path(), next, || copy(&image, &after));
    let changed = differences(&between, &after, CHUNK_BYTES);
    assert_eq!(changed.bytes(), STUCK * u64::from(CHUNK_BYTES), "the writes were to land between the cuts");
    Some((cut, changed))
}

#[test]
fn without_carrying_writes_on_their_way_are_missed() {
    let Some((cut, changed)) = after_stuck_writes(NOTHING) else { return };
    assert!(missed(&changed, exact(&cut)).is_empty());
    let (cut, changed) = after_stuck_writes(Faults { no_carry: true, ..NOTHING }).unwrap();
    assert_eq!(missed(&changed, exact(&cut)), changed);
}

#[test]
fn what_the_program_does_not_remember_cannot_be_carried_and_the_witness_tells() {
    let Some((cut, changed)) = after_stuck_writes(Faults { in_kernel: FORGET_FLIGHTS, ..NOTHING }) else { return };
    assert!(unknown(&cut).contains("against the kernel's"));
    let ChangeAnswer::Unknown { hint, .. } = &cut.answer else { return };
    assert_eq!(missed(&changed, hint), changed);
}

/// Many small files side by side are removed: their discards are merged into requests of more bios than are looked at.
fn discards(faults: Faults) -> Option<(u64, u64)> {
    const FILES: u32 = 3000;
    let rig = Rig::with(faults)?;
    let studio = Studio::new(2 << 30);
    let image = studio.image("disk", 400 << 20);
    let device = LoopDevice::attach(&image).unwrap();
    let mount = rig.path("mounted");
    fs::create_dir(&mount).unwrap();
    run("mkfs.xfs", &["-q", "-f", text(device.path())]);
    run("mount", &["-t", "xfs", "-o", "discard", text(device.path()), text(&mount)]);
    for number in 0..FILES {
        fs::write(mount.join(number.to_string()), [7; 64 << 10]).unwrap();
    }
    File::open(&mount).unwrap().sync_all().unwrap();
    run("sync", &["-f", text(&mount)]);
    let token = rig.begin(device.path());
    let before = studio.cut(&image, "before");
    (0..FILES).for_each(|number| fs::remove_file(mount.join(number.to_string())).unwrap());
    run("sync", &["-f", text(&mount)]);
    run("umount", &[text(&mount)]);
    let cut = rig.epoch(device.path(), token, || drop(studio.cut(&image, "after")));
    let changed = differences(&before, &studio.path("after"), CHUNK_BYTES);
    match &cut.answer {
        ChangeAnswer::Exact(marks) => Some((changed.bytes(), missed(&changed, marks).bytes())),
        ChangeAnswer::Unknown { reason, .. } => {
            assert!(reason.to_string().contains("more ranges than are looked at"), "{reason}");
            None
        }
    }
}

#[test]
fn looking_at_a_part_of_a_discard_without_saying_so_misses_changes() {
    if Rig::new().is_none() {
        return;
    }
    let (changed, missed) = discards(NOTHING).unwrap();
    assert_eq!(missed, 0);
    assert!(changed > 100 << 20, "only {changed} bytes were discarded");
    assert_eq!(discards(Faults { in_kernel: WALK_EVERY_DISCARD, ..NOTHING }), None, "what is not looked at is admitted");
    let (_, missed) = discards(Faults { in_kernel: WALK_EVERY_DISCARD | TRUST_SHORT_WALK, ..NOTHING }).unwrap();
    assert!(missed > 0, "nothing was missed, so nothing was proven");
}
