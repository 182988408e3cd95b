//! Whether a filesystem may be frozen: it must have its device to itself, and nothing that this program needs.

use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::{FreezeError, FreezeSettings};
use crate::device::mounts;

pub(super) fn check(mount: &Path, directory: &File, device: &Path, settings: &FreezeSettings) -> Result<(), FreezeError> {
    let number = directory.metadata().map_err(|error| FreezeError::os("look at", mount, error))?.dev();
    let unfit = |reason: String| Err(FreezeError::Unfit { mount: mount.to_path_buf(), reason });
    let canonical = fs::canonicalize(mount).map_err(|error| FreezeError::os("resolve", mount, error))?;
    let table = fs::read_to_string("/proc/self/mountinfo").map_err(|error| FreezeError::os("read the table of", mount, error))?;
    let mounts = mounts::parse(&table);
    if !mounts.iter().any(|known| known.mount_point == canonical && known.number == number) {
        return unfit("nothing is mounted there; name the mount point itself".to_owned());
    }
    if mounts.iter().any(|known| known.mount_point == Path::new("/") && known.number == number) {
        return unfit("it is the root filesystem, without which nothing runs; take a snapshot instead".to_owned());
    }
    let block = fs::metadata(device).map_err(|error| FreezeError::os("look at", device, error))?;
    if !block.file_type().is_block_device() || block.rdev() != number {
        let reason = format!("what is mounted there is not on {} alone; back up the device that 'findmnt' names", device.display());
        return unfit(reason);
    }
    match settings.needed.iter().chain(&settings.guard).chain([&settings.journal]).find(|path| lies_on(path, number)) {
        Some(path) => unfit(format!("{} lies on it, and is needed meanwhile; keep it elsewhere", path.display())),
        None => Ok(()),
    }
}

/// Whether a path, or the nearest directory above it that exists, lies on the filesystem with this number.
fn lies_on(path: &Path, number: u64) -> bool {
    let nearest = path.ancestors().find_map(|path| fs::metadata(path).ok());
    nearest.is_some_and(|metadata| metadata.dev() == number)
}
