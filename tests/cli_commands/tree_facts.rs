//! Everything that a mounted tree shows, as lines to compare.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Whence, lseek};
use rustix::fs::{lgetxattr, llistxattr};

/// What is compared beside names, content, owners, modes, attributes and links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exactness {
    /// Where files have holes.
    pub holes: bool,
    /// Sockets are there.
    pub sockets: bool,
}

/// A line for each path below `folder` and for itself.
pub fn facts(folder: &Path, exactness: Exactness) -> BTreeMap<PathBuf, String> {
    let mut lines = BTreeMap::new();
    let mut first_names = HashMap::new();
    // Paths in order, so that the first name of a file is the same everywhere.
    for path in sorted(folder) {
        let inside = path.strip_prefix(folder).unwrap().to_path_buf();
        let of_file = fs::symlink_metadata(&path).unwrap();
        if (of_file.mode() & 0o170_000) == 0o140_000 && !exactness.sockets {
            continue;
        }
        let mut line = format!("{:o} {}:{}", of_file.mode(), of_file.uid(), of_file.gid());
        line += &format!(" {}.{:09} {}", of_file.mtime(), of_file.mtime_nsec(), of_file.rdev());
        if of_file.is_file() {
            let first = first_names.entry(of_file.ino()).or_insert_with(|| inside.clone());
            let hash = content_hash(&path);
            line += &format!(" {} bytes {hash} {} links, first {}", of_file.len(), of_file.nlink(), first.display());
            if exactness.holes {
                line += &format!(" data {:?}", data_of(&path));
            }
        } else if of_file.is_symlink() {
            line += &format!(" -> {:?}", fs::read_link(&path).unwrap());
        }
        line += &format!(" {:?}", attributes(&path));
        lines.insert(inside, line);
    }
    lines
}

/// Fails with the first few lines that differ.
#[track_caller]
pub fn same(theirs: &BTreeMap<PathBuf, String>, ours: &BTreeMap<PathBuf, String>) {
    let paths = theirs.keys().chain(ours.keys().filter(|path| !theirs.contains_key(*path)));
    let differing: Vec<_> = paths.filter(|path| theirs.get(*path) != ours.get(*path)).collect();
    let shown: Vec<_> =
        differing.iter().take(5).map(|path| format!("{path:?}\n  {:?}\n  {:?}", theirs.get(*path), ours.get(*path))).collect();
    assert!(differing.is_empty(), "{} of {} paths differ:\n{}", differing.len(), theirs.len(), shown.join("\n"));
}

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let mut paths = vec![folder.to_path_buf()];
    let mut waiting = paths.clone();
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                waiting.push(entry.path());
            }
            paths.push(entry.path());
        }
    }
    paths.sort_by(|a, b| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes()));
    paths
}

/// Only data is read: a hole of a terabyte costs nothing.
fn content_hash(path: &Path) -> String {
    use std::os::unix::fs::FileExt;
    let file = File::open(path).unwrap();
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    for (start, end) in data_of(path) {
        let mut at = start;
        while at < end {
            let length = buffer.len().min((end - at) as usize);
            let read = file.read_at(&mut buffer[..length], at as u64).unwrap();
            if read == 0 {
                break;
            }
            // Zeros may be a hole elsewhere.
            for (block, offset) in buffer[..read].chunks(4096).zip((at as u64..).step_by(4096)) {
                if block.iter().any(|byte| *byte != 0) {
                    hasher.update(&offset.to_le_bytes()).update(block);
                }
            }
            at += read as i64;
        }
    }
    hasher.finalize().to_hex()[..16].to_owned()
}

fn data_of(path: &Path) -> Vec<(i64, i64)> {
    let file = File::open(path).unwrap();
    let mut extents = Vec::new();
    let mut at = 0;
    while let Ok(start) = lseek(&file, at, Whence::SeekData) {
        at = lseek(&file, start, Whence::SeekHole).unwrap();
        extents.push((start, at));
    }
    extents
}

fn attributes(path: &Path) -> Vec<(String, String)> {
    let mut names = vec![0; 64 << 10];
    let length = llistxattr(path, &mut names[..]).unwrap();
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let mut attributes: Vec<_> = names
        .map(|name| {
            let mut value = vec![0; 64 << 10];
            let length = lgetxattr(path, name, &mut value[..]).unwrap();
            (String::from_utf8_lossy(name).into_owned(), blake3::hash(&value[..length]).to_hex()[..8].to_owned())
        })
        .collect();
    attributes.sort();
    attributes
}
