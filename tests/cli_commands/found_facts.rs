//! What is known of the files of a point: from the kernel, from `find`, and from `ls -R`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::{self, File as Opened};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use serde_json::Value;

use crate::world::World;

const BLOCK_BYTES: usize = 4096;

/// What every source knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    kind: String,
    mode: String,
    owners: (u64, u64),
    links: u64,
    size: u64,
    inode: u64,
}

impl File {
    /// From JSON of `find`, `history` or `ls`.
    pub fn of(value: &Value) -> Self {
        let number = |name: &str| value[name].as_u64().unwrap_or_else(|| panic!("no {name} in {value:#}"));
        Self {
            kind: value["kind"].as_str().unwrap().to_owned(),
            mode: value["mode"].as_str().unwrap().to_owned(),
            owners: (number("uid"), number("gid")),
            links: number("links"),
            size: number("size_bytes"),
            inode: number("inode"),
        }
    }
}

/// What the kernel knows besides: when content and inode were changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub file: File,
    times: [i64; 4],
}

fn kind(kind: fs::FileType) -> &'static str {
    match kind {
        kind if kind.is_file() => "file",
        kind if kind.is_dir() => "directory",
        kind if kind.is_symlink() => "symlink",
        kind if kind.is_char_device() => "character_device",
        kind if kind.is_block_device() => "block_device",
        kind if kind.is_fifo() => "fifo",
        _ => "socket",
    }
}

/// Everything below a mount point and itself, as paths that begin with a slash.
pub fn shown(mount: &Path) -> BTreeMap<Vec<u8>, Facts> {
    let mut files = BTreeMap::new();
    let mut waiting = vec![mount.to_path_buf()];
    while let Some(path) = waiting.pop() {
        let of = fs::symlink_metadata(&path).unwrap();
        if of.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        let file = File {
            kind: kind(of.file_type()).to_owned(),
            mode: format!("{:04o}", of.mode() & 0o7777),
            owners: (of.uid().into(), of.gid().into()),
            links: of.nlink(),
            size: of.len(),
            inode: of.ino(),
        };
        let inside = [b"/", path.strip_prefix(mount).unwrap().as_os_str().as_bytes()].concat();
        files.insert(inside, Facts { file, times: [of.mtime(), of.mtime_nsec(), of.ctime(), of.ctime_nsec()] });
    }
    files
}

/// Everything that `find '*'` finds.
pub fn found(world: &World, more: &[&str]) -> BTreeMap<Vec<u8>, (File, String)> {
    found_by(world, "*", more)
}

/// Everything that `find` finds in one point.
pub fn found_by(world: &World, pattern: &str, more: &[&str]) -> BTreeMap<Vec<u8>, (File, String)> {
    let arguments = [&["find", pattern, "--json", "--cache-dir", "index"], more].concat();
    let view = world.run(&arguments).exits(0).json();
    assert!(view["all"] == true && view["incomplete_points"] == Value::Array(Vec::new()), "{arguments:?} finds too little");
    let files = view["files"].as_array().unwrap().iter().map(|found| {
        assert_eq!((&found["first_point"], &found["points"]), (&found["last_point"], &Value::from(1)));
        let path = found["path"]
            .as_str()
            .map_or_else(|| bytes(found["path"]["bytes_hex"].as_str().unwrap()), |path| path.as_bytes().to_vec());
        (path, (File::of(&found["file"]), format!("{} {}", found["file"]["modified"], found["file"]["changed"])))
    });
    let count = files.len();
    let files: BTreeMap<_, _> = files.collect();
    assert_eq!(files.len(), count, "a path is found twice");
    files
}

/// Everything that `ls -R` lists in the volume itself. It does not list where it begins.
pub fn listed(world: &World, place: &str) -> BTreeMap<Vec<u8>, (File, String)> {
    let view = world.run(&["ls", "-R", "--json", place]).exits(0).json();
    let entries = view["entries"].as_array().unwrap().iter().map(|entry| {
        let name = &entry["name"];
        let name = name.as_str().map_or_else(|| bytes(name["bytes_hex"].as_str().unwrap()), |text| text.as_bytes().to_vec());
        ([b"/", name.as_slice()].concat(), (File::of(entry), String::new()))
    });
    entries.collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes().chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// Fails with the first few paths that differ. The root may be missing in ours.
#[track_caller]
pub fn same_files(what: &str, theirs: &BTreeMap<Vec<u8>, Facts>, ours: &BTreeMap<Vec<u8>, (File, String)>) {
    let paths = theirs.keys().chain(ours.keys().filter(|path| !theirs.contains_key(*path)));
    let view = |path: &Vec<u8>| (theirs.get(path).map(|facts| facts.file.clone()), ours.get(path).map(|(file, _)| file.clone()));
    let differing = paths.filter(|path| {
        let (theirs, ours) = view(path);
        theirs != ours && (path.as_slice() != b"/" || ours.is_some())
    });
    let differing: Vec<_> = differing.collect();
    let words = differing.iter().take(6).fold(String::new(), |mut out, path| {
        let (theirs, ours) = view(path);
        writeln!(out, "{}\n  kernel {theirs:?}\n  ours   {ours:?}", String::from_utf8_lossy(path)).unwrap();
        out
    });
    assert!(differing.is_empty(), "{what}: {} of {} paths differ\n{words}", differing.len(), theirs.len());
}

/// The blocks in which two images differ, as a change list.
pub fn changes_between(before: &Path, now: &Path) -> String {
    let (mut before, mut now) = (Opened::open(before).unwrap(), Opened::open(now).unwrap());
    let (mut old, mut new) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut list = String::new();
    let mut at = 0;
    while now.read(&mut new[..1]).unwrap() == 1 {
        now.read_exact(&mut new[1..]).unwrap();
        before.read_exact(&mut old).unwrap();
        for (number, (old, new)) in old.chunks(BLOCK_BYTES).zip(new.chunks(BLOCK_BYTES)).enumerate() {
            if old != new {
                writeln!(list, "{} {BLOCK_BYTES}", at + number * BLOCK_BYTES).unwrap();
            }
        }
        at += new.len();
    }
    list
}
