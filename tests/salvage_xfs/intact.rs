//! Intact XFS volumes to damage: filled through a mount, or by mkfs where no kernel mounts them any more.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::sync::Arc;

use icecore::base::io::ReadAt;
use icecore::filesystem::{InodeNumber, Wreck, Xfs, salvage};
use icecore::testkit::contents::random_bytes;
use icecore::testkit::damage::{Anatomy, Damage};
use icecore::testkit::image::Image;
use icecore::testkit::tree::populate;
use tempfile::TempDir;

use crate::parts::{Cut, anatomy};
use crate::prototype;

pub(crate) const VERSION_5: &[(u64, &[&str])] = &[
    (320, &[]),
    (320, &["-b", "size=1024"]),
    (1280, &["-d", "agcount=16"]),
    (320, &["-m", "rmapbt=1,reflink=1", "-i", "nrext64=1"]),
    (320, &["-n", "size=16384", "-i", "size=1024"]),
    (320, &["-s", "size=4096"]),
];
pub(crate) const VERSION_4: &[&[&str]] =
    &[&["-m", "crc=0"], &["-m", "crc=0", "-n", "ftype=0"], &["-m", "crc=0", "-i", "size=256", "-b", "size=1024"]];
/// An intact volume, and where everything lies in it.
pub(crate) struct Intact {
    pub(crate) what: String,
    pub(crate) source: Arc<dyn ReadAt>,
    pub(crate) xfs: Xfs,
    pub(crate) cut: Cut,
    pub(crate) anatomy: Anatomy,
    /// Inodes that were there once.
    pub(crate) gone: BTreeSet<InodeNumber>,
    _image: Image,
}

impl Intact {
    pub(crate) fn of(image: Image, what: String) -> Self {
        let source: Arc<dyn ReadAt> = Arc::new(image.source().unwrap());
        let xfs = Xfs::open(Arc::clone(&source)).unwrap();
        let (cut, anatomy) = (Cut::of(&*source), anatomy(&*source, &xfs));
        Self { what, source, xfs, cut, anatomy, gone: BTreeSet::new(), _image: image }
    }

    pub(crate) fn wreck(&self, damage: &Damage) -> Box<dyn Wreck> {
        salvage(Arc::new(damage.done_to(Arc::clone(&self.source)))).unwrap_or_else(|error| panic!("{}: {error}", self.what))
    }
}

/// Files that will go again.
pub(crate) fn come(mount: &Path) {
    let folder = mount.join("gone");
    fs::create_dir(&folder).unwrap();
    for number in 0..1_500 {
        fs::write(folder.join(format!("{number}")), random_bytes(number % 300, number as u64)).unwrap();
    }
}

/// Removes them; says which inodes they had. Whole chunks of inodes become free, and on disk keep their looks.
pub(crate) fn go(mount: &Path) -> BTreeSet<InodeNumber> {
    let folder = mount.join("gone");
    let number = |entry: fs::DirEntry| InodeNumber(entry.metadata().unwrap().ino());
    let gone = fs::read_dir(&folder).unwrap().map(|entry| number(entry.unwrap())).collect();
    fs::remove_dir_all(folder).unwrap();
    gone
}

pub(crate) fn version_5(index: usize) -> Option<Intact> {
    let (mebibytes, arguments) = VERSION_5[index];
    let image = Image::make(mebibytes << 20, "mkfs.xfs", &[&["-q", "-f"], arguments].concat()).ok()?;
    let mounted = image.mount("").ok()?;
    come(mounted.point());
    populate(mounted.point(), 77 + index as u64).unwrap();
    // Only an unmount writes inodes in place: what is removed before was never there.
    drop(mounted);
    let mounted = image.mount("").ok()?;
    let gone = go(mounted.point());
    drop(mounted);
    Some(Intact { gone, ..Intact::of(image, format!("{arguments:?}")) })
}

pub(crate) fn version_4(index: usize) -> Option<Intact> {
    let folder = TempDir::new().unwrap();
    for (name, files, bytes) in [("sizes", 40, 5_000), ("wide", 1_500, 3), ("large", 2, 3_000_000)] {
        fs::create_dir(folder.path().join(name)).unwrap();
        for number in 0..files {
            let content = random_bytes(bytes * (number % 40), number as u64);
            fs::write(folder.path().join(name).join(format!("a.file.{number:05}")), content).unwrap();
        }
    }
    let deep = folder.path().join("deep/".repeat(30));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("bottom"), b"here").unwrap();
    for length in [1, 100, 700] {
        symlink("t".repeat(length), folder.path().join(format!("link.{length}"))).unwrap();
    }
    let image = prototype::make(folder.path(), VERSION_4[index])?;
    Some(Intact::of(image, format!("{:?}", VERSION_4[index])))
}
