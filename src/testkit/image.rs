//! A file system made by its own tools in a temporary image, mounted by the kernel on a loop device.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::base::extent::Extent;
use crate::base::io::{IoError, ReadAt};
use crate::testkit::loop_device::LoopDevice;

/// A temporary image with a file system.
#[derive(Debug)]
pub struct Image {
    path: PathBuf,
    folder: TempDir,
}

impl Image {
    /// An image of `size` bytes that `program`, such as `mkfs.ext4`, formats with `arguments` and then the image's path.
    pub fn make(size: u64, program: &str, arguments: &[&str]) -> io::Result<Self> {
        let folder = TempDir::new()?;
        let path = folder.path().join("image");
        File::create(&path)?.set_len(size)?;
        run(Command::new(program).args(arguments).arg(&path))?;
        Ok(Self { path, folder })
    }

    /// The image.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Mounts it; an empty `options` means the defaults.
    pub fn mount(&self, options: &str) -> io::Result<Mounted> {
        let point = self.folder.path().join("mount");
        fs::create_dir_all(&point)?;
        Mounted::new(&self.path, point, options)
    }

    /// The image as a source.
    pub fn source(&self) -> io::Result<FileSource> {
        FileSource::open(&self.path)
    }
}

/// Runs a program to its end; what it says on failure becomes the error.
pub fn run(command: &mut Command) -> io::Result<()> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim())))
}

/// An image that the kernel shows; unmounted when dropped.
#[derive(Debug)]
pub struct Mounted {
    point: PathBuf,
    _device: LoopDevice,
}

impl Mounted {
    /// Mounts `image` on the folder `point`, which lets the kernel replay what it must; empty `options` mean the defaults.
    pub fn new(image: &Path, point: PathBuf, options: &str) -> io::Result<Self> {
        let device = LoopDevice::attach(image)?;
        let options = if options.is_empty() { "defaults" } else { options };
        run(Command::new("mount").args(["-o", options]).arg(device.path()).arg(&point))?;
        Ok(Self { point, _device: device })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn point(&self) -> &Path {
        &self.point
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // A mount that stays is seen by the next one at the same place, which then fails its test.
        let _left_mounted = unmount(&self.point);
    }
}

/// For as long as this, unmounting is tried again.
const UNMOUNT_TRIES: u32 = 500;
const UNMOUNT_WAIT: Duration = Duration::from_millis(20);

/// Unmounts what is mounted at `point`, and waits while it is busy.
///
/// A process that another thread has just forked holds copies of whatever is open until it runs its program. What would stay mounted would
/// be read as it is in the middle of its life.
pub fn unmount(point: &Path) -> io::Result<()> {
    let mut tries = 0;
    loop {
        tries += 1;
        match run(Command::new("umount").arg(point)) {
            Err(error) if tries < UNMOUNT_TRIES && error.to_string().contains("busy") => thread::sleep(UNMOUNT_WAIT),
            done => return done,
        }
    }
}

/// A file as a source of bytes.
#[derive(Debug)]
pub struct FileSource {
    file: File,
    size: u64,
}

impl FileSource {
    /// Opens an image.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { file, size })
    }
}

impl ReadAt for FileSource {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
        let extent = Extent::new(offset, out.len() as u64);
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > self.size) {
            return Err(IoError::OutOfRange { extent, size: self.size });
        }
        self.file.read_exact_at(out, offset).map_err(|source| IoError::Os { act: "read", extent, source })
    }
}
