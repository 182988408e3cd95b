//! A flipped bit in any verified structure is an error that names the structure, and never another answer.

use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::sync::Arc;

use icecore::base::extent::Extent;
use icecore::filesystem::{self, Filesystem, FilesystemError, Inode, Object, Source};
use icecore::testkit::contents::random_bytes;
use icecore::testkit::image::{Image, run};
use icecore::testkit::volume::MemoryVolume;
use tempfile::TempDir;

use crate::MIB;

/// A small file system with one of everything that has a checksum.
fn image() -> Vec<u8> {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("file"), random_bytes(9_000, 1)).unwrap();
    fs::create_dir(folder.path().join("folder")).unwrap();
    let image = Image::make(8 * MIB, "mkfs.ext4", &["-q", "-F", "-b", "1024", "-d", folder.path().to_str().unwrap()]).unwrap();
    // A tree of extents that does not fit in an inode, and attributes that do not either.
    let mut requests = String::from("write /dev/null scattered\n");
    for block in 0..20 {
        requests += &format!("fallocate scattered {0} {0}\n", block * 2);
    }
    requests += "set_inode_field scattered size 40000\n";
    requests += &format!("ea_set file user.long {}\nea_set file user.too {}\n", "v".repeat(300), "w".repeat(300));
    for number in 0..60 {
        requests += &format!("symlink folder/{number}{} target\n", "n".repeat(40));
    }
    let script = folder.path().join("requests");
    fs::write(&script, requests).unwrap();
    run(Command::new("debugfs").arg("-w").arg("-f").arg(&script).arg(image.path())).unwrap();
    run(Command::new("e2fsck").args(["-f", "-y", "-D"]).arg(image.path())).or_else(tolerate_repairs).unwrap();
    fs::read(image.path()).unwrap()
}

/// `e2fsck` says 1 when it made an index.
fn tolerate_repairs(error: io::Error) -> io::Result<()> {
    if error.to_string().contains("e2fsck 1.4") { Ok(()) } else { Err(error) }
}

fn open(bytes: Vec<u8>) -> Result<Box<dyn Filesystem>, FilesystemError> {
    filesystem::open(Arc::new(MemoryVolume::new(bytes)))
}

fn named(ours: &dyn Filesystem, name: &str) -> Result<Inode, FilesystemError> {
    let root = ours.inode(ours.root())?;
    ours.inode(ours.lookup(&root, name.as_bytes())?.expect("it is there").inode)
}

/// Reads everything that the small file system has.
fn read_all(ours: &dyn Filesystem) -> Result<(), FilesystemError> {
    for name in ["file", "scattered", "folder"] {
        let inode = named(ours, name)?;
        ours.xattrs(&inode)?;
        ours.map(&inode, Extent::new(0, 1 << 20))?;
        if inode.is_directory() {
            ours.list(&inode, &mut |_| ControlFlow::Continue(()))?;
        }
    }
    Ok(())
}

/// Where the blocks of a file lie.
fn blocks(ours: &dyn Filesystem, inode: &Inode) -> Vec<u64> {
    let segments = ours.map(inode, Extent::new(0, inode.size)).unwrap();
    let starts = segments.iter().filter_map(|segment| match segment.source {
        Source::Disk(at) => Some(Extent::new(at, segment.extent.length)),
        _ => None,
    });
    starts.flat_map(|extent| extent.cut(1024)).map(|block| block.offset).collect()
}

/// A number that `debugfs` prints after some words.
fn debugfs(bytes: &[u8], request: &str, words: &str) -> u64 {
    let folder = TempDir::new().unwrap();
    let image = folder.path().join("image");
    File::create(&image).unwrap().write_all_at(bytes, 0).unwrap();
    let output = Command::new("debugfs").args(["-R", request]).arg(&image).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let after = text.split(words).nth(1).unwrap_or_else(|| panic!("{words} not in {text}"));
    after.split(|letter: char| !letter.is_ascii_digit()).next().unwrap().parse().unwrap()
}

#[test]
fn a_flipped_bit_is_named_by_its_structure_and_byte() {
    let bytes = image();
    let ours = open(bytes.clone()).unwrap();
    read_all(&*ours).unwrap();
    let (file, scattered, folder) =
        (named(&*ours, "file").unwrap(), named(&*ours, "scattered").unwrap(), named(&*ours, "folder").unwrap());
    let check = |at: u64, object: Object, place: u64| {
        let mut flipped = bytes.clone();
        flipped[at as usize] ^= 0x04;
        let said = open(flipped).and_then(|ours| read_all(&*ours));
        let Err(FilesystemError::Corrupt { object: found, at: where_found, .. }) = &said else { panic!("byte {at}: {said:?}") };
        assert_eq!((*found, *where_found), (object, place), "byte {at}: {said:?}");
    };
    check(1024 + 300, Object::Superblock, 1024);
    check(2048 + 60, Object::Group(0), 2048);
    for inode in [&file, &scattered, &folder] {
        let place = ours.inode_location(inode.number).unwrap();
        check(place.offset + 70, Object::Inode(inode.number.0), place.offset);
        check(place.end() - 1, Object::Inode(inode.number.0), place.offset);
    }
    let directory = blocks(&*ours, &folder);
    assert!(directory.len() > 3, "the folder has an index");
    for block in directory {
        check(block + 13, Object::Directory(folder.number.0), block);
        check(block + 1023, Object::Directory(folder.number.0), block);
    }
    let node = debugfs(&bytes, "stat scattered", "(ETB0):") * 1024;
    for at in [3, 200, 1023] {
        check(node + at, Object::Map(scattered.number.0), node);
    }
    let attributes = debugfs(&bytes, "stat file", "File ACL: ") * 1024;
    for at in [5, 40, 1000] {
        check(attributes + at, Object::Attributes(file.number.0), attributes);
    }
}
