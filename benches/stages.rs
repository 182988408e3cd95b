//! What each stage of a backup and a restore costs on one core: read, zero test, id, compress, seal and pack, tree, restore.

#![allow(
    missing_docs,
    clippy::expect_used,
    reason = "a benchmark may fail by panicking, and its macros make undocumented functions"
)]

use std::fs;
use std::hint::black_box;
use std::ops::ControlFlow;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use icecore::base::clock::{Clock, SystemClock, Timestamp};
use icecore::base::extent::{Extent, ExtentSet};
use icecore::base::io::BulkRead;
use icecore::device::{self, EngineChoice, Pace, ReaderOptions, SourceOptions};
use icecore::job::backup::AuditPolicy;
use icecore::repository::format::frame::Codec;
use icecore::repository::{Repository, WriterOptions};
use icecore::store::Store;
use icecore::store::memory::Memory;
use icecore::testkit::manual_clock::ManualClock;
use icecore::testkit::trial::{self, PLAIN, back_up, back_up_changed, environment, restored};
use icecore::testkit::volume::MemoryVolume;
use icecore::tracking::ChangeList;

const WINDOW: usize = 256 << 10;

fn repository() -> Repository {
    let clock = Arc::new(ManualClock::new(Timestamp(1_700_000_000_000)));
    let store: Arc<dyn Store> = Arc::new(Memory::new(clock.clone()));
    trial::init(&store, environment(&clock, 1)).expect("a repository in memory")
}

fn random(length: usize, seed: u64) -> Vec<u8> {
    let mut out = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

/// Text-like bytes, which compress to about a third.
fn text(length: usize) -> Vec<u8> {
    let line =
        |n: usize| format!("{n:010} pod-{} req={:08x} GET /api/v1/items status=200\n", n % 40, n.wrapping_mul(2_654_435_761));
    (0..).flat_map(|n| line(n).into_bytes()).take(length).collect()
}

fn options(codec: Codec) -> WriterOptions {
    WriterOptions {
        volume: "bench".to_owned(),
        size: 1 << 40,
        chunk_bytes: 16384,
        codec,
        previous: None,
        whole: false,
        distrust: false,
        host: "bench".to_owned(),
        upload_threads: 0,
        checkpoint_bytes: u64::MAX,
    }
}

/// Reading an image file, by each engine.
fn read(criterion: &mut Criterion) {
    let size = 64usize << 20;
    let folder = tempfile::tempdir_in(".").expect("a temporary folder on the build's disk");
    let image = folder.path().join("image");
    fs::write(&image, random(size, 3)).expect("an image");
    let mut group = criterion.benchmark_group("read");
    group.throughput(Throughput::Bytes(size as u64)).sample_size(10);
    for (name, engine) in [("io_uring", EngineChoice::Uring), ("pread", EngineChoice::Pread)] {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let source = Arc::new(device::open(&image, &SourceOptions { live: false }).expect("the image"));
        let options = ReaderOptions { engine, pace: Pace::Full, ..ReaderOptions::default() };
        let Ok(mut reader) = device::reader(source, options, clock) else { continue };
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut plan = Extent::new(0, size as u64).cut(WINDOW as u64);
                reader.read(&mut plan, &mut |window| {
                    black_box(window.memory.bytes());
                    ControlFlow::Continue(())
                })
            });
        });
    }
}

/// Cutting a window: what zeros, known chunks and new chunks cost.
fn cut(criterion: &mut Criterion) {
    let repository = repository();
    let mut group = criterion.benchmark_group("cut");
    group.throughput(Throughput::Bytes(WINDOW as u64));
    let writer = repository.write_point(options(Codec::None)).expect("a writer");
    let (zeros, noise, words) = (vec![0; WINDOW], random(WINDOW, 1), text(WINDOW));
    let mut cutter = writer.cutter();
    group.bench_function("zero test", |b| b.iter(|| cutter.cut(0, black_box(&zeros), &[], &[])));
    group.bench_function("id, nothing compressed", |b| b.iter(|| cutter.cut(0, black_box(&words), &[], &[])));
    for (name, codec) in [("lz4", Codec::Lz4), ("zstd 1", Codec::Zstd(1)), ("zstd 3", Codec::Zstd(3))] {
        let writer = repository.write_point(options(codec)).expect("a writer");
        let mut cutter = writer.cutter();
        group.bench_function(format!("text, {name}"), |b| b.iter(|| cutter.cut(0, black_box(&words), &[], &[])));
        group.bench_function(format!("random, {name}"), |b| b.iter(|| cutter.cut(0, black_box(&noise), &[], &[])));
    }
}

/// Appending windows of new random chunks: seal, checksum, pack, put, and the tree above.
fn append(criterion: &mut Criterion) {
    let noise = random(WINDOW, 1);
    let mut group = criterion.benchmark_group("append");
    group.throughput(Throughput::Bytes(64 * WINDOW as u64)).sample_size(10);
    group.bench_function("seal, pack, tree", |bencher| {
        bencher.iter_batched(
            || {
                let writer = repository().write_point(options(Codec::None)).expect("a writer");
                let mut cutter = writer.cutter();
                let place = |n: u64| n * WINDOW as u64;
                let cuts: Vec<_> = (0..64).map(|n| cutter.cut(place(n), &noise, &[], &[]).expect("a window")).collect();
                (writer, cuts)
            },
            |(mut writer, cuts)| cuts.iter().try_for_each(|cut| writer.append(cut)),
            BatchSize::LargeInput,
        );
    });
}

/// One changed chunk in a large volume: the path to the root is written anew, the rest is shared.
fn tree_update(criterion: &mut Criterion) {
    let repository = repository();
    let volume = MemoryVolume::new(text(32 << 20));
    back_up(&repository, "v", &volume).expect("a first backup");
    let audit = AuditPolicy { wrong_share: 0.5, detection: 0.5 };
    let extents: ExtentSet = Extent::new(5 << 20, 4096).into();
    criterion.bench_function("tree/one listed chunk of 8192, whole job", |bencher| {
        bencher.iter(|| {
            volume.change(|bytes| bytes[5 << 20] ^= 1);
            back_up_changed(&repository, "v", &volume, ChangeList { extents: extents.clone() }, audit)
        });
    });
}

/// Restoring into memory: fetch, open, decompress, verify, copy.
fn restore(criterion: &mut Criterion) {
    let repository = repository();
    let volume = MemoryVolume::new(text(32 << 20));
    let point = back_up(&repository, "v", &volume).expect("a backup").point;
    let mut group = criterion.benchmark_group("restore");
    group.throughput(Throughput::Bytes(32 << 20)).sample_size(10);
    group.bench_function("lz4, two threads", |b| b.iter(|| restored(&repository, &point, PLAIN)));
}

criterion_group!(stages, read, cut, append, tree_update, restore);
criterion_main!(stages);
