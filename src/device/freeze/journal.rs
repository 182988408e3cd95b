//! What is frozen, on disk, for the next start: process, when it began, mount point.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process;

use super::FreezeError;
use crate::device::kernel;

/// Longer than any path.
const MAX_ENTRY_BYTES: u64 = 8192;

/// One frozen filesystem.
#[derive(Debug)]
pub(super) struct Entry(PathBuf);

impl Entry {
    /// Remembers `mount` before it is frozen.
    pub(super) fn write(journal: &Path, mount: &Path) -> Result<Self, FreezeError> {
        fs::create_dir_all(journal).map_err(|error| FreezeError::os("make the folder", journal, error))?;
        let own = process::id();
        let mut text = format!("{own} {}\n", began(own).unwrap_or_default()).into_bytes();
        text.extend(mount.as_os_str().as_bytes());
        let path = journal.join(own.to_string());
        let written = File::create(&path).and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()));
        written.map_err(|error| FreezeError::os("write", &path, error))?;
        Ok(Self(path))
    }

    pub(super) fn clear(self) -> Result<(), FreezeError> {
        fs::remove_file(&self.0).map_err(|error| FreezeError::os("remove", &self.0, error))
    }
}

/// Thaws what processes that are gone have left frozen; gives back what that was.
pub fn thaw_left_frozen(journal: &Path) -> Result<Vec<PathBuf>, FreezeError> {
    let entries = match fs::read_dir(journal) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| FreezeError::os("read the folder", journal, error))?,
    };
    let mut thawed = Vec::new();
    for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
        let Some((process, since, mount)) = read(&path) else { continue };
        if began(process).is_some_and(|now| now == since) {
            // It lives, and so does its guard.
            continue;
        }
        match File::open(&mount).and_then(|directory| kernel::thaw(&directory)) {
            Ok(()) => thawed.push(mount),
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::NotFound) => {}
            Err(error) => return Err(FreezeError::os("thaw", &mount, error)),
        }
        fs::remove_file(&path).map_err(|error| FreezeError::os("remove", &path, error))?;
    }
    Ok(thawed)
}

fn read(path: &Path) -> Option<(u32, u64, PathBuf)> {
    if fs::metadata(path).ok()?.len() > MAX_ENTRY_BYTES {
        return None;
    }
    let bytes = fs::read(path).ok()?;
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let (numbers, mount) = (str::from_utf8(bytes.get(..end)?).ok()?, bytes.get(end + 1..)?);
    let (process, since) = numbers.split_once(' ')?;
    Some((process.parse().ok()?, since.parse().ok()?, OsString::from_vec(mount.to_vec()).into()))
}

/// When a process began, in ticks since boot; numbers of processes are used again.
fn began(process: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    text.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_living_processes_stay_and_others_go() {
        let folder = tempfile::tempdir().unwrap();
        let own = Entry::write(folder.path(), Path::new("/no/such/mount")).unwrap();
        assert!(thaw_left_frozen(folder.path()).unwrap().is_empty());
        assert!(own.0.exists());
        own.clear().unwrap();
        // The same number, but another process.
        fs::write(folder.path().join("gone"), format!("{} 1\n/no/such/mount", process::id())).unwrap();
        fs::write(folder.path().join("nonsense"), b"x").unwrap();
        assert!(thaw_left_frozen(folder.path()).unwrap().is_empty());
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["nonsense"]);
        assert!(thaw_left_frozen(&folder.path().join("absent")).unwrap().is_empty());
    }
}
