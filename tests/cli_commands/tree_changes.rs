//! Changes of a mounted tree, as people and programs make them; the same for the same seed.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use icecore::testkit::dice::Dice;
use nix::unistd::syncfs;

use crate::world::noise;

const CHANGES: u64 = 60;
/// One of each in a turn.
const KINDS: u64 = 12;

/// Files and directories that may be changed.
struct Tree {
    files: Vec<PathBuf>,
    folders: Vec<PathBuf>,
}

impl Tree {
    fn of(mount: &Path) -> Self {
        let mut tree = Self { files: Vec::new(), folders: vec![mount.to_path_buf()] };
        let mut at = 0;
        while let Some(folder) = tree.folders.get(at).cloned() {
            let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
            entries.sort();
            for path in entries.into_iter().filter(|path| !path.ends_with("lost+found")) {
                let kind = fs::symlink_metadata(&path).unwrap().file_type();
                if kind.is_dir() {
                    tree.folders.push(path);
                } else if kind.is_file() {
                    tree.files.push(path);
                }
            }
            at += 1;
        }
        tree
    }
}

/// Makes some dozens of changes of every kind.
pub fn change(mount: &Path, seed: u64) {
    let dice = Dice::new(seed);
    let made = (0..CHANGES / KINDS).map(|turn| {
        let tree = Tree::of(mount);
        (turn * KINDS..(turn + 1) * KINDS).filter(|number| one(&tree, &dice, seed, *number).is_ok()).count() as u64
    });
    let made = made.sum::<u64>();
    // What the same turn took away cannot be changed again.
    assert!(made > CHANGES / 2, "{made} of {CHANGES} changes were made");
}

/// Everything is on disk, or in the journal.
pub fn sync(mount: &Path) {
    syncfs(File::open(mount).unwrap()).unwrap();
}

fn one(tree: &Tree, dice: &Dice, seed: u64, number: u64) -> io::Result<()> {
    let file = &tree.files[dice.index(tree.files.len())];
    let folder = &tree.folders[dice.index(tree.folders.len())];
    let new = folder.join(new_name(seed, number));
    match number % KINDS {
        0 => fs::write(new, noise(dice.index(20_000), seed)),
        1 => fs::remove_file(file),
        2 => fs::rename(file, new),
        3 => append(file, &noise(1 + dice.index(9_000), seed)),
        4 => fs::hard_link(file, new),
        5 => fs::set_permissions(file, Permissions::from_mode(0o600 + dice.index(64) as u32)),
        6 => symlink("somewhere", new),
        7 => replace(file, &noise(dice.index(9_000), seed)),
        8 => OpenOptions::new().write(true).open(file)?.set_len(dice.below(2_000)),
        9 => {
            fs::create_dir_all(new.join("inside"))?;
            fs::write(new.join("inside/file"), "content")
        }
        10 => fs::read_dir(folder)?.flatten().take(5).try_for_each(|entry| remove(&entry.path())),
        // Last, because much of what is known of the tree is wrong then.
        _ => fs::rename(&tree.folders[1 + dice.index(tree.folders.len() - 1)], new),
    }
}

/// Names that are no text, or hold what a line cannot.
fn new_name(seed: u64, number: u64) -> OsString {
    let mut name = format!("{seed}-{number}").into_bytes();
    match number % 5 {
        0 => name.extend(b"\xff\xfe"),
        1 => name.extend(b"\nline"),
        2 => name.extend("-ünï\u{10ff41}".bytes()),
        _ => {}
    }
    OsString::from_vec(name)
}

fn append(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut opened = OpenOptions::new().append(true).open(file)?;
    opened.write_all(bytes)?;
    // With fast commits, this is what makes one.
    opened.sync_all()
}

fn replace(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = file.with_file_name("being written");
    fs::write(&beside, bytes)?;
    fs::rename(beside, file)
}

fn remove(path: &Path) -> io::Result<()> {
    let kind = fs::symlink_metadata(path)?.file_type();
    if !kind.is_dir() {
        return fs::remove_file(path);
    }
    // A turn must leave something for the next.
    let is_small = fs::read_dir(path)?.count() < 4;
    if is_small { fs::remove_dir_all(path) } else { Ok(()) }
}
