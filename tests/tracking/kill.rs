//! SIGKILL at any moment of an epoch: the next answer holds everything since the last cut that was finished, or is unknown.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use icecore::base::clock::{Clock, SystemClock};
use icecore::testkit::dice::{Dice, SEED_VARIABLE};
use icecore::testkit::loop_device::LoopDevice;
use icecore::tracking::{ChainToken, ChangeAnswer, Settings, Tracker};
use rustix::fs::ioctl_ficlone;

use crate::rig::{CHUNK_BYTES, Rig, Studio, differences, missed, text};

const ROUNDS: u32 = 60;
const SIZE: u64 = 48 << 20;
/// Where the child finds its orders: the tracker's two folders, the device, the image, and the folder of cuts.
const ORDERS: &str = "ICECORE_TRACKING_KILL";

/// The last finished cut that is on disk: its token, and beside it its content.
fn kept(cuts: &Path) -> Option<ChainToken> {
    fs::read_to_string(cuts.join("kept/token")).ok()?.parse().ok()
}

/// An epoch whose token and content come to be kept at once, by a rename of their folder.
fn epoch(settings: &Settings, device: &Path, image: &Path, cuts: &Path) -> ChangeAnswer {
    let mut tracker = Tracker::open(settings).unwrap().unwrap();
    let next = cuts.join("next");
    drop(fs::remove_dir_all(&next));
    fs::create_dir(&next).unwrap();
    let epoch = tracker.begin_epoch(device, kept(cuts)).unwrap();
    ioctl_ficlone(File::create(next.join("content")).unwrap(), File::open(image).unwrap()).unwrap();
    let cut = epoch.end().unwrap();
    fs::write(next.join("token"), cut.token.map(|token| token.to_string()).unwrap_or_default()).unwrap();
    cut.answer
}

/// What was kept gives way to what is next.
fn keep(cuts: &Path) {
    drop(fs::remove_dir_all(cuts.join("old")));
    drop(fs::rename(cuts.join("kept"), cuts.join("old")));
    fs::rename(cuts.join("next"), cuts.join("kept")).unwrap();
}

#[test]
#[ignore = "the child of the proof below, started by it"]
fn child_that_is_killed() {
    let Ok(orders) = env::var(ORDERS) else { return };
    let parts: Vec<PathBuf> = orders.split(' ').map(PathBuf::from).collect();
    let settings = Settings { bpffs: parts[0].clone(), state: parts[1].clone(), ..Settings::default() };
    println!("begun");
    loop {
        epoch(&settings, &parts[2], &parts[3], &parts[4]);
        keep(&parts[4]);
    }
}

fn start(rig: &Rig, device: &Path, image: &Path, cuts: &Path) -> Child {
    let places = [&rig.settings.bpffs, &rig.settings.state, device, image, cuts].map(text);
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "kill::child_that_is_killed", "--ignored", "--nocapture", "--test-threads=1"])
        .env(ORDERS, places.join(" "))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Waits until the child is at work, writes for a while, and kills it.
fn kill_amid(mut child: Child, device: &Path, dice: &Dice) {
    let mut out = child.stdout.take().unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"begun\n") {
        let mut byte = [0];
        out.read_exact(&mut byte).expect("the child ended before it began");
        seen.push(byte[0]);
    }
    let (clock, patience) = (SystemClock::new(), Duration::from_micros(dice.below(120_000)));
    while clock.monotonic() < patience {
        write(device, dice);
    }
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(9), "the child failed of its own: {status}");
}

fn write(device: &Path, dice: &Dice) {
    let file = OpenOptions::new().write(true).open(device).unwrap();
    let value = dice.below(256) as u8;
    file.write_all_at(&[value; 4096], dice.below(SIZE / 4096) * 4096).unwrap();
    file.sync_data().unwrap();
}

#[test]
fn sixty_kills_amid_epochs_leave_no_short_answer() {
    let seed = env::var(SEED_VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    println!("seed {seed}; replay it with {SEED_VARIABLE}={seed}");
    let Some(rig) = Rig::new() else { return };
    let studio = Studio::new(2 << 30);
    let image = studio.image("disk", SIZE);
    let device = LoopDevice::attach(&image).unwrap();
    let cuts = studio.path("cuts");
    fs::create_dir(&cuts).unwrap();
    rig.begin(device.path());
    let dice = Dice::new(seed);
    let (mut exact, mut unknown) = (0, 0);
    epoch(&rig.settings, device.path(), &image, &cuts);
    keep(&cuts);
    for round in 0..ROUNDS {
        kill_amid(start(&rig, device.path(), &image, &cuts), device.path(), &dice);
        (0..dice.below(4)).for_each(|_| write(device.path(), &dice));
        let has_kept = kept(&cuts).is_some();
        match epoch(&rig.settings, device.path(), &image, &cuts) {
            ChangeAnswer::Unknown { .. } => unknown += 1,
            ChangeAnswer::Exact(marks) => {
                assert!(has_kept);
                let changed = differences(&cuts.join("kept/content"), &cuts.join("next/content"), CHUNK_BYTES);
                let missed = missed(&changed, &marks);
                assert!(missed.is_empty(), "seed {seed}, round {round}: missed {missed:?}");
                exact += 1;
            }
        }
        keep(&cuts);
        // The chain is sound again: an epoch that nobody disturbs is exact.
        let next = epoch(&rig.settings, device.path(), &image, &cuts);
        assert!(matches!(next, ChangeAnswer::Exact(_)), "seed {seed}, round {round}: {next:?}");
        keep(&cuts);
    }
    println!("{exact} answers were exact after a kill, {unknown} unknown");
    assert!(exact >= ROUNDS / 4, "{exact} exact, {unknown} unknown: little was at stake");
}
