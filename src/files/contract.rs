//! What every reader of files promises, held against each of them.

use std::ffi::CString;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use nix::sys::stat::{Mode, SFlag, mknod};
use rustix::fs::{XattrFlags, lsetxattr};
use tempfile::TempDir;

use super::events::{Event, Opened};
use super::{Directory, FileReader, ReaderChoice, Reading, Request, reader};
use crate::base::extent::Extent;
use crate::testkit;
use crate::testkit::contents::random_bytes;
use crate::testkit::refusal::refuse_io_uring;

/// Runs `check` with each implementation, in a folder of its own.
fn each_reader(check: impl Fn(&mut dyn FileReader, &Path)) {
    for choice in [ReaderChoice::Threads, ReaderChoice::Uring] {
        match reader(choice) {
            Ok(mut reader) => check(reader.as_mut(), TempDir::new().unwrap().path()),
            Err(error) => testkit::skip(&format!("{choice:?}: {error}")),
        }
    }
}

fn request(folder: &Path, name: &str) -> Request {
    Request { directory: Arc::new(Directory::open(folder).unwrap()), name: CString::new(name).unwrap() }
}

/// A file as it came, or why it did not.
#[derive(Debug)]
struct Came {
    opened: Opened,
    bytes: Vec<u8>,
    held_still: bool,
    events: usize,
}

fn take(reading: Reading) -> Result<Came, io::Error> {
    let (mut opened, mut bytes, mut events) = (None, Vec::new(), 0);
    for event in reading {
        events += 1;
        match event {
            Event::Whole(file) => {
                let held_still = file.opened.facts.held_still(&file.after);
                return Ok(Came { opened: file.opened, bytes: file.bytes, held_still, events });
            }
            Event::Begins(found) => {
                bytes.resize(usize::try_from(found.facts.size).unwrap(), 0);
                opened = Some(*found);
            }
            Event::Bytes { offset, bytes: piece } => {
                let at = usize::try_from(offset).unwrap();
                bytes[at..at + piece.len()].copy_from_slice(&piece);
            }
            Event::Ends(after) => {
                let opened = opened.unwrap();
                let held_still = opened.facts.held_still(&after);
                return Ok(Came { opened, bytes, held_still, events });
            }
            Event::Failed(failure) => return Err(failure.source),
        }
    }
    Err(io::Error::other("ended without an event"))
}

#[test]
fn files_of_every_length_come_whole_and_in_the_order_they_were_begun() {
    each_reader(|reader, folder| {
        let sizes = [0, 1, 4096, 100_000, (256 << 10) - 1, 256 << 10, (256 << 10) + 1, 1 << 20, (5 << 20) + 17];
        for size in sizes {
            fs::write(folder.join(size.to_string()), random_bytes(size, 7)).unwrap();
        }
        let begun: Vec<_> = sizes.iter().map(|size| (size, reader.begin(request(folder, &size.to_string())))).collect();
        for (size, reading) in begun {
            let came = take(reading).unwrap();
            assert!(came.bytes == random_bytes(*size, 7), "{size} bytes by {}", reader.report().engine);
            assert!(came.held_still && came.opened.facts.size == *size as u64 && came.opened.runs.is_none());
            assert_eq!(came.events == 1, *size <= 256 << 10, "{size}");
        }
    });
}

#[test]
fn holes_are_told_and_not_read() {
    each_reader(|reader, folder| {
        let file = File::create(folder.join("sparse")).unwrap();
        file.set_len(1 << 40).unwrap();
        file.write_all_at(&[7; 4096], 1 << 30).unwrap();
        let mut reading = reader.begin(request(folder, "sparse"));
        let Some(Event::Begins(opened)) = reading.next() else { panic!("a long file begins") };
        let runs = opened.runs.unwrap();
        assert!(runs.iter().any(|run| run.intersect(&Extent::new(1 << 30, 4096)).length == 4096), "{runs:?}");
        assert!(runs.iter().map(|run| run.length).sum::<u64>() <= 1 << 20, "{runs:?}");
        let mut data = 0;
        while let Some(Event::Bytes { bytes, .. }) = reading.next() {
            data += bytes.iter().filter(|byte| **byte == 7).count();
        }
        assert_eq!(data, 4096);
    });
}

#[test]
fn attributes_come_sorted_and_of_any_length() {
    each_reader(|reader, folder| {
        let path = folder.join("file");
        fs::write(&path, "x").unwrap();
        for (name, length) in [("user.z", 3), ("user.a", 2000), ("user.m", 0)] {
            if lsetxattr(&path, name, &vec![b'v'; length], XattrFlags::empty()).is_err() {
                return;
            }
        }
        let came = take(reader.begin(request(folder, "file"))).unwrap();
        let told: Vec<_> =
            came.opened.attributes.iter().map(|a| (String::from_utf8_lossy(&a.name).into_owned(), a.value.len())).collect();
        assert_eq!(told, [("user.a".to_owned(), 2000), ("user.m".to_owned(), 0), ("user.z".to_owned(), 3)]);
    });
}

#[test]
fn a_name_that_is_no_file_is_refused_and_nothing_blocks() {
    each_reader(|reader, folder| {
        fs::write(folder.join("outside"), "secret").unwrap();
        fs::create_dir(folder.join("in")).unwrap();
        symlink("../outside", folder.join("in/link")).unwrap();
        mknod(&folder.join("in/pipe"), SFlag::S_IFIFO, Mode::S_IRWXU, 0).unwrap();
        fs::create_dir(folder.join("in/directory")).unwrap();
        for name in ["link", "pipe", "directory", "missing"] {
            let refused = take(reader.begin(request(&folder.join("in"), name))).unwrap_err();
            assert_eq!(refused.kind() == io::ErrorKind::NotFound, name != "link", "{name}: {refused}");
        }
        // What was refused stands in nobody's way.
        fs::write(folder.join("in/file"), "content").unwrap();
        assert_eq!(take(reader.begin(request(&folder.join("in"), "file"))).unwrap().bytes, b"content");
    });
}

#[test]
fn a_file_that_is_written_meanwhile_did_not_hold_still() {
    each_reader(|reader, folder| {
        let path = folder.join("growing");
        fs::write(&path, random_bytes(4 << 20, 1)).unwrap();
        let mut reading = reader.begin(request(folder, "growing"));
        let Some(Event::Begins(opened)) = reading.next() else { panic!("a long file begins") };
        File::options().append(true).open(&path).unwrap().write_at(b"more", 0).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let mut read = 0;
        loop {
            match reading.next() {
                Some(Event::Bytes { bytes, .. }) => read += bytes.len() as u64,
                Some(Event::Ends(after)) => break assert!(!opened.facts.held_still(&after)),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(read, opened.facts.size, "no more than there was");
    });
}

#[test]
fn a_file_that_is_cut_short_ends_early_and_did_not_hold_still() {
    each_reader(|reader, folder| {
        let path = folder.join("shrinking");
        fs::write(&path, random_bytes(8 << 20, 1)).unwrap();
        let mut reading = reader.begin(request(folder, "shrinking"));
        let Some(Event::Begins(opened)) = reading.next() else { panic!("a long file begins") };
        File::options().write(true).open(&path).unwrap().set_len(10).unwrap();
        for event in reading {
            if let Event::Ends(after) = event {
                assert!(!opened.facts.held_still(&after));
                return;
            }
        }
        panic!("it did not end");
    });
}

#[test]
fn readings_that_nobody_wants_end_with_the_reader() {
    each_reader(|reader, folder| {
        fs::write(folder.join("long"), random_bytes(8 << 20, 2)).unwrap();
        let readings: Vec<_> = (0..50).map(|_| reader.begin(request(folder, "long"))).collect();
        drop(readings);
        assert_eq!(take(reader.begin(request(folder, "long"))).unwrap().bytes.len(), 8 << 20);
    });
}

#[test]
fn where_the_ring_is_refused_threads_read_and_the_reason_is_told() {
    // A filter holds for the thread that asks for it, and for those it starts.
    let told = thread::spawn(|| {
        refuse_io_uring().unwrap();
        assert!(reader(ReaderChoice::Uring).is_err());
        let mut reader = reader(ReaderChoice::Auto).unwrap();
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("f"), "x").unwrap();
        assert_eq!(take(reader.begin(request(folder.path(), "f"))).unwrap().bytes, b"x");
        reader.report().clone()
    });
    let told = told.join().unwrap();
    assert_eq!(told.engine, "pread");
    assert!(told.fallback.unwrap().contains("io_uring"));
}
