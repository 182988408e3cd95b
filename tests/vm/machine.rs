//! The machine: its empty disks, and devices that device-mapper puts together of them.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::rig::{run, text, try_run};

pub const SECTOR_BYTES: u64 = 512;

static TURN: Mutex<()> = Mutex::new(());

/// Three empty disks of 1 GiB, for one test at a time.
#[derive(Debug)]
pub struct Machine {
    _turn: MutexGuard<'static, ()>,
}

impl Machine {
    /// `None`, with a word about it, anywhere else: these tests would put their devices over disks that are in use.
    pub fn here() -> Option<Self> {
        if env::var("ICECORE_VM").as_deref() != Ok("1") {
            println!("left out: this runs inside the machine of 'make test-vm'");
            return None;
        }
        Some(Self { _turn: TURN.lock().unwrap_or_else(PoisonError::into_inner) })
    }

    /// The virtio disk with sectors of 512 bytes.
    pub fn small_sectors(&self) -> PathBuf {
        disk("sectors512")
    }

    /// The virtio disk with sectors of 4096 bytes.
    pub fn large_sectors(&self) -> PathBuf {
        disk("sectors4096")
    }

    pub fn nvme(&self) -> PathBuf {
        PathBuf::from("/dev/nvme0n1")
    }
}

/// Which name a disk gets is the kernel's choice.
fn disk(serial: &str) -> PathBuf {
    let found = fs::read_dir("/sys/block").unwrap().map(|entry| entry.unwrap());
    let mut named = found.filter(|entry| fs::read_to_string(entry.path().join("serial")).is_ok_and(|text| text.trim() == serial));
    Path::new("/dev").join(named.next().expect("the disk is there").file_name())
}

/// A device of device-mapper; gone when it is dropped.
#[derive(Debug)]
pub struct Mapped {
    name: String,
    path: PathBuf,
}

impl Mapped {
    pub fn new(name: &str, table: &str) -> Self {
        Self::with(name, table, &[])
    }

    pub fn read_only(name: &str, table: &str) -> Self {
        Self::with(name, table, &["--readonly"])
    }

    pub fn with(name: &str, table: &str, options: &[&str]) -> Self {
        run("dmsetup", &[&["create", name, "--table", table], options].concat());
        Self { name: name.to_owned(), path: Path::new("/dev/mapper").join(name) }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn text(&self) -> &str {
        text(&self.path)
    }

    pub fn message(&self, words: &str) {
        run("dmsetup", &["message", &self.name, "0", words]);
    }

    pub fn status(&self) -> String {
        run("dmsetup", &["status", &self.name])
    }

    /// Does something while nothing is on its way.
    pub fn suspended(&self, act: impl FnOnce()) {
        run("dmsetup", &["suspend", &self.name]);
        act();
        run("dmsetup", &["resume", &self.name]);
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // Whoever still has it open is about to close it.
        let _is_said_by_the_next_test = try_run("dmsetup", &["remove", "--retry", &self.name]);
    }
}

/// A mounted file system.
#[derive(Debug)]
pub struct Mounted(PathBuf);

impl Mounted {
    pub fn new(device: &Path, point: PathBuf, options: &str) -> Self {
        fs::create_dir_all(&point).unwrap();
        run("mount", &["-o", options, text(device), text(&point)]);
        Self(point)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _is_said_by_the_next_test = try_run("umount", &[text(&self.0)]);
    }
}
