//! Volumes that mkfs.xfs fills from a folder, without a kernel.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use icecore::testkit::image::Image;
use tempfile::TempDir;

const SIZE: u64 = 400 << 20;

/// What mkfs is told: name, kind and mode, owner, and where the content is, each folder closed by a `$`.
fn describe(folder: &Path, out: &mut String) {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(Result::unwrap).collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (name, path, kind) = (entry.file_name().into_string().unwrap(), entry.path(), entry.file_type().unwrap());
        if kind.is_dir() {
            writeln!(out, "{name} d--755 0 0").unwrap();
            describe(&path, out);
            writeln!(out, "$").unwrap();
        } else if kind.is_symlink() {
            writeln!(out, "{name} l--777 0 0 {}", fs::read_link(path).unwrap().display()).unwrap();
        } else {
            writeln!(out, "{name} ---644 0 0 {}", path.display()).unwrap();
        }
    }
}

/// A volume made from `folder`.
pub(crate) fn make(folder: &Path, arguments: &[&str]) -> Option<Image> {
    let mut prototype = "/dev/null\n0 0\nd--755 0 0\n".to_owned();
    describe(folder, &mut prototype);
    prototype.push_str("$\n");
    let place = TempDir::new().unwrap();
    let path = place.path().join("prototype");
    fs::write(&path, prototype).unwrap();
    Image::make(SIZE, "mkfs.xfs", &[&["-q", "-f", "-p", path.to_str()?], arguments].concat()).ok()
}
