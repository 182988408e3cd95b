//! A second opinion on a file system: every path as the kernel's mount shows it, and as our reader does.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Debug;
use std::fs::{self, File, Metadata};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirEntryExt, FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::sys::stat::{major, minor};
use nix::unistd::{Whence, lseek};
use rustix::fs::{lgetxattr, llistxattr};

use crate::base::extent::Extent;
use crate::filesystem::{FileKind, FileTime, Filesystem, FilesystemError, Inode, InodeNumber, Source};

/// How much of a file is compared at once.
const PIECE_BYTES: u64 = 1 << 20;
/// What an attribute and a list of their names can be at most.
const XATTR_BYTES: usize = 64 << 10;
/// More differences say nothing new.
const ENOUGH: usize = 50;

/// What can be expected to be equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Likeness {
    /// The same file system, mounted.
    Same,
    /// A folder from which the file system was filled: inode numbers, times and space differ.
    Copy,
}

/// What differs between a mount of a file system and `ours`; empty when nothing does. At most 50 lines.
#[must_use]
pub fn compare(mount: &Path, ours: &dyn Filesystem) -> Vec<String> {
    walk(mount, ours, Likeness::Same)
}

/// The same for a folder that a file system was made from: times, inode numbers and space taken are not compared.
#[must_use]
pub fn compare_copy(folder: &Path, ours: &dyn Filesystem) -> Vec<String> {
    walk(folder, ours, Likeness::Copy)
}

fn walk(mount: &Path, ours: &dyn Filesystem, likeness: Likeness) -> Vec<String> {
    let mut walk = Walk { ours, likeness, differences: Vec::new() };
    let root = ours.root();
    let mut waiting = vec![(mount.to_owned(), root)];
    while let Some((path, number)) = waiting.pop() {
        if walk.differences.len() >= ENOUGH {
            break;
        }
        match walk.visit(&path, number) {
            Ok(children) => waiting.extend(children),
            Err(error) => walk.differences.push(format!("{}: {error}", path.display())),
        }
    }
    walk.differences
}

struct Walk<'a> {
    ours: &'a dyn Filesystem,
    likeness: Likeness,
    differences: Vec<String>,
}

impl Walk<'_> {
    /// Compares one object and says which ones are below it.
    fn visit(&mut self, path: &Path, number: InodeNumber) -> io::Result<Vec<(PathBuf, InodeNumber)>> {
        let theirs = fs::symlink_metadata(path)?;
        let inode = self.ours.inode(number).map_err(io::Error::other)?;
        self.stat(path, &theirs, &inode);
        self.attributes(path, &inode)?;
        match inode.kind {
            FileKind::Directory if theirs.is_dir() => return self.names(path, &inode),
            FileKind::Regular if theirs.is_file() => self.content(path, &theirs, &inode)?,
            FileKind::Symlink if theirs.is_symlink() => {
                let target = fs::read_link(path)?.into_os_string().into_vec();
                let found = self.ours.link_target(&inode).map_err(io::Error::other)?;
                self.equal(path, "target", String::from_utf8_lossy(&target), String::from_utf8_lossy(&found));
            }
            _ => {}
        }
        Ok(Vec::new())
    }

    fn equal<T: PartialEq + Debug>(&mut self, path: &Path, what: &str, theirs: T, ours: T) {
        if theirs != ours {
            self.differences.push(format!("{}: {what} is {theirs:?}, we say {ours:?}", path.display()));
        }
    }

    fn stat(&mut self, path: &Path, theirs: &Metadata, ours: &Inode) {
        self.equal(path, "kind", kind(theirs), Some(ours.kind));
        self.equal(path, "mode", theirs.mode() & 0o7777, u32::from(ours.mode));
        self.equal(path, "owner", (theirs.uid(), theirs.gid()), (ours.uid, ours.gid));
        if !ours.is_directory() || self.likeness == Likeness::Same {
            self.equal(path, "size", theirs.len(), ours.size);
        }
        if self.likeness == Likeness::Copy {
            return;
        }
        self.equal(path, "links", theirs.nlink(), u64::from(ours.links));
        self.equal(path, "inode", theirs.ino(), ours.number.0);
        self.equal(path, "sectors", theirs.blocks(), ours.sectors);
        self.equal(path, "accessed", (theirs.atime(), theirs.atime_nsec()), pair(ours.accessed));
        self.equal(path, "modified", (theirs.mtime(), theirs.mtime_nsec()), pair(ours.modified));
        self.equal(path, "changed", (theirs.ctime(), theirs.ctime_nsec()), pair(ours.changed));
        let created = theirs.created().ok().and_then(since_epoch);
        self.equal(path, "created", created, ours.created.map(pair));
    }

    fn attributes(&mut self, path: &Path, inode: &Inode) -> io::Result<()> {
        let theirs = attributes_of(path)?;
        let ours = self.ours.xattrs(inode).map_err(io::Error::other)?;
        let ours: Vec<_> = ours.into_iter().map(|xattr| (xattr.name, xattr.value)).collect();
        if theirs != ours {
            let show = |list: &[(Vec<u8>, Vec<u8>)]| {
                list.iter().map(|(name, value)| format!("{}[{}]", String::from_utf8_lossy(name), value.len())).collect::<Vec<_>>()
            };
            self.differences.push(format!("{}: attributes are {:?}, we say {:?}", path.display(), show(&theirs), show(&ours)));
        }
        Ok(())
    }

    fn names(&mut self, path: &Path, inode: &Inode) -> io::Result<Vec<(PathBuf, InodeNumber)>> {
        let ours = names_of(self.ours, inode).map_err(io::Error::other)?;
        let mut theirs = BTreeMap::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            theirs.insert(entry.file_name().into_vec(), entry.ino());
        }
        for name in ours.keys().filter(|name| !theirs.contains_key(*name)) {
            let name = String::from_utf8_lossy(name);
            let invented = self.likeness == Likeness::Same || name != "lost+found";
            if invented {
                self.differences.push(format!("{}: we invent {name:?}", path.display()));
            }
        }
        let mut children = Vec::new();
        for (name, number) in theirs {
            let Some(found) = ours.get(&name) else {
                self.differences.push(format!("{}: we miss {:?}", path.display(), String::from_utf8_lossy(&name)));
                continue;
            };
            if self.likeness == Likeness::Same {
                self.equal(path, "number of a name", number, found.0);
            }
            children.push((path.join(OsString::from_vec(name)), *found));
        }
        Ok(children)
    }

    /// Compares the bytes wherever one side has some; both sides call the rest a hole.
    fn content(&mut self, path: &Path, theirs: &Metadata, inode: &Inode) -> io::Result<()> {
        let file = File::open(path)?;
        for piece in Extent::new(0, theirs.len().min(inode.size)).cut(PIECE_BYTES) {
            let here = has_data(&file, piece)?;
            if (here || self.maps_data(inode, piece)?) && !self.piece_is_equal(&file, inode, piece)? {
                self.differences.push(format!("{}: content differs in {piece}", path.display()));
                return Ok(());
            }
        }
        let odd = Extent::between(inode.size / 3, (inode.size / 3 + 777).min(inode.size));
        if !self.piece_is_equal(&file, inode, odd)? {
            self.differences.push(format!("{}: content differs in {odd}", path.display()));
        }
        Ok(())
    }

    fn maps_data(&self, inode: &Inode, piece: Extent) -> io::Result<bool> {
        let segments = self.ours.map(inode, piece).map_err(io::Error::other)?;
        Ok(segments.iter().any(|segment| !matches!(segment.source, Source::Hole | Source::Unwritten(_))))
    }

    fn piece_is_equal(&self, file: &File, inode: &Inode, piece: Extent) -> io::Result<bool> {
        let length = usize::try_from(piece.length).map_err(io::Error::other)?;
        let (mut theirs, mut ours) = (vec![0; length], vec![0xAA; length]);
        file.read_exact_at(&mut theirs, piece.offset)?;
        let filled = self.ours.read(inode, piece.offset, &mut ours).map_err(io::Error::other)?;
        Ok(filled == length && theirs == ours)
    }
}

/// The names of a directory; one that comes twice is an error.
fn names_of(ours: &dyn Filesystem, directory: &Inode) -> Result<BTreeMap<Vec<u8>, InodeNumber>, FilesystemError> {
    let mut names = BTreeMap::new();
    let mut twice = None;
    ours.list(directory, &mut |entry| match names.insert(entry.name.clone(), entry.inode) {
        Some(_) => {
            twice = Some(entry.name);
            ControlFlow::Break(())
        }
        None => ControlFlow::Continue(()),
    })?;
    match twice {
        Some(name) => Err(FilesystemError::NotFound { path: format!("{:?} comes twice", String::from_utf8_lossy(&name)) }),
        None => Ok(names),
    }
}

fn has_data(file: &File, piece: Extent) -> io::Result<bool> {
    let offset = i64::try_from(piece.offset).map_err(io::Error::other)?;
    match lseek(file, offset, Whence::SeekData) {
        Ok(found) => Ok(u64::try_from(found).is_ok_and(|found| found < piece.end())),
        Err(Errno::ENXIO) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn attributes_of(path: &Path) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut list = vec![0; XATTR_BYTES];
    let length = llistxattr(path, &mut list)?;
    list.truncate(length);
    let mut attributes = Vec::new();
    // XFS shows root how it keeps access lists, beside the lists themselves.
    let shown = |name: &&[u8]| !name.is_empty() && !name.starts_with(b"trusted.SGI_ACL_");
    for name in list.split(|byte| *byte == 0).filter(shown) {
        let mut value = vec![0; XATTR_BYTES];
        let length = lgetxattr(path, OsStr::from_bytes(name), &mut value)?;
        value.truncate(length);
        attributes.push((name.to_vec(), value));
    }
    attributes.sort();
    Ok(attributes)
}

fn kind(theirs: &Metadata) -> Option<FileKind> {
    let file_type = theirs.file_type();
    let device = || (major(theirs.rdev()) as u32, minor(theirs.rdev()) as u32);
    Some(match file_type {
        _ if file_type.is_file() => FileKind::Regular,
        _ if file_type.is_dir() => FileKind::Directory,
        _ if file_type.is_symlink() => FileKind::Symlink,
        _ if file_type.is_fifo() => FileKind::Fifo,
        _ if file_type.is_socket() => FileKind::Socket,
        _ if file_type.is_char_device() => FileKind::CharacterDevice { major: device().0, minor: device().1 },
        _ if file_type.is_block_device() => FileKind::BlockDevice { major: device().0, minor: device().1 },
        _ => return None,
    })
}

fn pair(time: FileTime) -> (i64, i64) {
    (time.seconds, i64::from(time.nanoseconds))
}

fn since_epoch(time: SystemTime) -> Option<(i64, i64)> {
    let after = time.duration_since(UNIX_EPOCH).ok()?;
    Some((i64::try_from(after.as_secs()).ok()?, i64::from(after.subsec_nanos())))
}
