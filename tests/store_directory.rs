//! A directory store on real file systems: crashed, full, read-only. Needs root.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "tests and their helpers fail by panicking, print why they skip, and have no readers of documentation"
)]
#![expect(unsafe_code, reason = "the ioctl that crashes a file system has no safe wrapper")]

use bytes::Bytes;
use icecore::base::clock::SystemClock;
use icecore::store::directory::Directory;
use icecore::store::{Created, Missing, ObjectEntry, ObjectKey, Store, StoreErrorKind, contract};
use icecore::testkit::image::unmount;
use nix::unistd::geteuid;
use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::ops::ControlFlow;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

mod kernel {
    // _IOR('X', 125, u32): ext4 and XFS stop at once, as if the power had failed.
    nix::ioctl_read!(shut_down, b'X', 125, u32);
}
/// Do not write the log first: what was not synced is lost.
const WITHOUT_FLUSHING_THE_LOG: u32 = 2;

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(name).unwrap()
}

fn run(program: &str, arguments: &[&str]) -> bool {
    let command = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    command.is_ok_and(|status| status.success())
}

/// Runs as root with this program at hand; if not, says so and answers no (on CI that is a failure).
fn can_run(program: &str) -> bool {
    let is_possible = geteuid().is_root() && run("sh", &["-c", &format!("command -v {program}")]);
    if !is_possible {
        assert!(env::var("CI").as_deref() != Ok("true"), "this test needs root and {program}");
        println!("skipped: needs root and {program}");
    }
    is_possible
}

/// A mounted file system that is unmounted on drop.
struct Mounted {
    image: PathBuf,
    point: PathBuf,
    _folder: TempDir,
}

impl Mounted {
    /// A fresh file system of `megabytes`, made by `make` ("mkfs.ext4 -q"), on a loop device.
    fn make(make: &[&str], megabytes: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (image, point) = (folder.path().join("image"), folder.path().join("mounted"));
        File::create(&image).unwrap().set_len(megabytes << 20).unwrap();
        fs::create_dir(&point).unwrap();
        let mounted = Self { image, point, _folder: folder };
        assert!(run(make[0], &[&make[1..], &[mounted.image.to_str().unwrap()]].concat()), "{make:?}");
        mounted.mount();
        mounted
    }

    fn mount(&self) {
        assert!(run("mount", &["-o", "loop", self.image.to_str().unwrap(), self.point.to_str().unwrap()]), "mount");
    }

    fn unmount(&self) {
        unmount(&self.point).unwrap();
    }

    fn remount(&self, how: &str) {
        assert!(run("mount", &["-o", &format!("remount,{how}"), self.point.to_str().unwrap()]), "remount {how}");
    }

    /// Loses whatever was not synced, and mounts what a crash would leave.
    fn crash(&self) {
        let root = File::open(&self.point).unwrap();
        let mut how = WITHOUT_FLUSHING_THE_LOG;
        // SAFETY: the descriptor is open, and `how` is a u32 on this stack frame that outlives the call.
        unsafe { kernel::shut_down(root.as_raw_fd(), &raw mut how) }.unwrap();
        drop(root);
        self.unmount();
        self.mount();
    }

    fn open(&self, missing: Missing) -> Directory {
        Directory::open(&self.path(), missing, &SystemClock::new()).unwrap()
    }

    fn path(&self) -> PathBuf {
        self.point.join("deep/repository")
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        run("umount", &["-l", self.point.to_str().unwrap()]);
    }
}

fn listed(store: &dyn Store) -> Vec<ObjectKey> {
    let mut keys = Vec::new();
    let collect = &mut |entry: ObjectEntry| {
        keys.push(entry.key);
        ControlFlow::Continue(())
    };
    store.list("", collect).unwrap();
    keys.sort();
    keys
}

fn finished_writes_survive_a_crash(make: &[&str]) {
    if !can_run(make[0]) {
        return;
    }
    let file_system = Mounted::make(make, 320);
    let mut expected = BTreeMap::new();
    for round in 0..6_u8 {
        let store = file_system.open(Missing::Create);
        // Folders nobody had before, an overwrite, a deletion: each finished just before the lights go out.
        let fresh = key(&format!("packs/{round}/{round}/x"));
        let bytes = Bytes::from(vec![round; 100_000]);
        assert_eq!(store.put_if_absent(&fresh, bytes.clone()).unwrap(), Created::New);
        expected.insert(fresh, bytes);
        let replaced = Bytes::from(vec![round; 10 + usize::from(round)]);
        store.put(&key("config"), replaced.clone()).unwrap();
        expected.insert(key("config"), replaced);
        if let Some(old) = round.checked_sub(2).map(|old| key(&format!("packs/{old}/{old}/x"))) {
            store.delete(&old).unwrap();
            expected.remove(&old);
        }
        drop(store);
        file_system.crash();
        let store = file_system.open(Missing::Refuse);
        assert_eq!(listed(&store), expected.keys().cloned().collect::<Vec<_>>(), "round {round}");
        for (key, bytes) in &expected {
            assert!(store.get(key).unwrap() == bytes, "{key} changed in round {round}");
        }
    }
}

#[test]
fn finished_writes_survive_a_crash_of_ext4() {
    finished_writes_survive_a_crash(&["mkfs.ext4", "-q"]);
}

#[test]
fn finished_writes_survive_a_crash_of_xfs() {
    finished_writes_survive_a_crash(&["mkfs.xfs", "-q"]);
}

#[test]
fn a_full_disk_is_full_and_keeps_what_it_had() {
    if !can_run("mkfs.ext4") {
        return;
    }
    let file_system = Mounted::make(&["mkfs.ext4", "-q"], 16);
    let store = file_system.open(Missing::Create);
    store.put(&key("config"), Bytes::from_static(b"before")).unwrap();
    let error = store.put(&key("config"), Bytes::from(vec![1; 20 << 20])).unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Full);
    assert_eq!(store.get(&key("config")).unwrap(), "before");
    assert_eq!(listed(&store), [key("config")]);
    store.put(&key("small"), Bytes::from(vec![2; 1 << 20])).expect("the room of the failed put came back");
}

#[test]
fn a_read_only_directory_is_read_and_refuses_writes() {
    if !can_run("mkfs.ext4") {
        return;
    }
    let file_system = Mounted::make(&["mkfs.ext4", "-q"], 16);
    file_system.open(Missing::Create).put(&key("config"), Bytes::from_static(b"x")).unwrap();
    file_system.remount("ro");
    let store = file_system.open(Missing::Refuse);
    assert_eq!(store.get(&key("config")).unwrap(), "x");
    assert_eq!(store.put(&key("config"), Bytes::new()).unwrap_err().kind, StoreErrorKind::Denied);
    assert_eq!(store.put_if_absent(&key("other"), Bytes::new()).unwrap_err().kind, StoreErrorKind::Denied);
    assert_eq!(store.delete(&key("config")).unwrap_err().kind, StoreErrorKind::Denied);
    let refused = Directory::open(&file_system.point.join("new"), Missing::Create, &SystemClock::new()).unwrap_err();
    assert_eq!(refused.kind, StoreErrorKind::Denied);
}

/// File systems differ in what they can rename, link and sync.
#[test]
fn the_contract_holds_on_other_file_systems() {
    for make in [&["mkfs.ext4", "-q"][..], &["mkfs.xfs", "-q"]] {
        if can_run(make[0]) {
            let file_system = Mounted::make(make, 320);
            contract::check(&file_system.open(Missing::Create));
        }
    }
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        let folder = tempfile::tempdir_in(memory).unwrap();
        contract::check(&Directory::open(folder.path(), Missing::Refuse, &SystemClock::new()).unwrap());
    }
}
