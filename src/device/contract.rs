//! The contract of `BulkRead`, run on every engine: right bytes, each extent once, faults settled, memory back home.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use std::{panic, sync::mpsc, thread};

use tempfile::TempDir;

use super::*;
use crate::base::clock::SystemClock;
use crate::base::extent::{Extent, ExtentSet};
use crate::base::io::{BulkRead, IoError, ReadAt, Window};
use crate::testkit::loop_device::LoopDevice;
use crate::testkit::{self, refusal};

mod faults;

const SEED: u64 = 0x1CE_C0DE;
const KIB: u64 = 1024;
const WINDOW: u64 = 256 * KIB;
/// No test needs more.
const MOST_STAMPED: u64 = 4 * 1024 * KIB;
/// Not a multiple of anything.
const ODD_SIZE: u64 = 3 * 1024 * KIB + 4096 + 517;

/// Every eight bytes tell the seed and their own place, so that misplaced data betrays itself.
fn stamped(size: u64) -> &'static [u8] {
    static STAMPS: LazyLock<Vec<u8>> =
        LazyLock::new(|| (0..MOST_STAMPED / 8).flat_map(|word| mix(SEED ^ word).to_le_bytes()).collect());
    &STAMPS[..size as usize]
}

/// A number that depends on all bits of the input (splitmix64).
fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn image(folder: &Path, size: u64) -> PathBuf {
    let path = folder.join("image");
    fs::File::create(&path).unwrap().write_all(stamped(size)).unwrap();
    path
}

/// Every engine, under a name.
fn engines() -> Vec<(&'static str, ReaderOptions)> {
    let uring = ReaderOptions { engine: EngineChoice::Uring, ..ReaderOptions::default() };
    let pread = ReaderOptions { engine: EngineChoice::Pread, ..ReaderOptions::default() };
    vec![
        ("uring", uring),
        ("uring, memory not registered", ReaderOptions { register_buffers: false, ..uring }),
        ("uring, one read at a time", ReaderOptions { most_in_flight: Some(1), ..uring }),
        ("uring, gentle", ReaderOptions { pace: Pace::Gentle, ..uring }),
        ("uring, two windows of memory", ReaderOptions { pool_bytes: 0, ..uring }),
        ("uring, short windows", ReaderOptions { window_bytes: 64 * KIB, ..uring }),
        ("pread", pread),
        ("pread, one read at a time", ReaderOptions { most_in_flight: Some(1), ..pread }),
        ("pread, gentle", ReaderOptions { pace: Pace::Gentle, ..pread }),
        ("pread, long windows", ReaderOptions { window_bytes: 1024 * KIB, ..pread }),
    ]
}

fn ready(path: &Path, options: ReaderOptions) -> Reader {
    let source = open(path, &SourceOptions::default()).unwrap();
    reader(Arc::new(source), options, Arc::new(SystemClock::new())).unwrap()
}

/// Whole windows from end to end.
fn whole(reader: &Reader) -> Vec<Extent> {
    Extent::new(0, reader.size()).cut(reader.window_bytes()).collect()
}

/// Extents of random place and length, unaligned, in random order, overlapping or not.
fn random_plan(reader: &Reader, seed: u64) -> Vec<Extent> {
    (0..60)
        .map(|number| {
            let offset = mix(seed ^ (number * 2)) % reader.size();
            let length = mix(seed ^ (number * 2 + 1)) % reader.window_bytes() + 1;
            Extent::new(offset, length.min(reader.size() - offset))
        })
        .collect()
}

/// What a read delivered: windows by extent, how often each, and the unreadable bytes.
#[derive(Default)]
struct Delivered {
    extents: BTreeMap<Extent, usize>,
    unreadable: ExtentSet,
}

/// Reads `plan`, checks every byte against `truth` and that each extent came as often as planned, and returns what was unreadable.
fn read_and_check(reader: &mut Reader, plan: &[Extent], truth: &[u8], name: &str) -> ExtentSet {
    let mut delivered = Delivered::default();
    let homes = reader.pool().at_home();
    let outcome = reader.read(&mut plan.iter().copied(), &mut |window| {
        check_window(&window, truth, name);
        *delivered.extents.entry(window.extent).or_default() += 1;
        window.unreadable.iter().for_each(|extent| delivered.unreadable.insert(*extent));
        ControlFlow::Continue(())
    });
    outcome.unwrap_or_else(|e| panic!("{name}: {e} {e:?}"));
    let mut planned = BTreeMap::new();
    plan.iter().filter(|extent| !extent.is_empty()).for_each(|extent| *planned.entry(*extent).or_default() += 1);
    assert_eq!(delivered.extents, planned, "{name}: each extent once");
    assert_eq!(reader.pool().at_home(), homes, "{name}: all memory is back");
    delivered.unreadable
}

fn check_window(window: &Window, truth: &[u8], name: &str) {
    let extent = window.extent;
    assert_eq!(window.memory.bytes().len() as u64, extent.length, "{name}: {extent}");
    let mut expected = truth[extent.offset as usize..extent.end() as usize].to_vec();
    for lost in &window.unreadable {
        assert_eq!(lost.intersect(&extent), *lost, "{name}: {lost} lies outside {extent}");
        expected[(lost.offset - extent.offset) as usize..(lost.end() - extent.offset) as usize].fill(0);
    }
    assert!(window.memory.bytes() == expected, "{name}: wrong bytes in {extent}");
}

fn check_all_engines(path: &Path) {
    let truth = stamped(fs::metadata(path).map(|m| m.len()).unwrap().max(ready(path, engines()[0].1).size()));
    for (name, options) in engines() {
        let mut reader = ready(path, options);
        let plan = whole(&reader);
        assert!(read_and_check(&mut reader, &plan, truth, name).is_empty(), "{name}");
        for seed in [SEED, SEED + 1] {
            let plan = random_plan(&reader, seed);
            assert!(read_and_check(&mut reader, &plan, truth, &format!("{name}, seed {seed}")).is_empty(), "{name}");
        }
    }
}

#[test]
fn an_image_of_odd_size_is_read_byte_for_byte() {
    let folder = TempDir::new().unwrap();
    check_all_engines(&image(folder.path(), ODD_SIZE));
}

#[test]
fn an_image_smaller_than_a_block_is_read() {
    let folder = TempDir::new().unwrap();
    check_all_engines(&image(folder.path(), 5));
}

#[test]
fn an_image_on_a_filesystem_without_direct_io_is_read() {
    let Ok(folder) = TempDir::new_in("/dev/shm") else { return testkit::skip("there is no /dev/shm") };
    check_all_engines(&image(folder.path(), ODD_SIZE));
}

#[test]
fn devices_with_either_block_length_are_read() {
    let folder = TempDir::new().unwrap();
    let file = image(folder.path(), 3 * 1024 * KIB + 4096);
    for block in ["512", "4096"] {
        let Ok(device) = LoopDevice::attach_with(&file, &["--sector-size", block]) else { return testkit::skip("no loop devices") };
        let source = open(device.path(), &SourceOptions::default()).unwrap();
        assert_eq!(source.geometry().logical_block.to_string(), block);
        assert!(source.is_direct());
        check_all_engines(device.path());
    }
}

#[test]
fn the_last_bytes_of_a_device_that_is_not_whole_blocks_are_unreadable_and_nothing_else_is() {
    // The kernel itself has no way to read them, direct or cached.
    let folder = TempDir::new().unwrap();
    let size = 1024 * KIB + 1536;
    let file = image(folder.path(), size);
    let Ok(device) = LoopDevice::attach_with(&file, &["--sector-size", "4096"]) else { return testkit::skip("no loop devices") };
    for (name, options) in engines() {
        let mut reader = ready(device.path(), options);
        let plan = whole(&reader);
        let lost = read_and_check(&mut reader, &plan, stamped(size), name);
        assert_eq!(lost.as_slice(), [Extent::between(1024 * KIB, size)], "{name}");
    }
}

#[test]
fn an_extent_past_the_end_is_refused_and_leaves_nothing_under_way() {
    let folder = TempDir::new().unwrap();
    let path = image(folder.path(), ODD_SIZE);
    for (name, options) in engines() {
        let mut reader = ready(&path, options);
        let homes = reader.pool().at_home();
        let mut plan = whole(&reader);
        plan.push(Extent::new(ODD_SIZE - 1, 2));
        let outcome = reader.read(&mut plan.into_iter(), &mut |_| ControlFlow::Continue(()));
        assert!(matches!(outcome, Err(IoError::OutOfRange { size: ODD_SIZE, .. })), "{name}: {outcome:?}");
        assert_eq!(reader.pool().at_home(), homes, "{name}");
    }
}

#[test]
fn a_break_midway_waits_for_everything_and_the_reader_reads_on() {
    let folder = TempDir::new().unwrap();
    let path = image(folder.path(), ODD_SIZE);
    for (name, options) in engines() {
        let mut reader = ready(&path, options);
        let homes = reader.pool().at_home();
        let plan = whole(&reader);
        let mut seen = 0;
        let outcome = reader.read(&mut plan.iter().copied(), &mut |_| {
            seen += 1;
            if seen == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(matches!(outcome, Err(IoError::Cancelled)), "{name}: {outcome:?}");
        assert_eq!(seen, 2, "{name}: nothing is delivered after the break");
        assert_eq!(reader.pool().at_home(), homes, "{name}");
        assert!(read_and_check(&mut reader, &plan, stamped(ODD_SIZE), name).is_empty());
    }
}

#[test]
fn a_panic_in_the_receiver_leaves_no_memory_with_the_kernel() {
    let folder = TempDir::new().unwrap();
    let path = image(folder.path(), ODD_SIZE);
    for (name, options) in engines() {
        let mut reader = ready(&path, options);
        let homes = reader.pool().at_home();
        let plan = whole(&reader);
        let attempt = panic::AssertUnwindSafe(|| reader.read(&mut plan.iter().copied(), &mut |_| panic!("on purpose")));
        assert!(panic::catch_unwind(attempt).is_err());
        assert_eq!(reader.pool().at_home(), homes, "{name}");
        assert!(read_and_check(&mut reader, &plan, stamped(ODD_SIZE), name).is_empty());
    }
}

#[test]
fn windows_may_be_kept_on_other_threads_until_the_pool_is_empty() {
    let folder = TempDir::new().unwrap();
    let path = image(folder.path(), ODD_SIZE);
    for (name, options) in engines() {
        let mut reader = ready(&path, ReaderOptions { pool_bytes: 3 * options.window_bytes, ..options });
        let (keep, kept) = mpsc::channel::<Window>();
        let keeper = thread::spawn(move || {
            let truth = stamped(ODD_SIZE);
            kept.iter()
                .map(|window| {
                    thread::sleep(Duration::from_millis(1));
                    check_window(&window, truth, "kept");
                    window.extent.length
                })
                .sum::<u64>()
        });
        let mut plan = whole(&reader).into_iter();
        let outcome = reader.read(&mut plan, &mut |window| {
            keep.send(window).unwrap();
            ControlFlow::Continue(())
        });
        drop(keep);
        outcome.unwrap_or_else(|e| panic!("{name}: {e:?}"));
        assert_eq!(keeper.join().unwrap(), ODD_SIZE, "{name}");
    }
}

#[test]
fn a_reader_may_move_between_threads() {
    let folder = TempDir::new().unwrap();
    let path = image(folder.path(), ODD_SIZE);
    for (name, options) in engines() {
        let mut reader = ready(&path, options);
        for _ in 0..3 {
            reader = thread::spawn(move || {
                let plan = whole(&reader);
                read_and_check(&mut reader, &plan, stamped(ODD_SIZE), name);
                reader
            })
            .join()
            .unwrap();
        }
    }
}

#[test]
fn a_file_that_is_cut_off_while_open_is_unreadable_from_there() {
    let folder = TempDir::new().unwrap();
    for (name, options) in engines() {
        let path = image(folder.path(), ODD_SIZE);
        let mut reader = ready(&path, options);
        OpenOptions::new().write(true).open(&path).unwrap().set_len(WINDOW + 5000).unwrap();
        let plan = whole(&reader);
        let lost = read_and_check(&mut reader, &plan, stamped(ODD_SIZE), name);
        assert_eq!(lost.as_slice(), [Extent::between(WINDOW + 5000, ODD_SIZE)], "{name}");
    }
}

#[test]
fn a_device_whose_backing_file_is_cut_off_gives_real_errors_and_a_true_list() {
    let folder = TempDir::new().unwrap();
    let size = 1024 * KIB;
    let path = image(folder.path(), size);
    let Ok(device) = LoopDevice::attach_with(&path, &["--direct-io=on"]) else { return testkit::skip("no loop devices") };
    let keep = WINDOW + 20 * KIB;
    OpenOptions::new().write(true).open(&path).unwrap().set_len(keep).unwrap();
    for (name, options) in engines() {
        let mut reader = ready(device.path(), options);
        let plan = whole(&reader);
        let lost = read_and_check(&mut reader, &plan, stamped(size), name);
        assert_eq!(lost.as_slice(), [Extent::between(keep, size)], "{name}");
    }
}

#[test]
fn a_kernel_that_refuses_io_uring_gets_plain_reads_and_a_reason() {
    let folder = TempDir::new().unwrap();
    let path = image(folder.path(), ODD_SIZE);
    thread::spawn(move || {
        let Ok(()) = refusal::refuse_io_uring() else { return testkit::skip("no system-call filters") };
        let mut reader = ready(&path, ReaderOptions::default());
        assert_eq!(reader.engine().engine, Engine::Pread);
        assert!(reader.engine().why.contains("refused"), "{}", reader.engine());
        let plan = whole(&reader);
        assert!(read_and_check(&mut reader, &plan, stamped(ODD_SIZE), "refused").is_empty());
        let source = Arc::new(open(&path, &SourceOptions::default()).unwrap());
        let forced = ReaderOptions { engine: EngineChoice::Uring, ..ReaderOptions::default() };
        let outcome = super::reader(source, forced, Arc::new(SystemClock::new()));
        assert!(matches!(outcome, Err(DeviceError::EngineRefused { engine: "uring", .. })));
    })
    .join()
    .unwrap();
}

#[test]
fn random_access_reads_agree_with_the_truth_at_any_alignment() {
    let folder = TempDir::new().unwrap();
    let path = image(folder.path(), ODD_SIZE);
    let source = open(&path, &SourceOptions::default()).unwrap();
    let truth = stamped(ODD_SIZE);
    for number in 0..200 {
        let offset = mix(number) % ODD_SIZE;
        let length = (mix(number + 1000) % (600 * KIB)).min(ODD_SIZE - offset) as usize;
        let mut out = vec![0; length];
        source.read_at(offset, &mut out).unwrap();
        assert!(out == truth[offset as usize..][..length], "{offset}+{length}");
    }
    let mut out = [0; 2];
    assert!(matches!(source.read_at(ODD_SIZE - 1, &mut out), Err(IoError::OutOfRange { .. })));
    assert!(matches!(source.read_at(u64::MAX, &mut out), Err(IoError::OutOfRange { .. })));
}
