//! Makes the store's directory and whatever is missing above it, so that a crash cannot take it back.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Backups are their owner's business only.
const DIRECTORY_MODE: u32 = 0o700;

/// Makes `path` with its missing parents; harmless when it exists.
pub(super) fn make_durable_directory(path: &Path) -> io::Result<()> {
    let missing = missing_ancestors(path);
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path)?;
    missing.iter().try_for_each(|made| sync_parent(made))
}

/// `path` and those of its parents that do not exist, deepest first.
fn missing_ancestors(path: &Path) -> Vec<PathBuf> {
    let named = path.ancestors().filter(|ancestor| !ancestor.as_os_str().is_empty());
    named.take_while(|ancestor| !ancestor.exists()).map(Path::to_owned).collect()
}

/// The entry of a directory lives in its parent.
fn sync_parent(made: &Path) -> io::Result<()> {
    let parent = made.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn missing_parents_are_made_for_the_owner_only() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("a/b/c");
        assert_eq!(missing_ancestors(&path).len(), 3);
        make_durable_directory(&path).unwrap();
        make_durable_directory(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(missing_ancestors(&path).is_empty());
    }
}
