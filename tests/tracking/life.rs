//! What happens to a disk and a tracker in their lives: no process, another disk by the same name, growth, partitions, lost programs.

use std::fs::{self, File, OpenOptions};
use std::io;

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;

use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::loaded_links;
use icecore::base::extent::{Extent, ExtentSet};
use icecore::testkit;
use icecore::testkit::loop_device::LoopDevice;
use icecore::tracking::{ChainToken, ChangeAnswer, Cut, Tracker, TrackingError};

use crate::rig::{CHUNK_BYTES, Rig, differences, exact, missed, run, text, try_run, unknown};

const SIZE: u64 = 64 << 20;
const CHUNK: u64 = CHUNK_BYTES as u64;

fn write(device: &Path, offset: u64, length: usize) {
    let file = OpenOptions::new().write(true).open(device).unwrap();
    file.write_all_at(&vec![0x5a; length], offset).unwrap();
    file.sync_all().unwrap();
}

fn disk(rig: &Rig) -> (PathBuf, LoopDevice) {
    let image = rig.path("disk");
    File::create(&image).unwrap().set_len(SIZE).unwrap();
    let device = LoopDevice::attach(&image).unwrap();
    (image, device)
}

fn chunk(number: u64) -> Extent {
    Extent::new(number * CHUNK, CHUNK)
}

#[test]
fn marks_are_made_while_no_process_lives() {
    let Some(rig) = Rig::new() else { return };
    let (_, device) = disk(&rig);
    let token = rig.begin(device.path());
    // Nothing of ours is open now; the writer is another program.
    let to = format!("of={}", text(device.path()));
    run("dd", &["if=/dev/urandom", &to, "bs=4k", "seek=100", "count=1", "oflag=direct", "conv=notrunc"]);
    let cut = rig.epoch(device.path(), token, || {});
    assert_eq!(exact(&cut).written.as_slice(), [chunk(6)]);
}

#[test]
fn another_disk_by_the_same_name_is_not_the_tracked_one() {
    let Some(rig) = Rig::new() else { return };
    let (image, device) = disk(&rig);
    let token = rig.begin(device.path());
    let path = device.path().to_path_buf();
    run("losetup", &["--detach", text(&path)]);
    run("losetup", &[text(&path), text(&image)]);
    let mut tracker = rig.tracker();
    let refused = tracker.begin_epoch(&path, Some(token)).map(drop);
    assert!(matches!(refused, Err(TrackingError::NotTracked { .. })), "{refused:?}");
    tracker.add(&path, Some(CHUNK_BYTES)).unwrap();
    assert_eq!(tracker.list().unwrap().len(), 1, "the disk that is gone was forgotten");
    let cut = rig.epoch(&path, token, || {});
    assert!(unknown(&cut).contains("no earlier cut"));
    let next = rig.epoch(&path, token, || {});
    assert!(unknown(&next).contains("the disk differs"), "{next:?}");
}

#[test]
fn a_disk_that_grew_has_a_changed_tail() {
    let Some(rig) = Rig::new() else { return };
    let (image, device) = disk(&rig);
    let token = rig.begin(device.path());
    OpenOptions::new().write(true).open(&image).unwrap().set_len(2 * SIZE).unwrap();
    run("losetup", &["--set-capacity", text(device.path())]);
    let cut = rig.epoch(device.path(), token, || {});
    assert_eq!(exact(&cut).written.as_slice(), [Extent::new(SIZE, SIZE)]);
    write(device.path(), SIZE + 3 * CHUNK, 512);
    let cut = rig.epoch(device.path(), cut.token.unwrap(), || {});
    assert_eq!(exact(&cut).written.as_slice(), [Extent::new(SIZE + 3 * CHUNK, CHUNK)]);
}

#[test]
fn a_write_past_the_end_that_the_disk_had_makes_the_delta_unknown() {
    let Some(rig) = Rig::new() else { return };
    let (image, device) = disk(&rig);
    let token = rig.begin(device.path());
    OpenOptions::new().write(true).open(&image).unwrap().set_len(2 * SIZE).unwrap();
    run("losetup", &["--set-capacity", text(device.path())]);
    write(device.path(), SIZE + CHUNK, 512);
    let cut = rig.epoch(device.path(), token, || {});
    assert!(unknown(&cut).contains("past the end"));
    let next = rig.epoch(device.path(), cut.token.unwrap(), || {});
    assert!(exact(&next).written.is_empty(), "the chain goes on");
}

#[test]
fn a_disk_that_shrank_is_unknown() {
    let Some(rig) = Rig::new() else { return };
    let (image, device) = disk(&rig);
    let token = rig.begin(device.path());
    OpenOptions::new().write(true).open(&image).unwrap().set_len(SIZE / 2).unwrap();
    run("losetup", &["--set-capacity", text(device.path())]);
    assert!(unknown(&rig.epoch(device.path(), token, || {})).contains("shrank"));
}

#[test]
fn writes_to_a_partition_are_found_where_they_lie_on_the_disk() {
    let Some(rig) = Rig::new() else { return };
    let (_, device) = disk(&rig);
    let path = text(device.path());
    if !try_run("addpart", &[path, "1", "2048", "65536"]).status.success() {
        return testkit::skip("no partition can be made");
    }
    let partition = PathBuf::from(format!("{path}p1"));
    let refused = rig.tracker().add(&partition, Some(CHUNK_BYTES));
    let token = rig.begin(device.path());
    write(&partition, 10 * CHUNK, 2 * CHUNK as usize);
    run("blkdiscard", &["--offset", "4194304", "--length", "65536", text(&partition)]);
    let cut = rig.epoch(device.path(), token, || {});
    run("delpart", &[path, "1"]);
    assert!(matches!(&refused, Err(TrackingError::Unfit { reason, .. }) if reason.contains(path)), "{refused:?}");
    let marks = exact(&cut);
    assert_eq!(marks.written.as_slice(), [Extent::new((1 << 20) + 10 * CHUNK, 2 * CHUNK)]);
    assert_eq!(marks.discarded.as_slice(), [Extent::new((1 << 20) + (4 << 20), CHUNK)]);
}

/// A link goes a moment after its last pin; each look gives way to others.
fn remove_link(rig: &Rig, hook: &str) {
    let pin = rig.pin(&format!("link_{hook}"));
    let link = FdLink::from(PinnedLink::from_pin(&pin).unwrap()).info().unwrap().id();
    fs::remove_file(pin).unwrap();
    while loaded_links().any(|other| other.is_ok_and(|other| other.id() == link)) {
        thread::yield_now();
    }
}

const WRITES: u64 = 200;

/// Takes one program's link away, writes, and gives back the answer.
fn without_link(hook: &str) -> Option<Cut> {
    let rig = Rig::new()?;
    let (_, device) = disk(&rig);
    let token = rig.begin(device.path());
    let mut tracker = rig.tracker();
    let epoch = tracker.begin_epoch(device.path(), Some(token)).unwrap();
    remove_link(&rig, hook);
    (0..WRITES).for_each(|number| write(device.path(), number * 4 * CHUNK, 512));
    Some(epoch.end().unwrap())
}

#[test]
fn without_the_first_program_the_second_marks_late_and_says_so() {
    let Some(cut) = without_link("request_issued") else { return };
    assert!(unknown(&cut).contains("detached"));
    let ChangeAnswer::Unknown { hint, doubts_previous, .. } = &cut.answer else { return };
    let expected: ExtentSet = (0..WRITES).map(|number| chunk(number * 4)).collect();
    assert_eq!(hint.written, expected, "every write was marked when it was over");
    assert!(doubts_previous);
    assert_eq!(cut.token, None, "nothing can be proven from a cut with a program missing");
}

#[test]
fn without_the_second_program_the_answer_is_unknown() {
    let Some(cut) = without_link("request_completed") else { return };
    assert!(unknown(&cut).contains("detached"));
}

#[test]
fn a_lost_program_is_attached_again_and_the_chain_begins_anew() {
    let Some(rig) = Rig::new() else { return };
    let (_, device) = disk(&rig);
    let token = rig.begin(device.path());
    fs::remove_file(rig.pin("link_request_issued")).unwrap();
    let cut = rig.epoch(device.path(), token, || {});
    assert!(unknown(&cut).contains("detached or exchanged"));
    write(device.path(), 0, 512);
    let next = rig.epoch(device.path(), cut.token.unwrap(), || {});
    assert_eq!(exact(&next).written.as_slice(), [chunk(0)]);
}

#[test]
fn an_epoch_that_is_given_up_goes_on_in_the_next() {
    let Some(rig) = Rig::new() else { return };
    let (_, device) = disk(&rig);
    let token = rig.begin(device.path());
    for number in 0..3 {
        write(device.path(), number * 10 * CHUNK, 512);
        drop(rig.tracker().begin_epoch(device.path(), Some(token)).unwrap());
    }
    let cut = rig.epoch(device.path(), token, || write(device.path(), 30 * CHUNK, 512));
    assert_eq!(exact(&cut).written, [0, 10, 20, 30].map(chunk).into_iter().collect());
}

#[test]
fn two_epochs_of_one_disk_cannot_be_open_at_once() {
    let Some(rig) = Rig::new() else { return };
    let (_, device) = disk(&rig);
    let token = rig.begin(device.path());
    let (mut first, mut second) = (rig.tracker(), rig.tracker());
    let epoch = first.begin_epoch(device.path(), Some(token)).unwrap();
    let refused = second.begin_epoch(device.path(), Some(token)).map(drop);
    assert!(matches!(refused, Err(TrackingError::Busy { .. })), "{refused:?}");
    assert!(matches!(second.remove(device.path()), Err(TrackingError::Busy { .. })));
    exact(&epoch.end().unwrap());
}

#[test]
fn a_disk_is_known_to_be_untouched_only_if_the_tracker_was_there_first() {
    let Some(rig) = Rig::new() else { return };
    let (_, old) = disk(&rig);
    let mut tracker = rig.tracker();
    assert!(!tracker.add(old.path(), Some(CHUNK_BYTES)).unwrap().was_never_written, "it was there before the tracker");
    let (image, written) = (rig.path("written"), rig.path("untouched"));
    for path in [&image, &written] {
        File::create(path).unwrap().set_len(SIZE).unwrap();
    }
    let touched = LoopDevice::attach(&image).unwrap();
    write(touched.path(), 0, 512);
    assert!(!tracker.add(touched.path(), Some(CHUNK_BYTES)).unwrap().was_never_written);
    let untouched = LoopDevice::attach(&written).unwrap();
    let added = tracker.add(untouched.path(), Some(CHUNK_BYTES)).unwrap();
    assert!(added.was_never_written && added.is_new);
    assert!(!tracker.add(untouched.path(), Some(CHUNK_BYTES)).unwrap().is_new);
    assert_eq!(tracker.add(untouched.path(), None).unwrap().chunk_bytes, CHUNK_BYTES, "who does not choose takes what is there");
    assert!(matches!(tracker.add(untouched.path(), Some(1 << 20)), Err(TrackingError::OtherChunks { .. })));
    assert!(matches!(tracker.add(untouched.path(), Some(5000)), Err(TrackingError::ChunkBytes { .. })));
}

#[test]
fn chunks_of_any_allowed_size_are_marked_right() {
    let Some(rig) = Rig::new() else { return };
    let (_, device) = disk(&rig);
    for chunk_bytes in [16 << 10, 1 << 20, 16 << 20] {
        let token = rig.begin_in(device.path(), chunk_bytes);
        let extent = Extent::between((1 << 20) + 5 * 4096, (37 << 20) + 4096);
        let file = OpenOptions::new().write(true).open(device.path()).unwrap();

        file.write_all_at(&vec![1; extent.length as usize], extent.offset).unwrap();
        file.sync_all().unwrap();
        let cut = rig.epoch(device.path(), token, || {});
        let expected: ExtentSet = extent.align_outward(chunk_bytes.into()).intersect(&Extent::new(0, SIZE)).into();
        assert_eq!(exact(&cut).written, expected, "{chunk_bytes}");
        rig.tracker().remove(device.path()).unwrap();
    }
}

fn copy(device: &Path, to: &Path) {
    io::copy(&mut File::open(device).unwrap(), &mut File::create(to).unwrap()).unwrap();
}

/// A zram disk of its own.
struct Zram(PathBuf);

impl Zram {
    fn new() -> Option<Self> {
        let number = fs::read_to_string("/sys/class/zram-control/hot_add").ok()?;
        let device = PathBuf::from(format!("/dev/zram{}", number.trim()));
        let zram = Self(device);
        fs::write(format!("/sys/block/zram{}/disksize", number.trim()), SIZE.to_string()).ok()?;
        Some(zram)
    }
}

impl Drop for Zram {
    fn drop(&mut self) {
        let number = text(&self.0).trim_start_matches("/dev/zram").to_owned();
        let _may_be_busy = fs::write("/sys/class/zram-control/hot_remove", number);
    }
}

#[test]
fn a_disk_without_requests_is_tracked_by_its_bios() {
    let Some(rig) = Rig::new() else { return };
    let Some(zram) = Zram::new() else { return testkit::skip("no zram disk can be made") };
    let token = rig.begin(&zram.0);
    let name = format!("--filename={}", text(&zram.0));
    let load = ["--name=load", "--rw=randwrite", "--bsrange=4k-256k", "--size=64m", "--io_size=32m", "--direct=1", "--randseed=7"];
    let (before, after) = (rig.path("before"), rig.path("after"));
    copy(&zram.0, &before);
    run("fio", &[&[name.as_str(), "--ioengine=io_uring", "--iodepth=8"], &load[..]].concat());
    run("blkdiscard", &["--offset", "33554432", "--length", "1048576", text(&zram.0)]);
    let cut = rig.epoch(&zram.0, token, || copy(&zram.0, &after));
    let changed = differences(&before, &after, CHUNK_BYTES);
    assert!(missed(&changed, exact(&cut)).is_empty() && changed.bytes() > 8 << 20);
    assert_eq!(exact(&cut).discarded.as_slice(), [Extent::new(32 << 20, 1 << 20)]);
    let quiet = rig.epoch(&zram.0, cut.token.unwrap(), || {});
    assert!(exact(&quiet).written.is_empty(), "nothing was left on its way: {quiet:?}");
}

#[test]
fn a_zram_without_its_first_program_is_unknown() {
    let Some(rig) = Rig::new() else { return };
    let Some(zram) = Zram::new() else { return testkit::skip("no zram disk can be made") };
    let token = rig.begin(&zram.0);
    for hook in ["bio_queued", "bio_remapped", "bio_completed"] {
        let cut = rig.epoch(&zram.0, token, || fs::remove_file(rig.pin(&format!("link_{hook}"))).unwrap());
        assert!(matches!(cut.answer, ChangeAnswer::Unknown { .. }), "{hook}");
    }
}

type Change = fn(ChainToken) -> ChainToken;

#[test]
fn a_token_given_too_late_or_of_another_disk_is_refused() {
    let Some(rig) = Rig::new() else { return };
    let (_, device) = disk(&rig);
    let mut token = rig.begin(device.path());
    let changes: [(Change, &str); 5] = [
        (|token| ChainToken { diskseq: 1, ..token }, "the disk differs"),
        (|token| ChainToken { boot: [0; 16], ..token }, "the boot of the machine differs"),
        (|token| ChainToken { tracker: [0; 16], ..token }, "the tracker differs"),
        (|token| ChainToken { generation: token.generation - 1, ..token }, "the epoch differs"),
        (|token| ChainToken { digest: [0; 32], ..token }, "the answer that was given differs"),
    ];
    for (change, words) in changes {
        let cut = rig.epoch(device.path(), change(token), || {});
        assert!(unknown(&cut).contains(words), "{cut:?}");
        token = cut.token.unwrap();
    }
}

#[test]
fn a_tracker_that_is_detached_leaves_nothing() {
    let Some(rig) = Rig::new() else { return };
    let (_, device) = disk(&rig);
    rig.begin(device.path());
    Tracker::detach(&rig.settings).unwrap();
    assert_eq!(fs::read_dir(rig.settings.bpffs.join("icecore")).unwrap().count(), 0);
    assert!(Tracker::open(&rig.settings).unwrap().is_none());
}
