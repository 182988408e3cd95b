//! Images of filesystems that stopped at once, as if the power had failed, with everything still in their journal or log.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::testkit::image::{Mounted, run};

/// What the filesystem does with its journal before it stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// Everything is written, as freezing does: the journal holds it all, much of it is in place too.
    WithEverything,
    /// The journal is written first: what was not synced is in it.
    WithLog,
    /// Nothing more is written: only what was synced is in the journal.
    WithoutLog,
}

impl Shutdown {
    /// The argument of `EXT4_IOC_SHUTDOWN` and `XFS_IOC_GOINGDOWN`, which are one and the same call.
    fn flag(self) -> u32 {
        match self {
            Self::WithEverything => 0,
            Self::WithLog => 1,
            Self::WithoutLog => 2,
        }
    }
}

/// How to make the filesystem that will crash.
#[derive(Debug, Clone, Copy)]
pub struct Recipe<'a> {
    /// The program and its arguments, without the image.
    pub mkfs: &'a [&'a str],
    /// How large the image is.
    pub size_bytes: u64,
    /// Comma-separated; empty for none.
    pub mount_options: &'a str,
    /// How it stops.
    pub shutdown: Shutdown,
}

/// An image as it lay on disk at the moment of the crash. It is deleted with its folder when dropped.
#[derive(Debug)]
pub struct CrashImage {
    folder: TempDir,
}

impl CrashImage {
    /// Makes a filesystem, mounts it, lets `work` change what is below the mount point, and crashes it.
    ///
    /// An error means that this machine cannot do it: no root, no loop device, no such program or option.
    pub fn make(recipe: &Recipe<'_>, work: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<Self> {
        let folder = TempDir::new()?;
        let (living, point) = (folder.path().join("living"), folder.path().join("mounted"));
        File::create(&living)?.set_len(recipe.size_bytes)?;
        fs::create_dir(&point)?;
        let (program, arguments) = recipe.mkfs.split_first().ok_or_else(|| io::Error::other("no program to make a filesystem"))?;
        run(Command::new(program).args(arguments).arg(&living))?;
        let made = Self { folder };
        let mounted = Mounted::new(&living, point, recipe.mount_options)?;
        work(mounted.point())?;
        shut_down(mounted.point(), recipe.shutdown)?;
        // Unmounting would write blocks in place that the crash kept back.
        run(Command::new("cp").arg("--sparse=always").arg(&living).arg(made.path()))?;
        drop(mounted);
        fs::remove_file(&living)?;
        Ok(made)
    }

    /// Where the image is.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("crashed")
    }

    /// A copy beside it, for a tool that changes what it is given.
    pub fn copy(&self, name: &str) -> io::Result<PathBuf> {
        let copy = self.folder.path().join(name);
        run(Command::new("cp").arg("--sparse=always").arg(self.path()).arg(&copy))?;
        Ok(copy)
    }
}

/// Runs lines of a shell inside a folder; the first that fails ends it.
pub fn shell(folder: &Path, lines: &str) -> io::Result<()> {
    run(Command::new("sh").args(["-e", "-c", lines]).current_dir(folder))
}

/// Stops a mounted filesystem at once. Its device keeps what lay on it, until it is unmounted.
pub fn shut_down(point: &Path, shutdown: Shutdown) -> io::Result<()> {
    const PROGRAM: &str = "import fcntl, os, struct, sys\n\
        fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', int(sys.argv[2])))";
    run(Command::new("python3").args(["-c", PROGRAM]).arg(point).arg(shutdown.flag().to_string()))
}
