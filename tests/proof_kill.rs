//! Promise 1 with a real process, a real directory and SIGKILL: whatever moment it strikes, the next process finds everything whole.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "tests and their helpers fail by panicking, and say what they found"
)]

use std::env;
use std::io;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use icecore::base::clock::Timestamp;
use icecore::job::backup::BackupRequest;
use icecore::repository::{CLOCK_SKEW, CollectOptions, LEASE_DURATION, Repository, SAFE_WAIT};
use icecore::store::directory::Directory;
use icecore::store::{Missing, Store, StoreError};
use icecore::testkit::album::Album;
use icecore::testkit::contents::{scribble, volume_bytes};
use icecore::testkit::dice::{Dice, SEED_VARIABLE};
use icecore::testkit::guarded::{Act, Doorkeeper, Guarded};
use icecore::testkit::manual_clock::ManualClock;
use icecore::testkit::trial::{self, environment};
use icecore::testkit::volume::MemoryVolume;

const ROUNDS: u64 = 200;
/// Time passes between rounds, so that leases of the killed lapse and the condemned may go.
const ROUND: Duration = Duration::from_secs(LEASE_DURATION.as_secs() + CLOCK_SKEW.as_secs() + SAFE_WAIT.as_secs());
const START: u64 = 1_767_225_600_000;

/// Where the child finds its orders: the directory, the seed, and the round.
const ORDERS: &str = "ICECORE_PROOF_KILL";

fn clock(round: u64) -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Timestamp(START).plus(ROUND * u32::try_from(round).unwrap())))
}

/// What the volume holds in a round: a small step from the round before, and now and then something else.
fn contents(seed: u64, round: u64) -> Vec<u8> {
    let era = round / 10;
    let mut bytes = volume_bytes(300_000, seed + era);
    (era * 10..=round).for_each(|step| drop(scribble(&mut bytes, seed * 1_000 + step)));
    bytes
}

fn directory(path: &Path, clock: &ManualClock) -> Arc<dyn Store> {
    Arc::new(Directory::open(path, Missing::Create, clock).unwrap())
}

/// Announces every call before it is made.
#[derive(Debug)]
struct Herald;

impl Doorkeeper for Herald {
    fn enter(&self, _act: Act, _name: &str) -> Result<(), StoreError> {
        // Nobody may be listening any more; the work goes on.
        let _ = io::stderr().write_all(b".");
        Ok(())
    }
}

/// What the child does: forget if there is much, collect now and then, back up.
fn work(path: &Path, seed: u64, round: u64) {
    let clock = clock(round);
    let store: Arc<dyn Store> = Arc::new(Guarded::new(directory(path, &clock), Arc::new(Herald)));
    let repository = trial::open(&store, environment(&clock, seed * 10_000 + round)).unwrap();
    let dice = Dice::new(seed * 7 + round);
    let points = repository.points().unwrap().points;
    if points.len() > 4 {
        let _ = repository.forget_point(&points[dice.index(points.len())]);
    }
    if dice.chance(300) {
        repository.collect(CollectOptions { dry_run: false, wait: SAFE_WAIT }).unwrap();
    }
    let volume = MemoryVolume::new(contents(seed, round));
    let request = BackupRequest {
        workers: 2,
        upload_threads: dice.index(3),
        checkpoint_bytes: 60_000,
        cut: Timestamp(round),
        ..trial::request(&repository, "v")
    };
    trial::run(&repository, &request, &volume).unwrap();
}

#[test]
#[ignore = "the child of the proof below, started by it"]
fn child_that_is_killed() {
    let Ok(orders) = env::var(ORDERS) else { return };
    let parts: Vec<&str> = orders.splitn(3, ' ').collect();
    work(Path::new(parts[2]), parts[0].parse().unwrap(), parts[1].parse().unwrap());
}

fn start(path: &Path, seed: u64, round: u64) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "child_that_is_killed", "--ignored", "--nocapture", "--test-threads=1"])
        .env(ORDERS, format!("{seed} {round} {}", path.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Kills the child after so many calls, or after so long. Returns how many calls it had begun.
fn run_until_killed(mut child: Child, calls: u64, patience: Option<Duration>) -> u64 {
    let mut announced = child.stderr.take().unwrap();
    let begun = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&begun);
    let (enough, told) = mpsc::channel();
    let listener = thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok(count @ 1..) = announced.read(&mut buffer) {
            if counter.fetch_add(count as u64, Ordering::SeqCst) + count as u64 >= calls {
                let _ = enough.send(());
            }
        }
    });
    // Ends early when the child does, since its end of the pipe closes then.
    let _ = told.recv_timeout(patience.unwrap_or(Duration::from_secs(20)));
    let _ = child.kill();
    let status = child.wait().unwrap();
    assert!(status.success() || status.signal() == Some(9), "the child failed of its own: {status}");
    listener.join().unwrap();
    begun.load(Ordering::SeqCst)
}

/// Everything that exists is whole; a new point holds what the round's volume held.
fn inspect(path: &Path, seed: u64, round: u64, album: &mut Album) -> Repository {
    let clock = clock(round);
    let repository = trial::open(&directory(path, &clock), environment(&clock, 1)).unwrap();
    let points = repository.points().unwrap().points;
    for gone in album.ids().into_iter().filter(|id| points.iter().all(|point| point.id != *id)).collect::<Vec<_>>() {
        album.forget(&gone);
    }
    for point in points.iter().filter(|point| album.bytes(&point.id).is_none()).cloned().collect::<Vec<_>>() {
        assert_eq!(point.point.cut, Timestamp(round), "a point of another round came up");
        album.keep(&point, contents(seed, round));
    }
    album.compare(&repository).unwrap_or_else(|why| panic!("seed {seed}, round {round}: {why}"));
    repository
}

#[test]
fn two_hundred_kills_lose_nothing() {
    let seed = env::var(SEED_VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    println!("seed {seed}; replay it with {SEED_VARIABLE}={seed}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let first = clock(0);
    trial::init(&directory(path, &first), environment(&first, seed)).unwrap();
    let (mut album, dice) = (Album::default(), Dice::new(seed));
    let (mut finished, mut killed, mut typical) = (0, 0, 40);
    for round in 1..=ROUNDS {
        let known = album.ids().len();
        let patience = dice.chance(250).then(|| Duration::from_millis(dice.below(40)));
        let calls = if round % 10 == 0 { u64::MAX } else { dice.within(8..typical * 11 / 10) };
        let begun = run_until_killed(start(path, seed, round), calls, patience.filter(|_| calls != u64::MAX));
        if calls == u64::MAX {
            typical = begun.max(20);
        }
        inspect(path, seed, round, &mut album);
        if album.ids().len() > known { finished += 1 } else { killed += 1 }
    }
    println!("{finished} runs ended with a point, {killed} were killed before");
    assert!(finished >= ROUNDS / 20 && killed >= ROUNDS / 4, "{finished} finished, {killed} killed: little was at stake");
    // After the last of them, one collection later, nothing is left over.
    let mut repository = inspect(path, seed, ROUNDS, &mut album);
    for later in 1..4 {
        let clock = clock(ROUNDS + later);
        repository = trial::open(&directory(path, &clock), environment(&clock, 100 + later)).unwrap();
        repository.collect(CollectOptions { dry_run: false, wait: SAFE_WAIT }).unwrap();
    }
    let left = repository.collect(CollectOptions { dry_run: true, wait: SAFE_WAIT }).unwrap();
    assert_eq!((left.waiting.packs, left.leased.packs), (0, 0), "{left:?}");
    album.compare(&repository).unwrap();
}
