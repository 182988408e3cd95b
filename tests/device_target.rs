//! Writing a volume back: refusals before the first byte, right bytes after, honest zeros.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests may fail loudly; tests are read by their names"
)]

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::thread;

use icecore::base::extent::Extent;
use icecore::base::io::{IoError, ReadAt, WriteAt, Zeroed};
use icecore::device::{DeviceError, Target, TargetOptions};
use icecore::testkit;
use icecore::testkit::loop_device::LoopDevice;
use tempfile::TempDir;

const SIZE: u64 = 2 * 1024 * 1024 + 12_288;
const O_EXCL: i32 = 0o200;

fn options(size: u64) -> TargetOptions {
    TargetOptions { size, force: false, create: true }
}

fn number(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Random writes and zeros of any alignment, compared with a plain vector: through the target, and from outside afterwards.
fn check_random_writes(target: Target, path: &Path, seed: u64) {
    println!("seed {seed}");
    let size = WriteAt::size(&target);
    let mut model = vec![0; size as usize];
    for step in (0..150).map(|step| seed * 10_000 + step * 8) {
        let offset = number(step) % size;
        let length = (number(step + 1) % (200 * 1024) + 1).min(size - offset);
        let aligned = number(step + 2).is_multiple_of(3);
        let extent = if aligned { Extent::new(offset, length).align_outward(4096) } else { Extent::new(offset, length) };
        let extent = extent.intersect(&Extent::new(0, size));
        let range = extent.offset as usize..extent.end() as usize;
        if number(step + 3).is_multiple_of(4) {
            target.zero(extent).unwrap();
            model[range.clone()].fill(0);
        } else {
            let data: Vec<u8> = (0..extent.length).map(|at| (number(step + 4) >> (at % 8)) as u8 ^ at as u8).collect();
            target.write_at(extent.offset, &data).unwrap();
            model[range.clone()].copy_from_slice(&data);
        }
        let mut back = vec![1; range.len()];
        target.read_at(extent.offset, &mut back).unwrap();
        assert!(back == model[range], "step {step}: {extent} reads back wrong");
    }
    let mut back = vec![1; size as usize];
    target.read_at(0, &mut back).unwrap();
    assert!(back == model, "the whole reads back wrong");
    target.sync().unwrap();
    drop(target);
    assert!(fs::read(path).unwrap()[..size as usize] == model, "others read something else");
}

#[test]
fn a_new_file_is_made_sparse_and_takes_any_write() {
    let folder = TempDir::new().unwrap();
    for (seed, size) in [(1, SIZE), (2, SIZE + 517), (3, 100)] {
        let path = folder.path().join(format!("restored-{seed}"));
        let target = Target::open(&path, &options(size)).unwrap();
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!((metadata.len(), metadata.blocks()), (size, 0));
        check_random_writes(target, &path, seed);
        assert_eq!(fs::metadata(&path).unwrap().len(), size);
    }
}

#[test]
fn a_file_without_direct_io_takes_any_write() {
    let Ok(folder) = TempDir::new_in("/dev/shm") else { return testkit::skip("there is no /dev/shm") };
    let path = folder.path().join("restored");
    check_random_writes(Target::open(&path, &options(SIZE + 517)).unwrap(), &path, 4);
}

#[test]
fn devices_with_either_block_length_take_any_write() {
    let folder = TempDir::new().unwrap();
    for (seed, block) in [(5, "512"), (6, "4096")] {
        let image = folder.path().join(block);
        File::create(&image).unwrap().set_len(SIZE).unwrap();
        let Ok(device) = LoopDevice::attach_with(&image, &["--sector-size", block]) else {
            return testkit::skip("no loop devices");
        };
        let target = Target::open(device.path(), &options(SIZE)).unwrap();
        check_random_writes(target, device.path(), seed);
    }
}

#[test]
fn several_threads_may_write_neighbouring_bytes_at_once() {
    let folder = TempDir::new().unwrap();
    let image = folder.path().join("image");
    File::create(&image).unwrap().set_len(SIZE).unwrap();
    let Ok(device) = LoopDevice::attach(&image) else { return testkit::skip("no loop devices") };
    let target = Target::open(device.path(), &options(SIZE)).unwrap();
    let pieces: Vec<Extent> = (0..100).map(|at| Extent::new(at * 20_003, 20_003)).collect();
    thread::scope(|scope| {
        for worker in 0..4 {
            let (target, pieces) = (&target, &pieces);
            scope.spawn(move || {
                for (number, piece) in pieces.iter().enumerate().filter(|(number, _)| number % 4 == worker) {
                    target.write_at(piece.offset, &vec![number as u8 + 1; piece.length as usize]).unwrap();
                }
            });
        }
    });
    for (number, piece) in pieces.iter().enumerate() {
        let mut back = vec![0; piece.length as usize];
        target.read_at(piece.offset, &mut back).unwrap();
        assert!(back.iter().all(|byte| *byte == number as u8 + 1), "piece {number}");
    }
}

#[test]
fn zeroing_says_what_it_did() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("restored");
    let target = Target::open(&path, &options(SIZE)).unwrap();
    assert_eq!(target.zero(Extent::new(0, SIZE)).unwrap(), Zeroed::Deallocated);
    assert_eq!(fs::metadata(&path).unwrap().blocks(), 0, "a hole stays a hole");
    target.write_at(0, &vec![7; SIZE as usize]).unwrap();
    target.sync().unwrap();
    let full = fs::metadata(&path).unwrap().blocks();
    assert_eq!(target.zero(Extent::new(0, 1024 * 1024)).unwrap(), Zeroed::Deallocated);
    assert!(fs::metadata(&path).unwrap().blocks() < full, "room was given back");
    let mut back = [1; 2];
    target.read_at(1024 * 1024 - 1, &mut back).unwrap();
    assert_eq!(back, [0, 7], "and not a byte more");
}

#[test]
fn zeroing_a_device_deallocates_whole_pages_and_writes_the_edges() {
    let folder = TempDir::new().unwrap();
    let image = folder.path().join("image");
    fs::write(&image, vec![9; SIZE as usize]).unwrap();
    let Ok(device) = LoopDevice::attach(&image) else { return testkit::skip("no loop devices") };
    let target = Target::open(device.path(), &TargetOptions { force: true, ..options(SIZE) }).unwrap();
    assert_eq!(target.zero(Extent::new(4096, 8192)).unwrap(), Zeroed::Deallocated);
    assert_eq!(target.zero(Extent::new(20_000, 10_000)).unwrap(), Zeroed::Written);
    assert_eq!(target.zero(Extent::new(40_000, 10)).unwrap(), Zeroed::Written);
    let mut back = vec![0; 50_000];
    target.read_at(0, &mut back).unwrap();
    let zeros = [4096..12_288, 20_000..30_000, 40_000..40_010];
    for (at, byte) in back.iter().enumerate() {
        assert_eq!(*byte == 0, zeros.iter().any(|range| range.contains(&at)), "byte {at}");
    }
}

#[test]
fn a_file_that_holds_data_needs_force_and_force_keeps_the_data() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("old");
    let file = File::create(&path).unwrap();
    file.set_len(SIZE).unwrap();
    file.write_all_at(b"x", 1_000_000).unwrap();
    let refused = Target::open(&path, &options(SIZE));
    assert!(matches!(refused, Err(DeviceError::HoldsData { at, .. }) if at <= 1_000_000), "{refused:?}");
    let target = Target::open(&path, &TargetOptions { force: true, ..options(SIZE * 2) }).unwrap();
    let mut back = [0; 3];
    target.read_at(999_999, &mut back).unwrap();
    assert_eq!(back, [0, b'x', 0]);
    assert_eq!(WriteAt::size(&target), SIZE * 2);
}

#[test]
fn a_sparse_file_without_data_needs_no_force() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("old");
    File::create(&path).unwrap().set_len(SIZE * 2).unwrap();
    let target = Target::open(&path, &options(SIZE)).unwrap();
    assert_eq!(WriteAt::size(&target), SIZE);
    assert_eq!(fs::metadata(&path).unwrap().len(), SIZE);
}

#[test]
fn a_device_that_holds_data_anywhere_near_its_ends_needs_force() {
    let folder = TempDir::new().unwrap();
    let size = 32 * 1024 * 1024;
    for at in [0, 1024, 500_000, 16 * 1024 * 1024, size - 1] {
        let image = folder.path().join(at.to_string());
        let file = File::create(&image).unwrap();
        file.set_len(size).unwrap();
        file.write_all_at(b"x", at).unwrap();
        let Ok(device) = LoopDevice::attach(&image) else { return testkit::skip("no loop devices") };
        let refused = Target::open(device.path(), &options(size));
        assert!(matches!(refused, Err(DeviceError::HoldsData { at: found, .. }) if found == at), "{at}: {refused:?}");
        assert!(Target::open(device.path(), &TargetOptions { force: true, ..options(size) }).is_ok());
    }
}

#[test]
fn a_device_too_small_is_refused_and_a_larger_one_keeps_its_size() {
    let folder = TempDir::new().unwrap();
    let image = folder.path().join("image");
    File::create(&image).unwrap().set_len(SIZE).unwrap();
    let Ok(device) = LoopDevice::attach(&image) else { return testkit::skip("no loop devices") };
    let refused = Target::open(device.path(), &TargetOptions { force: true, ..options(SIZE + 1) });
    assert!(matches!(refused, Err(DeviceError::TooSmall { size: SIZE, needed, .. }) if needed == SIZE + 1), "{refused:?}");
    let target = Target::open(device.path(), &options(SIZE / 2)).unwrap();
    assert_eq!(WriteAt::size(&target), SIZE);
}

#[test]
fn what_somebody_else_holds_is_in_use() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("file");
    let held = Target::open(&path, &options(SIZE)).unwrap();
    let refused = Target::open(&path, &options(SIZE));
    assert!(matches!(refused, Err(DeviceError::InUse { .. })), "{refused:?}");
    drop(held);
    let Ok(device) = LoopDevice::attach(&path) else { return testkit::skip("no loop devices") };
    let holder = OpenOptions::new().read(true).custom_flags(O_EXCL).open(device.path()).unwrap();
    let refused = Target::open(device.path(), &options(SIZE));
    assert!(matches!(refused, Err(DeviceError::InUse { .. })), "{refused:?}");
    drop(holder);
    assert!(Target::open(device.path(), &options(SIZE)).is_ok());
}

#[test]
fn a_read_only_device_is_refused() {
    let folder = TempDir::new().unwrap();
    let image = folder.path().join("image");
    File::create(&image).unwrap().set_len(SIZE).unwrap();
    let Ok(device) = LoopDevice::attach_with(&image, &["--read-only"]) else { return testkit::skip("no loop devices") };
    let refused = Target::open(device.path(), &TargetOptions { force: true, ..options(SIZE) });
    assert!(matches!(refused, Err(DeviceError::ReadOnly { .. })), "{refused:?}");
}

#[test]
fn a_target_that_is_not_there_is_made_only_when_asked_and_never_among_devices() {
    let folder = TempDir::new().unwrap();
    let absent = folder.path().join("absent");
    assert!(Target::open(&absent, &TargetOptions { create: false, ..options(1) }).is_err());
    assert!(!absent.exists());
    let mistyped = Path::new("/dev/no-such-disk-for-a-test");
    assert!(Target::open(mistyped, &options(1)).is_err());
    assert!(!mistyped.exists());
}

#[test]
fn a_write_past_the_end_is_refused() {
    let folder = TempDir::new().unwrap();
    let target = Target::open(&folder.path().join("new"), &options(100)).unwrap();
    assert!(matches!(target.write_at(99, &[1, 2]), Err(IoError::OutOfRange { size: 100, .. })));
    assert!(matches!(target.zero(Extent::new(100, 1)), Err(IoError::OutOfRange { .. })));
}
