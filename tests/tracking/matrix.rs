//! Every kind of writer, one after the other on each file system: after each step the changed chunks are among the reported.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use icecore::testkit::loop_device::LoopDevice;
use icecore::tracking::ChainToken;
use rustix::fs::ioctl_ficlone;

use crate::rig::{CHUNK_BYTES, Rig, Studio, differences, exact, missed, run, text, try_run};

const SIZE: u64 = 340 << 20;

/// A shell script with the device as `$D` and the mount as `$M`.
struct Step(&'static str, &'static str);

/// Runs with nothing mounted.
const BARE: &[Step] = &[
    Step("whole discard", "blkdiscard $D"),
    Step("buffered", "dd if=/dev/urandom of=$D bs=10k seek=33 count=7 conv=notrunc,fsync status=none"),
    Step("direct", "dd if=/dev/urandom of=$D bs=4k seek=3333 count=70 oflag=direct conv=notrunc status=none"),
    Step("odd discard", "blkdiscard -o 512 -l 66048 $D; blkdiscard -o $((5<<20)) -l 1536 $D"),
    Step("zeroed", "blkdiscard -z -o $((7<<20)) -l 300032 $D"),
    Step(
        "last sector",
        "dd if=/dev/urandom of=$D bs=512 seek=$(($(blockdev --getsz $D) - 1)) count=1 oflag=direct conv=notrunc status=none",
    ),
    Step("mapped", "fio --name=m --filename=$D --ioengine=mmap --rw=randwrite --bs=4k --size=8m --end_fsync=1"),
    Step(
        "io_uring",
        "fio --name=u --filename=$D --ioengine=io_uring --direct=1 --rw=randwrite --bsrange=512-64k --size=16m --iodepth=8",
    ),
    Step(
        "fixed buffers",
        "fio --name=f --filename=$D --ioengine=io_uring --fixedbufs --registerfiles --direct=1 --rw=write --bs=64k --size=8m",
    ),
];

/// Runs on a mounted file system.
const MOUNTED: &[Step] = &[
    Step("buffered", "dd if=/dev/urandom of=$M/a bs=7k count=300 conv=fsync status=none"),
    Step("direct", "dd if=/dev/urandom of=$M/d bs=64k count=40 oflag=direct status=none"),
    Step("mapped", "fio --name=m --directory=$M --ioengine=mmap --rw=randwrite --bs=4k --size=4m --end_fsync=1"),
    Step("io_uring", "fio --name=u --directory=$M --ioengine=io_uring --direct=1 --rw=randwrite --bs=4k --size=8m --iodepth=8"),
    Step("append", "for i in 1 2 3 4 5 6 7 8 9; do echo $i >> $M/log; sync $M/log; done"),
    Step("punch", "fallocate -p -o 8192 -l 100000 $M/a; sync $M/a"),
    Step("zero range", "fallocate -z -o 200000 -l 100000 $M/a || :; sync $M/a"),
    Step("reserved", "fallocate -l 5000000 $M/r; dd if=/dev/urandom of=$M/r bs=4k seek=9 count=20 conv=notrunc,fsync status=none"),
    Step("truncate", "truncate -s 12345 $M/d; truncate -s 300000 $M/a; sync $M/a"),
    Step("many files", "mkdir $M/many; for i in $(seq 300); do echo $i > $M/many/$i; done; sync -f $M; rm -r $M/many"),
    Step("trim", "fstrim $M"),
    Step(
        "copy",
        "cp $M/a $M/b; cp --reflink=auto $M/u.0.0 $M/c; dd if=/dev/urandom of=$M/c bs=4k count=3 conv=notrunc,fsync status=none",
    ),
    Step("freeze and thaw", "echo x >> $M/log; fsfreeze -f $M && fsfreeze -u $M"),
    Step("sync", "sync -f $M"),
];

struct Matrix {
    rig: Rig,
    studio: Studio,
    image: PathBuf,
    device: LoopDevice,
    token: ChainToken,
    steps: u32,
    changed_chunks: u64,
    reported_chunks: u64,
}

impl Matrix {
    fn new() -> Option<Self> {
        let rig = Rig::new()?;
        let studio = Studio::new(4 << 30);
        let image = studio.image("disk", SIZE);
        let device = LoopDevice::attach(&image).unwrap();
        let token = rig.begin(device.path());
        studio.cut(&image, "before");
        Some(Self { rig, studio, image, device, token, steps: 0, changed_chunks: 0, reported_chunks: 0 })
    }

    /// Does something, cuts, and compares with the cut before.
    fn step(&mut self, name: &str, act: impl FnOnce(&Path)) {
        act(self.device.path());
        let cut = self.rig.epoch(self.device.path(), self.token, || drop(self.studio.cut(&self.image, "after")));
        let changed = differences(&self.studio.path("before"), &self.studio.path("after"), CHUNK_BYTES);
        let marks = exact(&cut);
        let missed = missed(&changed, marks);
        assert!(missed.is_empty(), "{name}: missed {missed:?}");
        fs::rename(self.studio.path("after"), self.studio.path("before")).unwrap();
        self.token = cut.token.unwrap();
        self.steps += 1;
        self.changed_chunks += changed.bytes() / u64::from(CHUNK_BYTES);
        self.reported_chunks += marks.written.union(&marks.discarded).bytes() / u64::from(CHUNK_BYTES);
    }

    fn scripts(&mut self, steps: &[Step], mount: &str) {
        for Step(name, script) in steps {
            self.step(name, |device| {
                let script = format!("set -e; D={} M={mount}; {script}", text(device));
                run("sh", &["-c", &script]);
            });
        }
    }

    fn report(&self, name: &str) {
        let Self { steps, changed_chunks, reported_chunks, .. } = self;
        println!("{name}: {steps} steps, {changed_chunks} chunks changed, {reported_chunks} reported, 0 missed");
    }
}

fn on(kind: &str, make: &[&str], check: &[&str]) {
    let Some(mut matrix) = Matrix::new() else { return };
    let point = matrix.rig.path("mounted");
    fs::create_dir(&point).unwrap();
    let mount = text(&point).to_owned();
    matrix.step("make", |device| drop(run(make[0], &[&make[1..], &[text(device)]].concat())));
    matrix.step("mount", |device| drop(run("mount", &["-t", kind, text(device), &mount])));
    matrix.scripts(MOUNTED, &mount);
    if kind != "ext4" {
        matrix.step("share blocks", |_| share_blocks(&point));
    }
    matrix.step("unmount", |_| drop(run("umount", &[&mount])));
    matrix.step("check", |device| drop(try_run(check[0], &[&check[1..], &[text(device)]].concat())));
    matrix.report(kind);
}

/// Two files share their blocks, and then one of them is written.
fn share_blocks(mount: &Path) {
    let (from, to) = (File::open(mount.join("a")).unwrap(), File::create(mount.join("shared")).unwrap());
    ioctl_ficlone(&to, &from).unwrap();
    to.sync_all().unwrap();
    let file = OpenOptions::new().write(true).open(mount.join("shared")).unwrap();
    file.write_all_at(&[9; 10_000], 50_000).unwrap();
    file.sync_all().unwrap();
}

#[test]
fn every_writer_of_a_bare_device_is_seen() {
    let Some(mut matrix) = Matrix::new() else { return };
    matrix.scripts(BARE, "/nowhere");
    matrix.report("bare");
}

#[test]
fn every_writer_on_ext4_is_seen() {
    on("ext4", &["mkfs.ext4", "-q", "-F"], &["e2fsck", "-f", "-y"]);
}

#[test]
fn every_writer_on_xfs_is_seen() {
    on("xfs", &["mkfs.xfs", "-q", "-f"], &["xfs_repair"]);
}

#[test]
fn every_writer_on_btrfs_is_seen() {
    on("btrfs", &["mkfs.btrfs", "-q", "-f"], &["btrfs", "check"]);
}
