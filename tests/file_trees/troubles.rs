//! Files that change, vanish or cannot be read: named, and in nobody's way.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use icecore::files::{Crossing, FileReader, ReaderChoice, ReaderReport, Reading, Request, reader};
use icecore::filesystem::{Links, resolve};
use icecore::filetree::TroubleKind;
use icecore::job::backup::FilesRequest;
use icecore::testkit;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::rig::{Hooked, Rig};
use crate::tree_facts::{Exactness, facts, same};
use crate::world::noise;

const PLAIN: Exactness = Exactness { holes: false, sockets: true };

/// A reader whose files change once they are open: what was begun waits until its file is, and has been written to since.
#[derive(Debug)]
struct Outrun {
    inner: Box<dyn FileReader>,
    writes: Arc<AtomicU64>,
}

impl FileReader for Outrun {
    fn begin(&mut self, request: Request) -> Reading {
        let name = request.name.clone();
        let reading = self.inner.begin(request);
        if name.as_bytes() == b"log" {
            while !is_open("log") {
                thread::yield_now();
            }
            let enough = self.writes.load(Ordering::Relaxed) + 200;
            while self.writes.load(Ordering::Relaxed) < enough {
                thread::yield_now();
            }
        }
        reading
    }

    fn report(&self) -> &ReaderReport {
        self.inner.report()
    }
}

/// True if this process has a file of this name open for reading.
fn is_open(name: &str) -> bool {
    let descriptors = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let is_it = |number: &str| {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap_or_default();
        let is_read_only = flags.trim().ends_with('0');
        is_read_only && fs::read_link(format!("/proc/self/fd/{number}")).is_ok_and(|path| path.ends_with(name))
    };
    descriptors.filter_map(|entry| entry.file_name().into_string().ok()).any(|number| is_it(&number))
}

#[test]
fn a_file_that_changes_whenever_it_is_read_is_kept_and_named() {
    for choice in [ReaderChoice::Threads, ReaderChoice::Auto] {
        let rig = Rig::new();
        let tree = rig.tree();
        fs::write(tree.join("log"), noise(16 << 20, 1)).unwrap();
        fs::write(tree.join("still"), "still").unwrap();
        let (stop, writes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let writer = {
            let (stop, writes, path) = (Arc::clone(&stop), Arc::clone(&writes), tree.join("log"));
            thread::spawn(move || {
                let mut file = OpenOptions::new().append(true).open(path).unwrap();
                while !stop.load(Ordering::Relaxed) {
                    file.write_all(b"another line\n").unwrap();
                    writes.fetch_add(1, Ordering::Relaxed);
                    thread::yield_now();
                }
            })
        };
        let mut outrun = Outrun { inner: reader(choice).unwrap(), writes };
        let report = rig.run_with(&rig.request(&tree), &mut outrun).unwrap();
        stop.store(true, Ordering::Relaxed);
        writer.join().unwrap();
        assert_eq!(report.troubles.len(), 1, "{:?}", report.troubles);
        assert_eq!((report.troubles[0].path.as_slice(), report.troubles[0].kind), (&b"log"[..], TroubleKind::Restless));
        let filesystem = rig.open(&report.point);
        let log = resolve(filesystem.as_ref(), b"/log", Links::Keep).unwrap();
        let mut beginning = vec![0; 16 << 20];
        filesystem.read(&log, 0, &mut beginning).unwrap();
        assert!(beginning == noise(16 << 20, 1), "what did not change is as it was");
        // Next time it holds still, and what its first tries left behind becomes holes.
        let report = rig.backup(&tree);
        assert!(report.troubles.is_empty() && report.read_files == 1, "{report:?}");
        let out = rig.folder.path().join("out");
        assert_eq!(rig.extract(&report.point, &out).findings.count(), 0);
        same(&facts(&tree, PLAIN), &facts(&out, PLAIN));
        rig.expect_whole();
    }
}

#[test]
fn what_vanishes_between_walk_and_reading_is_not_there_and_not_missed() {
    let rig = Rig::new();
    let tree = rig.tree();
    fs::create_dir_all(tree.join("a")).unwrap();
    for name in ["a/gone", "a/stays", "kept"] {
        fs::write(tree.join(name), name).unwrap();
    }
    rig.backup(&tree);
    for (round, name) in ["gone", "later"].into_iter().enumerate() {
        // Once a file that the earlier point knows, once a new one.
        fs::write(tree.join("a").join(name), format!("changed {round}")).unwrap();
        let path = tree.join("a").join(name);
        let mut reader = Hooked::new(ReaderChoice::Threads, move |begun| {
            if begun == path.file_name().unwrap().to_str().unwrap() {
                fs::remove_file(&path).unwrap();
            }
        });
        let report = rig.run_with(&rig.request(&tree), &mut reader).unwrap();
        assert!(report.troubles.is_empty(), "{:?}", report.troubles);
        let out = rig.folder.path().join(format!("out-{round}"));
        assert_eq!(rig.extract(&report.point, &out).findings.count(), 0);
        let names: Vec<_> = fs::read_dir(out.join("a")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["stays"]);
        assert_eq!(report.point.point.file_tree.unwrap().inodes, 4);
    }
    let report = rig.backup(&tree);
    assert!(report.troubles.is_empty());
    rig.expect_whole();
}

#[test]
fn what_took_a_files_name_after_the_walk_is_neither_followed_nor_waited_for() {
    let rig = Rig::new();
    let tree = rig.tree();
    fs::write(rig.folder.path().join("secret"), "secret").unwrap();
    fs::write(tree.join("file"), "content").unwrap();
    let path = tree.join("file");
    let mut reader = Hooked::new(ReaderChoice::Auto, move |_| {
        fs::remove_file(&path).unwrap();
        symlink("../secret", &path).unwrap();
    });
    let report = rig.run_with(&rig.request(&tree), &mut reader).unwrap();
    assert_eq!(report.troubles.len(), 1, "{:?}", report.troubles);
    let out = rig.folder.path().join("out");
    let extracted = rig.extract(&report.point, &out);
    assert_eq!(extracted.findings.harm, 1, "{:?}", extracted.findings);
    assert!(!out.join("file").exists());
}

#[test]
fn other_mounts_are_kept_as_empty_folders_unless_they_are_asked_for() {
    let rig = Rig::new();
    let tree = rig.tree();
    let inner = tree.join("inner");
    fs::create_dir(&inner).unwrap();
    if let Err(errno) = mount(Some("tmpfs"), &inner, Some("tmpfs"), MsFlags::empty(), None::<&str>) {
        return testkit::skip(&format!("tmpfs cannot be mounted: {errno}"));
    }
    fs::write(inner.join("file"), "below").unwrap();
    fs::write(tree.join("beside"), "beside").unwrap();
    let here = rig.backup(&tree);
    let request = FilesRequest { crossing: Crossing::Allowed, ..rig.request(&tree) };
    let across = rig.run(&request).unwrap();
    for (report, found) in [(&here, false), (&across, true)] {
        let filesystem = rig.open(&report.point);
        assert!(resolve(filesystem.as_ref(), b"/inner", Links::Keep).unwrap().is_directory());
        assert_eq!(resolve(filesystem.as_ref(), b"/inner/file", Links::Keep).is_ok(), found);
        assert!(report.troubles.is_empty(), "{:?}", report.troubles);
    }
    umount2(&inner, MntFlags::MNT_DETACH).unwrap();
}
