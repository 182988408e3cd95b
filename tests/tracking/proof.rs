//! The proof: while writers never stop, each cut differs from the one before nowhere but where the answer says.

use std::fs;
use std::path::{Path, PathBuf};

use icecore::base::extent::ExtentSet;
use icecore::testkit::loop_device::LoopDevice;
use icecore::tracking::{ChainToken, ChangeAnswer};

use crate::rig::{CHUNK_BYTES, Rig, Studio, differences, missed, run, text, try_run};
use crate::writers::{Writer, on_device, on_mount};

/// Enough to see a protocol without its overlap fail many times over.
const ROUNDS: u32 = 20;
const SOAK_ROUNDS: u32 = 300;
const RAW_SIZE: u64 = 96 << 20;
const MOUNTED_SIZE: u64 = 340 << 20;

/// A mount that goes before its device does.
struct Mounted(PathBuf);

impl Mounted {
    fn new(kind: &str, device: &Path, point: PathBuf) -> Self {
        match kind {
            "ext4" => run("mkfs.ext4", &["-q", "-F", text(device)]),
            "xfs" => run("mkfs.xfs", &["-q", "-f", text(device)]),
            _ => run("mkfs.btrfs", &["-q", "-f", text(device)]),
        };
        fs::create_dir(&point).unwrap();
        run("mount", &["-t", kind, text(device), text(&point)]);
        Self(point)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _may_be_busy = try_run("umount", &["--lazy", text(&self.0)]);
    }
}

/// What the rounds added up to.
#[derive(Debug, Default)]
struct Tally {
    exact: u32,
    unknown: Vec<String>,
    changed_chunks: u64,
    reported_chunks: u64,
}

struct Proof<'a> {
    rig: &'a Rig,
    studio: &'a Studio,
    image: PathBuf,
    device: &'a Path,
    tally: Tally,
}

impl Proof<'_> {
    /// Each round is an epoch, a cut, and a comparison byte by byte with the cut before.
    fn rounds(&mut self, rounds: u32, writers: &mut [Writer]) {
        let mut token = self.rig.begin(self.device);
        // The first cut of the chain is taken again, now with its content.
        let mut before = self.round(0, &mut token, None);
        for round in 1..=rounds {
            before = self.round(round, &mut token, Some(&before));
            assert!(writers.iter_mut().all(Writer::is_running), "a writer has stopped: nothing was at stake");
        }
    }

    fn round(&mut self, round: u32, token: &mut ChainToken, before: Option<&Path>) -> PathBuf {
        let name = format!("cut{round}");
        let cut = self.rig.epoch(self.device, *token, || drop(self.studio.cut(&self.image, &name)));
        let path = self.studio.path(&name);
        *token = cut.token.unwrap_or_else(|| panic!("no token: {:?}", cut.answer));
        let Some(before) = before else { return path };
        match &cut.answer {
            ChangeAnswer::Unknown { reason, .. } => self.tally.unknown.push(reason.to_string()),
            ChangeAnswer::Exact(marks) => {
                let changed = differences(before, &path, CHUNK_BYTES);
                let missed = missed(&changed, marks);
                assert!(missed.is_empty(), "round {round} missed {missed:?} of {} bytes", changed.bytes());
                self.tally.exact += 1;
                self.tally.changed_chunks += changed.bytes() / u64::from(CHUNK_BYTES);
                self.tally.reported_chunks += reported(marks.written.union(&marks.discarded));
            }
        }
        fs::remove_file(before).unwrap();
        path
    }
}

fn reported(set: ExtentSet) -> u64 {
    set.bytes() / u64::from(CHUNK_BYTES)
}

fn prove(kind: &str, rounds: u32) {
    let Some(rig) = Rig::new() else { return };
    let studio = Studio::new(4 << 30);
    let image = studio.image("disk", if kind == "raw" { RAW_SIZE } else { MOUNTED_SIZE });
    let device = LoopDevice::attach(&image).unwrap();
    let mounted = (kind != "raw").then(|| Mounted::new(kind, device.path(), rig.path("mounted")));
    let mut writers = mounted.as_ref().map_or_else(|| on_device(device.path()), |mounted| on_mount(&mounted.0));
    let mut proof = Proof { rig: &rig, studio: &studio, image, device: device.path(), tally: Tally::default() };
    proof.rounds(rounds, &mut writers);
    let Tally { exact, unknown, changed_chunks, reported_chunks } = &proof.tally;
    println!(
        "{kind}: {exact} of {rounds} rounds exact, {changed_chunks} chunks changed, {reported_chunks} reported, 0 missed; {unknown:?}"
    );
    // Under load some kernels leave out a run of a program now and then, without counting it as missed; the witness sees that against the
    // disk's own count, and makes such a round unknown.
    assert!(*exact >= rounds * 3 / 4 && *changed_chunks > u64::from(rounds), "too little was proven: {:?}", proof.tally);
}

#[test]
fn a_bare_device_under_load_has_no_change_that_is_not_reported() {
    prove("raw", ROUNDS);
}

#[test]
fn an_ext4_under_load_has_no_change_that_is_not_reported() {
    prove("ext4", ROUNDS);
}

#[test]
fn an_xfs_under_load_has_no_change_that_is_not_reported() {
    prove("xfs", ROUNDS);
}

#[test]
fn a_btrfs_under_load_has_no_change_that_is_not_reported() {
    prove("btrfs", ROUNDS);
}

#[test]
#[ignore = "long: twelve hundred rounds"]
fn soak_no_change_under_load_is_ever_missed() {
    ["raw", "ext4", "xfs", "btrfs"].iter().for_each(|kind| prove(kind, SOAK_ROUNDS));
}
