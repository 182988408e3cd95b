//! Real fast commits: what the kernel shows after its own recovery must follow from the names, inodes and ranges that were read.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::image::Image;
use crate::filesystem::ext::journal::{FastCommits, FastName, FastRange};
use crate::testkit;
use crate::testkit::crash_image::{CrashImage, Recipe, Shutdown, shell};
use crate::testkit::image::Mounted;

/// What lies in place when the fast commits begin.
const BEFORE: &str = "mkdir d; i=0; while [ $i -lt 10 ]; do i=$((i+1)); yes \"old $i\" | head -c 30000 > d/o$i; done; sync";
/// What is synced after that.
const NAMES: &str = "i=0; while [ $i -lt 30 ]; do i=$((i+1)); yes \"new $i\" | head -c $((i*1111)) > d/n$i; sync d/n$i; done
    rm d/o1; mv d/o2 d/moved; ln d/o3 d/hard; sync d/o3; rm d/n7; mv d/n8 d/n9; sync d/n10";
const SIZES: &str = "truncate -s 5000 d/o4; sync d/o4; yes more | head -c 90000 >> d/o5; sync d/o5
    yes over | head -c 8192 | dd of=d/o6 bs=4096 seek=2 conv=notrunc,fsync 2>/dev/null
    fallocate -p -o 4096 -l 8192 d/o7; sync d/o7; fallocate -l 200000 d/o8; sync d/o8; truncate -s 99999 d/o9; sync d/o9";

type Names = BTreeMap<Vec<u8>, u64>;

fn list(directory: &Path) -> Names {
    let entries = fs::read_dir(directory).unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.file_name().into_vec(), entry.metadata().unwrap().ino())).collect()
}

fn apply(mut names: Names, changes: &[FastName]) -> Names {
    for change in changes {
        match change {
            FastName::Add { name, inode } => drop(names.insert(name.clone(), *inode)),
            FastName::Remove { name, inode } => {
                if names.get(name) == Some(inode) {
                    names.remove(name);
                }
            }
        }
    }
    names
}

/// The file's bytes as far as the ranges name them; `None` for blocks that they do not.
fn block_of(ranges: &[FastRange], block: u32, image: &Image) -> Option<Vec<u8>> {
    let within = |logical: u32, length: u32| block >= logical && block - logical < length;
    let last = ranges.iter().rev().find(|range| match range {
        FastRange::Add { logical, length, .. } | FastRange::Remove { logical, length } => within(*logical, *length),
    })?;
    let mut out = vec![0; 4096];
    if let FastRange::Add { logical, physical, unwritten: false, .. } = last {
        image.source.read_at((physical + u64::from(block - logical)) * 4096, &mut out).unwrap();
    }
    Some(out)
}

/// Compares size and content of a file with the kernel's, and says how many blocks the ranges named.
fn compare(path: &Path, inode: u64, fast: &FastCommits, image: &Image) -> usize {
    let expected = fs::read(path).unwrap();
    if let Some(raw) = fast.inode(inode) {
        let word = |at: usize| u64::from(u32::from_le_bytes(raw[at..at + 4].try_into().unwrap()));
        assert_eq!(word(4) | word(0x6c) << 32, expected.len() as u64, "{path:?}");
    }
    let mut named = 0;
    for (block, theirs) in expected.chunks(4096).enumerate() {
        if let Some(ours) = block_of(fast.ranges(inode), block as u32, image) {
            assert_eq!(&ours[..theirs.len()], theirs, "{path:?}, block {block}");
            named += 1;
        }
    }
    named
}

#[test]
fn fast_commits_hold_what_the_kernel_shows_after_its_recovery() {
    let mkfs = &["mkfs.ext4", "-q", "-F", "-b", "4096", "-J", "size=6,fast_commit_size=1024", "-O", "fast_commit"];
    let recipe = Recipe { mkfs, size_bytes: 64 << 20, mount_options: "commit=300", shutdown: Shutdown::WithoutLog };
    for (name, work, least) in [("names", NAMES, 100), ("sizes", SIZES, 20)] {
        let mut before = Names::new();
        let crashed = CrashImage::make(&recipe, |point| {
            shell(point, BEFORE)?;
            before = list(&point.join("d"));
            shell(point, work)
        });
        let crashed = match crashed {
            Ok(crashed) => crashed,
            Err(error) => return testkit::skip(&format!("{name}: {error}")),
        };
        let image = Image::open(&crashed.path());
        let replay = image.replay();
        assert_eq!(replay.incomplete, None, "{name}");
        assert!(!replay.fast.is_empty(), "{name}: no fast commit was made");
        let copy = crashed.copy("recovered").unwrap();
        let point = copy.with_extension("mounted");
        fs::create_dir(&point).unwrap();
        let mounted = Mounted::new(&copy, point, "").unwrap();
        let directory = mounted.point().join("d");
        let after = list(&directory);
        let own = fs::metadata(&directory).unwrap().ino();
        assert_eq!(apply(before, replay.fast.names(own)), after, "{name}");
        let named = after.iter().map(|(file, inode)| {
            let path = directory.join(String::from_utf8(file.clone()).unwrap());
            compare(&path, *inode, &replay.fast, &image)
        });
        let named: usize = named.sum();
        println!(
            "{name}: {} transactions, {} names changed, {named} blocks named",
            replay.transactions,
            replay.fast.names(own).len()
        );
        assert!(named >= least, "{name}: only {named} blocks");
    }
}
