//! A tracker of its own in a private BPF file system, and disks whose content can be cut at one moment.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use icecore::base::extent::{Extent, ExtentSet};
use icecore::testkit;
use icecore::testkit::loop_device::LoopDevice;
use icecore::testkit::seeded_entropy::SeededEntropy;
use icecore::tracking::fault::Faults;
use icecore::tracking::{ChainToken, ChangeAnswer, Cut, Marks, Settings, Tracker, obstacles};
use rustix::fs::ioctl_ficlone;
use tempfile::TempDir;

pub const CHUNK_BYTES: u32 = 64 << 10;

/// Runs a program, and gives what it printed; panics with its words when it fails.
#[track_caller]
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = try_run(program, arguments);
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn try_run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"))
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A folder with a BPF file system and the tracker's state; both are gone when it is dropped.
#[derive(Debug)]
pub struct Rig {
    folder: TempDir,
    pub settings: Settings,
    _turn: File,
}

impl Rig {
    /// `None`, with the reason said, where tracking cannot work.
    pub fn new() -> Option<Self> {
        Self::with(Faults::default())
    }

    pub fn with(faults: Faults) -> Option<Self> {
        let folder = tempfile::tempdir_in("/var/tmp").unwrap();
        let settings = Settings { bpffs: folder.path().join("bpf"), state: folder.path().join("state"), faults };
        let obstacles = obstacles(&settings);
        if !obstacles.is_empty() {
            testkit::skip(&obstacles.join("; "));
            return None;
        }
        Some(Self { folder, settings, _turn: turn() })
    }

    pub fn tracker(&self) -> Tracker {
        Tracker::attach(&self.settings, &SeededEntropy::new(1)).unwrap()
    }

    /// Adds a disk and takes its first cut.
    pub fn begin(&self, device: &Path) -> ChainToken {
        self.begin_in(device, CHUNK_BYTES)
    }

    pub fn begin_in(&self, device: &Path, chunk_bytes: u32) -> ChainToken {
        let mut tracker = self.tracker();
        tracker.add(device, Some(chunk_bytes)).unwrap();
        tracker.begin_epoch(device, None).unwrap().end().unwrap().token.unwrap()
    }

    /// An epoch with a cut in the middle.
    pub fn epoch(&self, device: &Path, token: ChainToken, cut: impl FnOnce()) -> Cut {
        let mut tracker = self.tracker();
        let epoch = tracker.begin_epoch(device, Some(token)).unwrap();
        cut();
        epoch.end().unwrap()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where a pin lies.
    pub fn pin(&self, name: &str) -> PathBuf {
        self.settings.bpffs.join("icecore/current").join(name)
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // With its file system go the pins, and with them the programs.
        let _may_not_be_mounted = try_run("umount", &["--lazy", text(&self.settings.bpffs)]);
    }
}

/// One tracker at a time, over all processes, so that each test has the kernel's counts to itself.
fn turn() -> File {
    let file = File::create("/var/tmp/icecore-tracking-tests.lock").unwrap();
    file.lock().unwrap();
    file
}

/// A file system that can share blocks between files, mounted; image files in it are cut by cloning them.
#[derive(Debug)]
pub struct Studio {
    mount: PathBuf,
    _device: LoopDevice,
    _folder: TempDir,
}

impl Studio {
    /// In memory, as far as it is written.
    pub fn new(size_bytes: u64) -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        let (image, mount) = (folder.path().join("studio"), folder.path().join("mount"));
        File::create(&image).unwrap().set_len(size_bytes).unwrap();
        fs::create_dir(&mount).unwrap();
        run("mkfs.xfs", &["-q", "-m", "reflink=1", text(&image)]);
        let device = LoopDevice::attach(&image).unwrap();
        run("mount", &["-t", "xfs", "-o", "nouuid", text(device.path()), text(&mount)]);
        Self { mount, _device: device, _folder: folder }
    }

    pub fn mount(&self) -> &Path {
        &self.mount
    }

    /// An empty image.
    pub fn image(&self, name: &str, size_bytes: u64) -> PathBuf {
        let path = self.mount.join(name);
        File::create(&path).unwrap().set_len(size_bytes).unwrap();
        path
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.mount.join(name)
    }

    /// The content of an image at one moment.
    pub fn cut(&self, image: &Path, name: &str) -> PathBuf {
        let path = self.mount.join(name);
        ioctl_ficlone(File::create(&path).unwrap(), File::open(image).unwrap()).unwrap();
        path
    }
}

impl Drop for Studio {
    fn drop(&mut self) {
        let _may_be_busy = try_run("umount", &["--lazy", text(&self.mount)]);
    }
}

/// The chunks in which two files differ; beyond the end of one, all of the other.
pub fn differences(a: &Path, b: &Path, chunk_bytes: u32) -> ExtentSet {
    let (a, b) = (File::open(a).unwrap(), File::open(b).unwrap());
    let (size_a, size_b) = (a.metadata().unwrap().len(), b.metadata().unwrap().len());
    let size = size_a.max(size_b);
    let (mut left, mut right) = (vec![0; 4 << 20], vec![0; 4 << 20]);
    let mut found = ExtentSet::new();
    for window in Extent::new(0, size).cut(left.len() as u64) {
        let length = window.length as usize;
        fill(&a, size_a, window, &mut left[..length]);
        fill(&b, size_b, window, &mut right[..length]);
        if left[..length] == right[..length] {
            continue;
        }
        for chunk in window.cut(chunk_bytes.into()) {
            let range = (chunk.offset - window.offset) as usize..(chunk.end() - window.offset) as usize;
            if left[range.clone()] != right[range] {
                found.insert(chunk);
            }
        }
    }
    found
}

fn fill(file: &File, size: u64, window: Extent, out: &mut [u8]) {
    out.fill(0xa5);
    let here = window.intersect(&Extent::new(0, size));
    file.read_exact_at(&mut out[..here.length as usize], here.offset).unwrap();
}

/// What changed and was not reported.
pub fn missed(changed: &ExtentSet, marks: &Marks) -> ExtentSet {
    changed.difference(&marks.written.union(&marks.discarded))
}

/// The marks of an answer that must be exact.
#[track_caller]
pub fn exact(cut: &Cut) -> &Marks {
    match &cut.answer {
        ChangeAnswer::Exact(marks) => marks,
        ChangeAnswer::Unknown { reason, .. } => panic!("unknown: {reason}"),
    }
}

/// The reason of an answer that must be unknown.
#[track_caller]
pub fn unknown(cut: &Cut) -> String {
    match &cut.answer {
        ChangeAnswer::Exact(marks) => panic!("exact: {marks:?}"),
        ChangeAnswer::Unknown { reason, .. } => reason.to_string(),
    }
}
