//! Live capture: mounted file systems that are written all the time become points that are as at one moment.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use icecore::testkit;
use icecore::testkit::dice::Dice;
use icecore::testkit::image::unmount;
use serde_json::Value;

use crate::track::Tracked;
use crate::world::{Run, noise};

/// A file system on a tracked disk, mounted.
struct Mounted {
    tracked: Tracked,
    mount: PathBuf,
}

impl Mounted {
    fn new(kind: &str, size: u64) -> Option<Self> {
        let tracked = Tracked::of_size(size)?;
        let mount = tracked.world.path("mount");
        fs::create_dir(&mount).unwrap();
        succeed(Command::new(format!("mkfs.{kind}")).arg("-q").arg(if kind == "xfs" { "-f" } else { "-F" }).arg(tracked.disk()));
        succeed(Command::new("mount").arg(tracked.disk()).arg(&mount));
        Some(Self { tracked, mount })
    }

    fn arguments(&self) -> Vec<&str> {
        let tracking = ["--volume", "disk", "--bpffs", "bpf", "--tracker-state", "state", "--freeze-journal", "journal"];
        [&["--live", "--freeze", self.mount.to_str().unwrap(), "--audit-share", "0.5"], &tracking[..]].concat()
    }

    fn backup(&self, more: &[&str]) -> Run {
        self.tracked.world.backup(self.tracked.disk(), &[&self.arguments()[..], more].concat())
    }

    /// A process that writes for as long as it is held: it appends a line to one file and then the same line to another, and makes,
    /// changes and removes others meanwhile.
    fn writer(&self) -> Writer {
        let script = "cd \"$0\"; i=0; while :; do i=$((i+1)); echo $i >> first; echo $i >> second;
            case $((i % 7)) in 0) head -c $((i % 50 * 2000)) /dev/urandom > file-$((i % 30));; 3) rm -f file-$((i * 7 % 30));;
            5) dd if=/dev/urandom of=big bs=64k count=2 seek=$((i % 100)) conv=notrunc status=none;; esac; done";
        Writer(Command::new("sh").args(["-c", script]).arg(&self.mount).stderr(Stdio::null()).spawn().unwrap())
    }

    /// True if a write comes back: nothing is frozen.
    fn can_be_written(&self) -> bool {
        Command::new("timeout").args(["10", "touch"]).arg(self.mount.join("probe")).status().unwrap().success()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _not_frozen = Command::new("fsfreeze").arg("--unfreeze").arg(&self.mount).stderr(Stdio::null()).status();
        let _may_be_gone = Command::new("umount").arg("--lazy").arg(&self.mount).status();
    }
}

struct Writer(Child);

impl Drop for Writer {
    fn drop(&mut self) {
        let _may_have_ended = self.0.kill();
        let _gone = self.0.wait();
    }
}

#[track_caller]
fn succeed(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn lines(path: &Path) -> usize {
    fs::read_to_string(path).map_or(0, |text| text.lines().count())
}

/// The restored point has a clean file system, and shows one moment of the writer.
fn check(mounted: &Mounted, kind: &str) {
    let world = &mounted.tracked.world;
    let restored = world.path("restored");
    drop(fs::remove_file(&restored));
    world.run(&["restore", "latest", "--to", "restored"]).exits(0);
    if kind == "ext4" {
        succeed(Command::new("e2fsck").arg("-fn").arg(&restored));
    }
    let point = world.path("restored-mount");
    fs::create_dir_all(&point).unwrap();
    // The kernel writes the log of a frozen XFS back; a second mount of the same file system needs leave.
    let options = if kind == "xfs" { "loop,nouuid" } else { "loop" };
    succeed(Command::new("mount").args(["-o", options]).arg(&restored).arg(&point));
    let (first, second) = (lines(&point.join("first")), lines(&point.join("second")));
    unmount(&point).unwrap();
    if kind == "xfs" {
        succeed(Command::new("xfs_repair").arg("-n").arg(&restored));
    }
    assert!(first == second || first == second + 1, "{first} lines in the file that is written first, {second} in the other");
    assert!(second > 0);
}

#[test]
fn a_file_system_that_is_written_all_the_time_is_captured_as_at_one_moment() {
    for kind in ["ext4", "xfs"] {
        let Some(mounted) = Mounted::new(kind, 320 << 20) else { return };
        fs::write(mounted.mount.join("old"), noise(20 << 20, 1)).unwrap();
        let _writer = mounted.writer();
        for round in 0..3 {
            let report = mounted.backup(&["--json"]).exits(0).json();
            assert_eq!(report["point"]["consistency"], "frozen", "{report}");
            assert_eq!(report["live"]["not_converged"], Value::Null);
            assert!(report["live"]["frozen_ms"].as_f64().unwrap() > 0.0);
            let source = if round == 0 { "full" } else { "epoch" };
            assert_eq!(report["point"]["change_source"], source, "{report}");
            check(&mounted, kind);
        }
        // What was written after the cut is no contradiction of who said what changed before it.
        let compared = mounted.backup(&["--json", "--compare-every", "1"]).exits(0).json();
        assert_eq!(
            (&compared["point"]["change_source"], &compared["findings"]),
            (&"compare".into(), &Value::Array(vec![])),
            "{compared}"
        );
        assert_eq!(compared["point"]["passed_over"][0]["source"], "epoch", "{compared}");
        check(&mounted, kind);
        assert!(mounted.can_be_written());
        assert_eq!(fs::read_dir(mounted.tracked.world.path("journal")).unwrap().count(), 0);
    }
}

#[test]
fn whatever_is_killed_nothing_stays_frozen() {
    let Some(mounted) = Mounted::new("ext4", 96 << 20) else { return };
    let world = &mounted.tracked.world;
    let _writer = mounted.writer();
    mounted.backup(&[]).exits(0);
    let dice = Dice::new(77);
    for round in 0..12 {
        let arguments = [&["backup", mounted.tracked.disk()], &mounted.arguments()[..]].concat();
        let mut run = world.command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_millis(dice.below(400)));
        let _may_have_ended = run.kill();
        run.wait().unwrap();
        assert!(mounted.can_be_written(), "frozen after round {round}");
    }
    mounted.backup(&[]).exits(0);
    check(&mounted, "ext4");
}

#[test]
fn the_guard_thaws_when_time_is_over_or_nobody_is_left_and_the_next_start_thaws_the_rest() {
    let Some(mounted) = Mounted::new("ext4", 64 << 20) else { return };
    let world = &mounted.tracked.world;
    let freeze = || succeed(Command::new("fsfreeze").arg("--freeze").arg(&mounted.mount));
    let guard = |limit: &str| {
        let mut command = world.command(&["guard-frozen", mounted.mount.to_str().unwrap(), limit]);
        let mut guard = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut ready = [0];
        guard.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
        guard.stdin.as_mut().unwrap().write_all(b"a").unwrap();
        guard
    };
    // The time is over.
    freeze();
    let mut over = guard("200");
    assert!(mounted.can_be_written());
    assert_eq!(over.wait().unwrap().code(), Some(3));
    // Who froze it is gone.
    freeze();
    let mut left = guard("600000");
    drop(left.stdin.take());
    assert!(mounted.can_be_written());
    assert_eq!(left.wait().unwrap().code(), Some(3));
    // Both were killed; the number of the process that froze it is another's by now.
    fs::create_dir_all(world.path("journal")).unwrap();
    fs::write(world.path("journal/1"), format!("1 1\n{}", mounted.mount.display())).unwrap();
    freeze();
    mounted.backup(&[]).exits(0).says("was still frozen by a run that was killed, and is thawed");
    assert!(mounted.can_be_written());
}

#[test]
fn what_must_not_be_frozen_is_refused_with_a_reason() {
    let Some(mounted) = Mounted::new("ext4", 64 << 20) else { return };
    let world = &mounted.tracked.world;
    let disk = mounted.tracked.disk();
    let refused = |mount: &str, code: i32, words: &str| {
        let tracking = ["--volume", "disk", "--bpffs", "bpf", "--tracker-state", "state", "--freeze-journal", "journal"];
        world.backup(disk, &[&["--live", "--freeze", mount], &tracking[..]].concat()).exits(code).says(words);
    };
    refused("/", 2, "it is the root filesystem");
    refused("/proc", 2, "is not on");
    refused(world.text("absent").as_str(), 1, "cannot open");
    fs::create_dir(world.path("plain")).unwrap();
    refused(world.text("plain").as_str(), 2, "nothing is mounted there");
    let inside = mounted.mount.join("journal");
    let mount = mounted.mount.to_str().unwrap();
    let tracking = ["--volume", "disk", "--bpffs", "bpf", "--tracker-state", "state", "--freeze-journal", inside.to_str().unwrap()];
    let run = world.backup(disk, &[&["--live", "--freeze", mount], &tracking[..]].concat()).exits(2);
    run.says("lies on it, and is needed meanwhile");
    succeed(Command::new("fsfreeze").arg("--freeze").arg(&mounted.mount));
    mounted.backup(&[]).exits(2).says("somebody else has frozen it");
    succeed(Command::new("fsfreeze").arg("--unfreeze").arg(&mounted.mount));
    mounted.backup(&[]).exits(0);
    let tracked = ["--live", "--track", "--volume", "disk", "--bpffs", "bpf", "--tracker-state", "state"];
    world.backup(disk, &tracked).exits(2).says("it is written while it is read");
}

#[test]
fn writers_that_outrun_the_capture_leave_a_point_that_says_so() {
    let Some(mounted) = Mounted::new("ext4", 128 << 20) else { return };
    let file = format!("--filename={}", mounted.mount.join("storm").display());
    let storm = ["--name=storm", "--rw=randwrite", "--bs=64k", "--size=64m", "--direct=1", "--time_based", "--runtime=600"];
    let fio = Command::new("fio").args(storm).args([&file, "--thread", "--rate=150m"]).stdout(Stdio::null()).spawn();
    let Ok(fio) = fio.inspect_err(|error| testkit::skip(&format!("fio: {error}"))) else { return };
    let _writer = Writer(fio);
    while lines_of_bytes(&mounted.mount.join("storm")) < 64 << 20 {
        thread::sleep(Duration::from_millis(50));
    }
    let run = mounted.backup(&["--limit", "24MiB/s", "--json"]).exits(3).says("crash-consistent at best");
    let report = run.json();
    assert_eq!(report["point"]["consistency"], "live", "{report}");
    assert!(report["live"]["not_converged"].as_str().unwrap().contains("quicker than reading"), "{report}");
}

fn lines_of_bytes(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// What a live backup prints, for the comparison with its documentation.
pub fn output() -> Option<Value> {
    let mounted = Mounted::new("ext4", 64 << 20)?;
    Some(mounted.backup(&["--json"]).exits(0).json())
}
