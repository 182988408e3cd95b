//! XFS of version 4, which kernels no longer mount, reads back as the folder that mkfs filled it from.
#![allow(missing_docs, clippy::unwrap_used, reason = "helpers of tests may fail loudly; tests are read by their names")]

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use icecore::filesystem::{Filesystem, Inode, View, Xattr, Xfs};
use icecore::testkit;
use icecore::testkit::contents::random_bytes;
use icecore::testkit::differential::compare_copy;
use icecore::testkit::image::{Image, run};
use prototype::make;
use tempfile::TempDir;

#[path = "filesystem_xfs/prototype.rs"]
mod prototype;

const VARIANTS: &[&[&str]] = &[
    &["-m", "crc=0"],
    &["-m", "crc=0", "-n", "ftype=0"],
    &["-m", "crc=0", "-b", "size=512", "-n", "size=4096"],
    &["-m", "crc=0", "-b", "size=1024", "-i", "size=512"],
    &["-m", "crc=0", "-n", "size=16384", "-i", "size=2048"],
    &["-m", "crc=0", "-s", "size=4096", "-l", "version=2"],
];

/// A folder with everything that a prototype of mkfs can describe.
fn fill(folder: &Path) -> io::Result<()> {
    for (name, files, bytes) in [("sizes", 40, 5_000), ("few", 3, 10), ("wide", 2_500, 3), ("large", 2, 3_000_000)] {
        fs::create_dir(folder.join(name))?;
        for number in 0..files {
            let content = random_bytes(bytes * (number % 40), number as u64);
            fs::write(folder.join(name).join(format!("a.file.{number:05}")), content)?;
        }
    }
    let deep = folder.join("deep/".repeat(30));
    fs::create_dir_all(&deep)?;
    fs::write(deep.join("bottom"), b"here")?;
    for length in [1, 60, 155, 156, 157, 300, 500, 900, 1_023] {
        symlink("t".repeat(length), folder.join(format!("link.{length}")))?;
    }
    Ok(())
}

fn open(image: &Image) -> Xfs {
    Xfs::open(Arc::new(image.source().unwrap())).unwrap()
}

#[test]
fn every_variant_is_shown_as_the_folder_it_was_made_from() {
    let folder = TempDir::new().unwrap();
    fill(folder.path()).unwrap();
    for arguments in VARIANTS {
        let Some(image) = make(folder.path(), arguments) else { return testkit::skip("mkfs.xfs makes no version 4") };
        let xfs = open(&image);
        assert_eq!(*xfs.view(), View::Clean, "{arguments:?}");
        let differences = compare_copy(folder.path(), &xfs);
        assert!(differences.is_empty(), "{arguments:?}:\n{}", differences.join("\n"));
        assert_eq!(xfs.allocation().doubts, [], "{arguments:?}");
    }
}

/// Sets attributes with `xfs_db`, whose values are the letter `v`.
fn set(image: &Image, inode: &Inode, attributes: &[(String, usize)]) {
    let mut command = Command::new("xfs_db");
    command.args(["-x", "-c", &format!("inode {}", inode.number.0)]);
    for (name, length) in attributes {
        let flag = name.split('.').next().map_or("-u", |space| if space == "user" { "-u" } else { "-r" });
        let name = name.split_once('.').unwrap().1;
        command.args(["-c", &format!("attr_set {flag} -v {length} {name}")]);
    }
    run(command.arg(image.path())).unwrap();
}

#[test]
fn attributes_are_shown_in_every_form() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("file"), b"x").unwrap();
    let forms: [Vec<(String, usize)>; 4] = [
        vec![("user.short".to_owned(), 20), ("trusted.short".to_owned(), 5)],
        (0..20).map(|number| (format!("user.leaf.{number:03}"), 10 + number)).collect(),
        vec![("user.long".to_owned(), 20_000), ("trusted.longest".to_owned(), 65_536)],
        (0..200).map(|number| (format!("user.node.{number:03}"), 40)).collect(),
    ];
    for arguments in &VARIANTS[..4] {
        let Some(image) = make(folder.path(), arguments) else { return testkit::skip("mkfs.xfs makes no version 4") };
        let mut expected = Vec::new();
        for form in &forms {
            let xfs = open(&image);
            let root = xfs.inode(xfs.root()).unwrap();
            let number = xfs.lookup(&root, b"file").unwrap().unwrap().inode;
            set(&image, &xfs.inode(number).unwrap(), form);
            expected.extend(form.iter().map(|(name, length)| Xattr { name: name.clone().into(), value: vec![b'v'; *length] }));
            expected.sort_by(|a, b| a.name.cmp(&b.name));
            let xfs = open(&image);
            let found = xfs.xattrs(&xfs.inode(number).unwrap()).unwrap();
            let names = |list: &[Xattr]| list.iter().map(|xattr| (xattr.name.clone(), xattr.value.len())).collect::<Vec<_>>();
            assert_eq!(names(&found), names(&expected), "{arguments:?}");
            assert_eq!(found, expected, "{arguments:?}");
        }
    }
}
