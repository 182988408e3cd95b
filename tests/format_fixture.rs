//! Repositories of every released format are read: each folder of `tests/fixtures/` holds one, with what it must give back.
//!
//! `cargo test --features testkit --test format_fixture -- --ignored` writes the folder of a new format, and refuses to touch an old
//! one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::absolute_paths,
    reason = "a test may fail by panicking, in its helpers too"
)]

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use icecore::base::clock::{SystemClock, Timestamp};
use icecore::base::extent::{Extent, ExtentSet};
use icecore::base::progress::Silent;
use icecore::job::backup::{AuditPolicy, BackupRequest};
use icecore::job::restore::RestoreOptions;
use icecore::repository::format::frame::Codec;
use icecore::repository::format::slot::{Argon2Cost, SlotKind};
use icecore::repository::format::verdict::VerdictKind;
use icecore::repository::{CheckDepth, CollectOptions, KeyBytes, NewSlot, Repository, SAFE_WAIT, Secret, SystemEntropy};
use icecore::store::directory::Directory;
use icecore::store::{Missing, Store};
use icecore::testkit::manual_clock::ManualClock;
use icecore::testkit::trial::{self, PLAIN, back_up, back_up_changed, environment, restored};
use icecore::testkit::volume::MemoryVolume;
use icecore::tracking::ChangeList;

const NEWEST: &str = "format-v1";
const PASSPHRASE: &str = "correct horse battery staple";

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn store(path: &Path, missing: Missing) -> Arc<dyn Store> {
    Arc::new(Directory::open(path, missing, &SystemClock::new()).unwrap())
}

/// One line a point: what must come back.
fn describe(repository: &Repository) -> String {
    let mut out = String::new();
    for point in repository.points().unwrap().points {
        let options = RestoreOptions { degraded: true, target_is_zero: true, ..PLAIN };
        let (bytes, report) = restored(repository, &point, options).unwrap();
        let (tree, hash) = (&point.point.tree, blake3::hash(&bytes));
        let lost: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
        writeln!(out, "{} {} {} {hash} {lost:?}", point.id, point.point.volume, tree.size).unwrap();
    }
    out
}

#[test]
fn every_released_format_gives_back_what_was_put_into_it() {
    let mut formats = 0;
    for entry in fs::read_dir(folder("")).unwrap() {
        let path = entry.unwrap().path();
        formats += 1;
        let expected = fs::read_to_string(path.join("expected")).unwrap();
        let key = fs::read(path.join("key")).unwrap();
        let paper = fs::read(path.join("paper")).unwrap();
        for secret in [
            Secret::Key(KeyBytes::parse(&key).unwrap()),
            Secret::Key(KeyBytes::parse(&paper).unwrap()),
            Secret::Passphrase(PASSPHRASE.into()),
        ] {
            let environment =
                icecore::repository::Environment { clock: Arc::new(SystemClock::new()), entropy: Arc::new(SystemEntropy) };
            let repository = Repository::open(store(&path.join("repository"), Missing::Refuse), environment, &secret).unwrap();
            assert_eq!(describe(&repository), expected, "{}", path.display());
            let report = repository.check(CheckDepth::Deep, &Silent).unwrap();
            assert!(report.is_clean(), "{}: {report:?}", path.display());
            let verdicts = repository.verdicts().unwrap();
            let names: Vec<_> = verdicts.values().flatten().map(|(_, verdict)| verdict.kind.name()).collect();
            assert!(names.contains(&"pinned") && names.contains(&"forgotten"), "{names:?}");
        }
    }
    assert!(formats >= 1);
}

#[test]
#[ignore = "writes the fixture of a new format into the source tree"]
fn write_the_fixture_of_the_newest_format() {
    let path = folder(NEWEST);
    assert!(!path.exists(), "the fixture of a released format never changes");
    fs::create_dir_all(&path).unwrap();
    let clock = Arc::new(ManualClock::new(Timestamp(1_790_000_000_000)));
    let store = store(&path.join("repository"), Missing::Create);
    let mut repository = trial::init(&store, environment(&clock, 20_261_121)).unwrap();
    let Secret::Key(key) = trial::secret() else { panic!("trials use a key") };
    fs::write(path.join("key"), key.to_text().as_bytes()).unwrap();
    let cost = Argon2Cost { passes: 1, memory_kib: 64, lanes: 1 };
    let secret = Secret::Passphrase(PASSPHRASE.into());
    repository.add_key(&NewSlot { secret, kind: SlotKind::Passphrase(cost), label: "remembered".into() }).unwrap();
    fs::write(path.join("paper"), repository.export_key("safe").unwrap().1.as_bytes()).unwrap();

    let words = |length: usize| b"a line of a log that looks like the one before\n".iter().copied().cycle().take(length).collect();
    let volume = MemoryVolume::new(words(700_001));
    volume.change(|bytes| bytes[100_000..400_000].fill(0));
    let hour = Duration::from_secs(3600);
    let first = back_up(&repository, "words", &volume).unwrap().point;
    clock.advance(hour);
    volume.change(|bytes| bytes[50_000..50_010].fill(b'X'));
    let list = ChangeList { extents: Extent::new(50_000, 10).into() };
    let middle = back_up_changed(&repository, "words", &volume, list, AuditPolicy::default()).unwrap().point;
    repository.rotate_key().unwrap();
    clock.advance(hour);
    volume.change(|bytes| bytes.resize(1_300_000, 7));
    volume.break_at([Extent::new(12_288, 4096), Extent::new(600_064, 512)].into_iter().collect::<ExtentSet>());
    back_up(&repository, "words", &volume).unwrap();
    repository.forget_point(&middle).unwrap();
    repository.add_verdict(first.id, VerdictKind::Pinned, "the first").unwrap();
    for (name, codec) in [("zstd", Codec::Zstd(1)), ("plain", Codec::None)] {
        let request = BackupRequest { codec: Some(codec), ..trial::request(&repository, name) };
        trial::run(&repository, &request, &MemoryVolume::new(words(90_000))).unwrap();
    }
    trial::run(&repository, &trial::request(&repository, "empty"), &MemoryVolume::new(Vec::new())).unwrap();
    repository.collect(CollectOptions { dry_run: false, wait: SAFE_WAIT }).unwrap();
    fs::write(path.join("expected"), describe(&repository)).unwrap();
}
