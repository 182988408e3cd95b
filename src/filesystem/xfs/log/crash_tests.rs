//! Real volumes that crashed: what replay shows is what the kernel shows after its own.
//!
//! The overlay is written into a copy, which the kernel mounts without recovery; another copy it recovers itself. Both are walked.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use super::bench::Memory;
use super::ring::Ring;
use super::{LogFacts, LogPlace, Replay, replay};
use crate::base::io::ReadAt;
use crate::filesystem::overlay::{Overlaid, Overlay, Patch};
use crate::testkit;
use crate::testkit::crash_image::{CrashImage, Recipe, Shutdown, shell};
use crate::testkit::image::Mounted;

const MIB: u64 = 1 << 20;

/// Everything that a reader can ask of a tree, a line for each thing.
const WALK: &str = r"
import hashlib, os, stat, sys
root = os.fsencode(sys.argv[1])
def show(path):
    s = os.lstat(path)
    content = ''
    if stat.S_ISREG(s.st_mode): content = hashlib.sha256(open(path, 'rb').read()).hexdigest()
    if stat.S_ISLNK(s.st_mode): content = os.readlink(path)
    if stat.S_ISBLK(s.st_mode) or stat.S_ISCHR(s.st_mode): content = s.st_rdev
    xattrs = sorted((n, hashlib.sha256(os.getxattr(path, n, follow_symlinks=False)).hexdigest()) for n in os.listxattr(path, follow_symlinks=False))
    size = 0 if stat.S_ISDIR(s.st_mode) else s.st_size
    print(path[len(root):], s.st_ino, oct(s.st_mode), s.st_uid, s.st_gid, s.st_nlink, size, s.st_mtime_ns, s.st_ctime_ns, content, xattrs)
def walk(path):
    show(path)
    if stat.S_ISDIR(os.lstat(path).st_mode):
        for name in sorted(os.listdir(path)): walk(os.path.join(path, name))
walk(root)
";

/// A seeded mix of work; `sys.argv` is the seed and how often a round is made durable.
const WORK: &str = r"
import os, random, shutil, sys, subprocess
r = random.Random(int(sys.argv[1])); every = int(sys.argv[2]); rounds = int(sys.argv[3])
def write(path, size):
    with open(path, 'wb') as f: f.write(r.randbytes(size))
def sync(path):
    fd = os.open(path, os.O_RDONLY); os.fsync(fd); os.close(fd)
for k in range(rounds):
    d = 'd%d' % k; os.mkdir(d)
    for i in range(150): write('%s/f%03d-%s' % (d, i, 'n' * r.randrange(120)), int(2 ** r.uniform(0, 14)))
    names = sorted(os.listdir(d))
    for n in names[::3]: os.unlink(d + '/' + n)
    for n in names[1::9]: os.setxattr(d + '/' + n, 'user.small', r.randbytes(r.randrange(1, 200)))
    for n in names[1::30]: os.setxattr(d + '/' + n, 'user.large', r.randbytes(r.randrange(2000, 9000)))
    for n in (1, 60, 300, 700, 1000): os.symlink('t' * n, d + '/link%d' % n)
    os.link(d + '/' + names[1], d + '/hard'); os.mkfifo(d + '/pipe', 0o600)
    if k == 1: os.mknod(d + '/device', 0o060640, os.makedev(7, 300))
    with open(d + '/holes', 'wb') as f:
        for i in range(120): f.seek(i * 12288); f.write(r.randbytes(4096))
    os.truncate(d + '/holes', 700000)
    subprocess.run(['fallocate', '-l', '300000', d + '/reserved'], check=True)
    os.chmod(d + '/' + names[2], 0o711); os.chown(d + '/' + names[4], 1000, 100)
    if k: os.rename('d%d/hard' % (k - 1), d + '/moved'); os.rename(d + '/' + names[5], d + '/' + names[7])
    if k % 3 == 2: shutil.rmtree('d%d' % (k - 1))
    if k % every == every - 1: sync(d)
write('last', 5000); sync('last')
";

fn load(path: &Path) -> Arc<dyn ReadAt> {
    Memory::source(fs::read(path).unwrap())
}

/// Small durable changes, which fill the log soon.
const CHURN: &str = r#"
import os, random, sys
r = random.Random(int(sys.argv[1]))
for i in range(4000):
    name = "c%d" % r.randrange(60)
    fd = os.open(name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC); os.write(fd, r.randbytes(r.randrange(9000))); os.fsync(fd); os.close(fd)
    if i % 7 == 0: os.unlink(name)
    if i % 50 == 0: os.mkdir("e%d" % i)
    if i % 100 == 99: os.rmdir("e%d" % (i - 49))
"#;

/// The few numbers of the superblock that replay must know.
fn superblock(source: &Arc<dyn ReadAt>) -> (LogPlace, LogFacts) {
    let mut bytes = vec![0; 512];
    source.read_at(0, &mut bytes).unwrap();
    let long = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
    let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    let half = |at: usize| u16::from_be_bytes(bytes[at..at + 2].try_into().unwrap());
    let crc = half(100) & 15 == 5;
    let meta_uuid = crc && word(216) & 4 != 0;
    let (start, ag_block_log) = (long(48), bytes[124]);
    let block = (start >> ag_block_log) * u64::from(word(84)) + (start & ((1 << ag_block_log) - 1));
    let log_sector = u32::from(half(194)).max(512);
    let place = LogPlace {
        offset: block * u64::from(word(4)),
        bytes: u64::from(word(96)) * u64::from(word(4)),
        version: if crc || half(100) & 0x400 != 0 { 2 } else { 1 },
        sector_bytes: log_sector,
        stripe_unit_bytes: word(196),
    };
    let uuid = if meta_uuid { 248 } else { 32 };
    let facts = LogFacts {
        crc,
        block_bytes: word(4),
        block_log: bytes[120],
        ag_blocks: word(84),
        ag_block_log,
        ag_count: word(88),
        inode_bytes: half(104),
        inodes_per_block_log: bytes[123],
        uuid: bytes[uuid..uuid + 16].try_into().unwrap(),
        data_blocks: long(8),
        sector_bytes: half(102).into(),
    };
    (place, facts)
}

fn replay_of(path: &Path) -> Replay {
    let source = load(path);
    let (place, facts) = superblock(&source);
    replay(&source, &place, &facts).unwrap()
}

fn write_into(overlay: &Overlay, path: &Path) {
    let file = File::options().write(true).open(path).unwrap();
    for unit in overlay.units() {
        let Some(Patch::Bytes(bytes)) = overlay.patch(unit) else { panic!("unit {unit} has no bytes") };
        file.write_all_at(bytes, unit * 512).unwrap();
    }
}

fn walk(image: &Path, options: &str) -> String {
    let point = tempfile::TempDir::new().unwrap();
    let mounted = Mounted::new(image, point.path().into(), options).unwrap();
    let output = Command::new("python3").args(["-c", WALK]).arg(mounted.point()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn work(seed: u32, every: u32, rounds: u32) -> impl FnOnce(&Path) -> io::Result<()> {
    move |folder| {
        let quoted = WORK.replace('\'', r"'\''");
        shell(folder, &format!("python3 -c '{quoted}' {seed} {every} {rounds}"))
    }
}

/// What an image showed.
struct Shown {
    transactions: u64,
    changes: u64,
    units: usize,
    lines: usize,
}

/// Compares what replay shows of a crashed image with what the kernel shows, and every changed unit with what the kernel wrote. The
/// units are left out where deleted files are still to be removed: the kernel goes on to do that.
fn check(image: &CrashImage) -> Shown {
    let (shown, complaints, others) = compare_names(image);
    if deleted_lists(&image.path()) > 0 {
        return shown;
    }
    assert_eq!(complaints, "", "xfs_repair finds nothing wrong");
    assert!(others.is_empty(), "{} units differ from what the kernel wrote: {others:?}", others.len());
    shown
}

/// Compares names and what they lead to. What `xfs_repair` says and which units differ is for the caller to judge.
fn compare_names(image: &CrashImage) -> (Shown, String, Vec<u64>) {
    let replay = replay_of(&image.path());
    assert_eq!(replay.incomplete, None);
    assert!(!replay.clean, "there must be something to replay");
    assert!(replay.uncertain.is_empty(), "{:?}", replay.uncertain);
    let ours = image.copy("ours").unwrap();
    write_into(&replay.overlay, &ours);
    let complaints = complaints(&ours);
    let shown = walk(&ours, "ro,norecovery,nouuid");
    fs::remove_file(ours).unwrap();
    let kernels = image.copy("kernels").unwrap();
    let expected = walk(&kernels, "nouuid,noatime");
    let others = differing_units(&replay.overlay, &kernels);
    fs::remove_file(kernels).unwrap();
    let differing: Vec<_> = shown.lines().zip(expected.lines()).filter(|(ours, theirs)| ours != theirs).take(3).collect();
    assert_eq!(shown.lines().count(), expected.lines().count(), "{differing:?}");
    assert!(differing.is_empty(), "{differing:#?}");
    let shown = Shown {
        transactions: replay.transactions,
        changes: replay.changes,
        units: replay.overlay.count(),
        lines: shown.lines().count(),
    };
    (shown, complaints, others)
}

/// What `xfs_repair -n` finds wrong, but for what it says of the log and of counters that only recovery brings up to date.
fn complaints(image: &Path) -> String {
    let output = Command::new("xfs_repair").args(["-n", "-f"]).arg(image).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let wrong = ["bad ", "corrupt", "mismatch", "would ", "CRC", "inconsisten", "claim", "dup"];
    let expected = ["sb_fdblocks", "sb_ifree", "sb_icount", "Repair may fail", "Expect spurious", "Phase ", " - "];
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines = text.lines().filter(|line| wrong.iter().any(|word| line.contains(word)));
    lines.filter(|line| !expected.iter().any(|word| line.contains(word))).collect::<Vec<_>>().join("\n")
}

/// Units of which the kernel, after its own replay and an unmount, has other bytes. Left out are the first four sectors of each
/// group: its headers and the superblock, which mounting and unmounting change.
fn differing_units(overlay: &Overlay, kernels: &Path) -> Vec<u64> {
    let source = load(kernels);
    let (_, facts) = superblock(&source);
    let group_units = u64::from(facts.ag_blocks) * u64::from(facts.block_bytes) / 512;
    let headers = u64::from(facts.sector_bytes) * 4 / 512;
    let differs = |unit: &u64| {
        let mut bytes = vec![0; 512];
        source.read_at(unit * 512, &mut bytes).unwrap();
        overlay.patch(*unit) != Some(&Patch::Bytes(Arc::from(bytes)))
    };
    overlay.units().filter(|unit| unit % group_units >= headers).filter(differs).collect()
}

fn make(
    arguments: &[&str],
    options: &str,
    shutdown: Shutdown,
    work: impl FnOnce(&Path) -> io::Result<()>,
) -> io::Result<CrashImage> {
    let mkfs = [&["mkfs.xfs", "--unsupported", "-q", "-f"], arguments].concat();
    let recipe = Recipe { mkfs: &mkfs, size_bytes: 200 * MIB, mount_options: options, shutdown };
    CrashImage::make(&recipe, work)
}

/// Makes a volume, works on it, and crashes it; `None` when this machine cannot.
fn crash(arguments: &[&str], options: &str, shutdown: Shutdown, work: impl FnOnce(&Path) -> io::Result<()>) -> Option<CrashImage> {
    match make(arguments, options, shutdown, work) {
        Ok(image) => Some(image),
        Err(error) => {
            testkit::skip(&format!("{arguments:?}: {error}"));
            None
        }
    }
}

fn compare(arguments: &[&str], options: &str, shutdown: Shutdown, work: impl FnOnce(&Path) -> io::Result<()>) {
    let Some(image) = crash(arguments, options, shutdown, work) else { return };
    let shown = check(&image);
    println!(
        "{arguments:?} {options}: {} transactions, {} changes, {} units, {} files equal",
        shown.transactions, shown.changes, shown.units, shown.lines
    );
}

#[test]
fn what_was_synced_is_there_after_a_crash() {
    compare(&[], "", Shutdown::WithoutLog, work(1, 2, 6));
}

#[test]
fn what_was_flushed_into_the_log_is_there_after_a_crash() {
    compare(&[], "", Shutdown::WithLog, work(2, 100, 8));
}

#[test]
fn a_frozen_volume_has_a_dirty_log_and_shows_everything() {
    compare(&[], "", Shutdown::WithEverything, work(3, 2, 6));
}

#[test]
fn small_blocks_large_sectors_and_large_directories_replay() {
    compare(&["-b", "size=1024"], "", Shutdown::WithLog, work(4, 3, 6));
    compare(&["-s", "size=4096"], "", Shutdown::WithLog, work(5, 3, 6));
    compare(&["-n", "size=16384", "-i", "size=1024"], "", Shutdown::WithLog, work(6, 3, 6));
}

#[test]
fn reverse_maps_shared_blocks_and_large_counters_replay() {
    let image = crash(&["-m", "rmapbt=1,reflink=1", "-i", "nrext64=1"], "", Shutdown::WithLog, |folder| {
        work(7, 3, 5)(folder)?;
        shell(
            folder,
            "for i in 1 2 3 4; do cp --reflink=always d4/holes shared$i; printf x | dd of=shared$i bs=1 seek=${i}0000 conv=notrunc status=none; done; sync -f .; rm shared2; truncate -s 100000 shared3; sync last",
        )
    });
    let Some(image) = image else { return };
    // The kernel goes on to free what copies on write had reserved: units of its trees of free and shared blocks differ.
    let (shown, complaints, _) = compare_names(&image);
    assert_eq!(complaints, "", "xfs_repair finds nothing wrong");
    println!("{} changes, {} files equal", shown.changes, shown.lines);
}

#[test]
fn striped_logs_and_large_records_replay() {
    compare(&["-l", "su=32k"], "", Shutdown::WithLog, work(8, 2, 6));
    compare(&["-l", "su=256k"], "logbsize=256k", Shutdown::WithoutLog, work(9, 1, 6));
    compare(&[], "logbsize=256k", Shutdown::WithLog, work(10, 100, 10));
}

#[test]
fn a_log_that_went_around_replays() {
    for seed in 11..13 {
        let churn = move |folder: &Path| {
            work(seed, 2, 2)(folder)?;
            shell(folder, &format!("python3 -c '{CHURN}' {seed}"))
        };
        let arguments = ["-d", "agcount=2", "-l", "size=6m"];
        let Some(image) = crash(&arguments, "logbsize=32k", Shutdown::WithoutLog, churn) else { return };
        let source = load(&image.path());
        let (place, _) = superblock(&source);
        let cycle = Ring::new(&source, &place).unwrap().cycle(0).unwrap();
        assert!(cycle > 1, "the ring was written {cycle} times");
        println!("cycle {cycle}");
        let shown = check(&image);
        println!("{} changes, {} files equal", shown.changes, shown.lines);
    }
}

#[test]
fn version_4_replays() {
    let arguments = ["-m", "crc=0,finobt=0,reflink=0"];
    // Many kernels are built without it: that is no fault of the machine that runs the tests.
    match make(&arguments, "", Shutdown::WithLog, work(14, 3, 6)) {
        Ok(image) => drop(check(&image)),
        Err(error) => println!("skipped: this kernel does not mount version 4: {error}"),
    }
}

#[test]
fn files_that_are_deleted_and_still_open_have_no_name() {
    const HOLD: &str = "import os, time
files = []
for i in range(70):
    f = open('open%d' % i, 'wb'); f.write(b'x' * 50000); f.flush(); os.fsync(f.fileno()); files.append(f)
for i in range(70): os.unlink('open%d' % i)
open('ready', 'w').close()
fd = os.open('.', os.O_RDONLY); os.fsync(fd)
end = time.time() + 60
while time.time() < end:
    try: os.stat('ready'); open('tick', 'w').close()
    except OSError: break
    time.sleep(0.01)
";
    let image = crash(&[], "", Shutdown::WithLog, |folder| {
        work(15, 3, 3)(folder)?;
        shell(folder, &format!("python3 -c \"{HOLD}\" >/dev/null 2>&1 & while ! [ -e ready ]; do sleep 0.05; done; sleep 0.2"))
    });
    let Some(image) = image else { return };
    let (shown, _, _) = compare_names(&image);
    println!("{} changes, {} files equal", shown.changes, shown.lines);
    assert!(deleted_lists(&image.path()) > 30, "the volume has deleted files that were still open");
}

/// How many lists of deleted inodes are not empty after replay: each group has 64.
fn deleted_lists(path: &Path) -> usize {
    let overlay = replay_of(path).overlay;
    let source = load(path);
    let (_, facts) = superblock(&source);
    let volume = Overlaid::new(source, overlay);
    let lists = |group: u32| {
        let start = u64::from(group) * u64::from(facts.ag_blocks) * u64::from(facts.block_bytes);
        let mut header = vec![0; 512];
        volume.read_at(start + 2 * u64::from(facts.sector_bytes), &mut header).unwrap();
        assert_eq!(header[..4], *b"XAGI");
        header[40..296].chunks(4).filter(|list| **list != [0xff; 4]).count()
    };
    (0..facts.ag_count).map(lists).sum()
}

#[test]
fn a_volume_that_was_unmounted_has_nothing_to_replay() {
    let Some(image) = crash(&[], "", Shutdown::WithLog, work(16, 2, 2)) else { return };
    let unmounted = image.copy("unmounted").unwrap();
    walk(&unmounted, "nouuid");
    let replay = replay_of(&unmounted);
    assert!(replay.clean && replay.overlay.count() == 0 && replay.incomplete.is_none(), "{:?}", replay.incomplete);
}
