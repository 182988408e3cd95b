//! A backup leaves the page cache as it was.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests may fail loudly; tests are read by their names"
)]

use std::fs::{self, File};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use icecore::base::clock::SystemClock;
use icecore::base::extent::Extent;
use icecore::base::io::{BulkRead, ReadAt};
use icecore::device::{self, EngineChoice, ReaderOptions, SourceOptions};
use icecore::testkit;
use icecore::testkit::cache::cached_pages;
use icecore::testkit::loop_device::LoopDevice;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use tempfile::TempDir;

const SIZE: u64 = 8 * 1024 * 1024 + 517 * 512;

fn evict(file: &File) {
    file.sync_all().unwrap();
    posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
}

fn read_all(path: &Path, engine: EngineChoice) {
    let source = Arc::new(device::open(path, &SourceOptions::default()).unwrap());
    let size = source.size();
    let mut out = vec![0; 100_000];
    source.read_at(12_345, &mut out).unwrap();
    let options = ReaderOptions { engine, ..ReaderOptions::default() };
    let mut reader = device::reader(source, options, Arc::new(SystemClock::new())).unwrap();
    let mut plan = Extent::new(0, size).cut(reader.window_bytes());
    reader.read(&mut plan, &mut |_| ControlFlow::Continue(())).unwrap();
}

#[test]
fn reading_a_file_or_device_brings_nothing_into_the_page_cache() {
    let folder = TempDir::new().unwrap();
    let image = folder.path().join("image");
    fs::write(&image, vec![5; SIZE as usize]).unwrap();
    let file = File::open(&image).unwrap();
    if cached_pages(&file).is_err() {
        return testkit::skip("the kernel does not tell what it caches");
    }
    for engine in [EngineChoice::Uring, EngineChoice::Pread] {
        evict(&file);
        let before = cached_pages(&file).unwrap();
        read_all(&image, engine);
        assert!(cached_pages(&file).unwrap() <= before, "{engine:?}: {before} pages before");
    }
    let Ok(device) = LoopDevice::attach(&image) else { return testkit::skip("no loop devices") };
    let block_device = File::open(device.path()).unwrap();
    for engine in [EngineChoice::Uring, EngineChoice::Pread] {
        evict(&block_device);
        let before = cached_pages(&block_device).unwrap();
        read_all(device.path(), engine);
        assert!(cached_pages(&block_device).unwrap() <= before, "{engine:?}: {before} pages before");
    }
}
