//! A directory as the target: opened once, and nothing is ever made outside it.
//!
//! Every name is one step from a directory that is open already, made exclusively, and never followed. A directory is entered by a call
//! that refuses symbolic links, and hard links find their first name by one that cannot leave the target. So neither what an image
//! holds nor what somebody changes meanwhile leads anywhere else.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, open, openat2, renameat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, geteuid, linkat, symlinkat, syncfs, unlinkat};

use super::Destination;
use super::attributes::Attributes;
use super::refusal::Refusal::Here;
use super::refusal::{Refusal, Remarks, system, system_error};
use super::special::make_node;
use crate::base::extent::{Extent, ExtentSet};
use crate::filesystem::{Spot, is_plain_name, printable};
use crate::job::JobError;

/// Until a file is complete, nobody else reads it.
pub(super) const PRIVATE_FILE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);
/// The same for a directory.
const PRIVATE_DIRECTORY: Mode = Mode::S_IRWXU;
/// What a replacement is called until it is complete.
const UNFINISHED: &str = ".icecore-unfinished-";

/// How to fill a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirectoryOptions {
    /// Replace files that are there.
    pub force: bool,
}

/// A directory that is being filled.
#[derive(Debug)]
pub struct DirectoryTarget {
    root: OwnedFd,
    options: DirectoryOptions,
    /// Only root may give files away.
    owners: bool,
    /// From the first directory inside the root to the innermost.
    open: Vec<Opened>,
    file: Option<Unfinished>,
    replaced: u64,
}

#[derive(Debug)]
struct Opened {
    directory: OwnedFd,
    /// What to give it at the end; nothing if it was there before.
    attributes: Option<Attributes>,
}

#[derive(Debug)]
struct Unfinished {
    file: File,
    made_as: CString,
}

impl DirectoryTarget {
    /// Opens `path`, which must be a directory.
    pub fn open(path: &Path, options: DirectoryOptions) -> Result<Self, JobError> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let root = open(path, flags, Mode::empty()).map_err(|errno| JobError::Target {
            act: "open",
            path: path.display().to_string(),
            source: errno.into(),
            advice: "name a directory that exists, or a new name in one",
        })?;
        Ok(Self { root, options, owners: geteuid().is_root(), open: Vec::new(), file: None, replaced: 0 })
    }

    /// True when owners are kept.
    #[must_use]
    pub fn keeps_owners(&self) -> bool {
        self.owners
    }

    fn top(&self) -> &OwnedFd {
        self.open.last().map_or(&self.root, |opened| &opened.directory)
    }

    /// The name under which something is made: its own, or one to be replaced by it.
    fn make_as(&mut self, name: &CString) -> Result<CString, Refusal> {
        if !self.options.force {
            return Ok(name.clone());
        }
        self.replaced += 1;
        CString::new(format!("{UNFINISHED}{}", self.replaced)).map_err(|error| Here(error.to_string()))
    }

    /// Gives what was made its name; if that cannot be, removes it.
    fn settle(&self, spot: &Spot<'_>, made_as: &CString, name: &CString) -> Result<(), Refusal> {
        if made_as == name {
            return Ok(());
        }
        renameat(self.top(), made_as.as_c_str(), self.top(), name.as_c_str()).map_err(|errno| {
            let refusal = system("replace it", &spot.path(), errno);
            self.remove(made_as);
            refusal
        })
    }

    fn remove(&self, made_as: &CString) {
        // It was made a moment ago; whoever removed it since did the same.
        let _gone_already = unlinkat(self.top(), made_as.as_c_str(), UnlinkatFlags::NoRemoveDir);
    }

    /// Makes something that is complete at once, and gives it its attributes.
    fn make(
        &mut self,
        spot: &Spot<'_>,
        act: &'static str,
        make: impl FnOnce(&OwnedFd, &CString) -> Result<(), Errno>,
        apply: impl FnOnce(&OwnedFd, &CString) -> Remarks,
    ) -> Result<Remarks, Refusal> {
        let name = checked(spot.name)?;
        let made_as = self.make_as(&name)?;
        make(self.top(), &made_as).map_err(|errno| system(act, &spot.path(), errno))?;
        let remarks = apply(self.top(), &made_as);
        self.settle(spot, &made_as, &name)?;
        Ok(remarks)
    }
}

impl Destination for DirectoryTarget {
    fn enter(&mut self, spot: &Spot<'_>, attributes: &Attributes) -> Result<Remarks, Refusal> {
        if self.open.is_empty() && spot.name.is_empty() {
            let directory = self.root.try_clone().map_err(|error| system_error("open the target", b"", &error))?;
            self.open.push(Opened { directory, attributes: None });
            return Ok(Remarks::default());
        }
        let name = checked(spot.name)?;
        let is_new = match mkdirat(self.top(), name.as_c_str(), PRIVATE_DIRECTORY) {
            Ok(()) => true,
            Err(Errno::EEXIST) => false,
            Err(errno) => return Err(system("make the directory", &spot.path(), errno)),
        };
        let directory = open_directory(self.top(), &name, OFlag::O_RDONLY).map_err(|errno| match errno {
            Errno::ELOOP | Errno::ENOTDIR => Here("something that is no directory is there already".to_owned()),
            errno => system("open the directory", &spot.path(), errno),
        })?;
        let attributes = is_new.then(|| attributes.clone());
        self.open.push(Opened { directory, attributes });
        Ok(Remarks::default())
    }

    fn leave(&mut self) -> Result<Remarks, Refusal> {
        let Some(Opened { directory, attributes }) = self.open.pop() else { return Ok(Remarks::default()) };
        Ok(attributes.map_or_else(Remarks::default, |attributes| attributes.apply(&directory, self.owners)))
    }

    fn begin(
        &mut self,
        spot: &Spot<'_>,
        _attributes: &Attributes,
        size: u64,
        _written: Option<ExtentSet>,
    ) -> Result<Remarks, Refusal> {
        let made_as = self.make_as(&checked(spot.name)?)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let how = OpenHow::new().flags(flags).mode(PRIVATE_FILE).resolve(beneath());
        let file = openat2(self.top(), made_as.as_c_str(), how).map_err(|errno| system("make the file", &spot.path(), errno))?;
        let file = File::from(file);
        let sized = file.set_len(size).map_err(|error| system_error("size the file", &spot.path(), &error));
        self.file = Some(Unfinished { file, made_as });
        match sized {
            Ok(()) => Ok(Remarks::default()),
            Err(refusal) => Err(self.give_up(spot, refusal)),
        }
    }

    fn write(&mut self, extent: Extent, bytes: &[u8]) -> Result<(), Refusal> {
        let Some(Unfinished { file, made_as }) = &self.file else { return Err(Here("no file is open".to_owned())) };
        file.write_all_at(bytes, extent.offset).map_err(|error| system_error("write the file", made_as.as_bytes(), &error))
    }

    fn end(&mut self, spot: &Spot<'_>, attributes: &Attributes) -> Result<Remarks, Refusal> {
        let Some(Unfinished { file, made_as }) = self.file.take() else { return Err(Here("no file is open".to_owned())) };
        let remarks = attributes.apply(&file, self.owners);
        self.settle(spot, &made_as, &checked(spot.name)?)?;
        Ok(remarks)
    }

    fn give_up(&mut self, _spot: &Spot<'_>, why: Refusal) -> Refusal {
        if let Some(Unfinished { made_as, .. }) = self.file.take() {
            self.remove(&made_as);
        }
        why
    }

    fn link(&mut self, spot: &Spot<'_>, _attributes: &Attributes, first: &[u8]) -> Result<(), Refusal> {
        let (parent, first_name) = split(first);
        let first_name = checked(first_name)?;
        let found = if parent.is_empty() {
            self.root.try_clone().map_err(|_| Errno::EMFILE)
        } else {
            CString::new(parent).map_err(|_| Errno::EINVAL).and_then(|parent| open_directory(&self.root, &parent, OFlag::O_PATH))
        };
        let directory = found.map_err(|errno| system("find its first name", &spot.path(), errno))?;
        let make =
            |top: &OwnedFd, made_as: &CString| linkat(&directory, first_name.as_c_str(), top, made_as.as_c_str(), AtFlags::empty());
        self.make(spot, "make the hard link", make, |_, _| Remarks::default()).map(drop)
    }

    fn symlink(&mut self, spot: &Spot<'_>, attributes: &Attributes, target: &[u8]) -> Result<Remarks, Refusal> {
        let target = CString::new(target).map_err(|_| Here("its target holds a NUL".to_owned()))?;
        let owners = self.owners;
        let make = |top: &OwnedFd, made_as: &CString| symlinkat(target.as_c_str(), top, made_as.as_c_str());
        self.make(spot, "make the symbolic link", make, |top, made_as| attributes.apply_at(top, made_as, owners))
    }

    fn special(&mut self, spot: &Spot<'_>, attributes: &Attributes) -> Result<Remarks, Refusal> {
        let owners = self.owners;
        let make = |top: &OwnedFd, made_as: &CString| make_node(top, made_as, attributes.kind);
        self.make(spot, "make the node", make, |top, made_as| attributes.apply_at(top, made_as, owners))
    }

    fn finish(&mut self) -> Result<(), JobError> {
        syncfs(self.root.as_fd()).map_err(|errno| JobError::Target {
            act: "sync",
            path: "the target".to_owned(),
            source: errno.into(),
            advice: "what was written may not last; run it again to another target",
        })
    }
}

fn beneath() -> ResolveFlag {
    ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS
}

fn open_directory(from: &OwnedFd, path: &CString, how: OFlag) -> Result<OwnedFd, Errno> {
    let flags = how | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat2(from, path.as_c_str(), OpenHow::new().flags(flags).resolve(beneath()))
}

/// The last look at a name before it reaches the system.
fn checked(name: &[u8]) -> Result<CString, Refusal> {
    let plain = is_plain_name(name).then(|| CString::new(name).ok()).flatten();
    plain.ok_or_else(|| Here(format!("{:?} is not a name that a directory may hold", printable(name))))
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (path.get(..at).unwrap_or_default(), path.get(at + 1..).unwrap_or_default()),
        None => (b"", path),
    }
}
