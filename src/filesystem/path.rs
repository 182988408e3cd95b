//! A path resolved from the root: through directories, and through symbolic links only where that was asked for.

use super::error::FilesystemError;
use super::face::Filesystem;
use super::inode::{FileKind, Inode};
use super::names::printable;

/// As many links as Linux follows.
const MAX_LINKS: usize = 40;
/// Names in a path: more than the longest path of Linux has. Links may add as many each.
const MAX_NAMES: usize = 4096;

/// What to do with symbolic links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// A link at the end is the answer, one on the way is an error.
    Keep,
    /// They lead on, at most 40 of them; an absolute target and `..` never leave the tree.
    Follow,
}

/// The inode that `path` leads to. Empty names and `.` stay where they are, `..` goes up, at the root nowhere.
pub fn resolve(filesystem: &dyn Filesystem, path: &[u8], links: Links) -> Result<Inode, FilesystemError> {
    let mut walk = Resolution { filesystem, links, left: Vec::new(), way: Vec::new(), followed: 0 };
    walk.add(path)?;
    let root = filesystem.inode(filesystem.root())?;
    walk.way.push((Vec::new(), root.clone()));
    while let Some(name) = walk.left.pop() {
        walk.step(name)?;
    }
    Ok(walk.way.pop().map_or(root, |(_, inode)| inode))
}

struct Resolution<'a> {
    filesystem: &'a dyn Filesystem,
    links: Links,
    /// Names still to be resolved, the next one last.
    left: Vec<Vec<u8>>,
    /// From the root to here; never empty.
    way: Vec<(Vec<u8>, Inode)>,
    followed: usize,
}

impl Resolution<'_> {
    fn add(&mut self, path: &[u8]) -> Result<(), FilesystemError> {
        let names = path.split(|byte| *byte == b'/').rev().filter(|name| !matches!(*name, b"" | b"."));
        self.left.extend(names.take(MAX_NAMES + 1).map(<[u8]>::to_vec));
        if self.left.len() > MAX_NAMES {
            return Err(FilesystemError::NotFound { path: format!("a path of more than {MAX_NAMES} names") });
        }
        Ok(())
    }

    fn step(&mut self, name: Vec<u8>) -> Result<(), FilesystemError> {
        let Some((_, here)) = self.way.last() else { return Ok(()) };
        if !here.is_directory() {
            let hint = if here.kind == FileKind::Symlink { " (a symbolic link; follow it with --follow)" } else { "" };
            return Err(FilesystemError::NotADirectory { path: self.shown(None) + hint });
        }
        if name == b".." {
            if self.way.len() > 1 {
                self.way.pop();
            }
            return Ok(());
        }
        let missing = || FilesystemError::NotFound { path: self.shown(Some(&name)) };
        let entry = self.filesystem.lookup(here, &name)?.ok_or_else(missing)?;
        let inode = self.filesystem.inode(entry.inode)?;
        if inode.kind == FileKind::Symlink && self.links == Links::Follow {
            return self.follow(&name, &inode);
        }
        self.way.push((name, inode));
        Ok(())
    }

    fn follow(&mut self, name: &[u8], link: &Inode) -> Result<(), FilesystemError> {
        self.followed += 1;
        if self.followed > MAX_LINKS {
            let path = format!("{} (more than {MAX_LINKS} symbolic links on the way)", self.shown(Some(name)));
            return Err(FilesystemError::NotFound { path });
        }
        let target = self.filesystem.link_target(link)?;
        if target.starts_with(b"/") {
            self.way.truncate(1);
        }
        self.add(&target)
    }

    fn shown(&self, next: Option<&[u8]>) -> String {
        let names = self.way.iter().skip(1).map(|(name, _)| name.as_slice()).chain(next);
        let path: String = names.map(|name| format!("/{}", printable(name))).collect();
        if path.is_empty() { "/".to_owned() } else { path }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::model_filesystem::ModelFilesystem;

    fn model() -> ModelFilesystem {
        let mut model = ModelFilesystem::new();
        let etc = model.directory(model.root_number(), b"etc");
        model.file(etc, b"passwd", b"root");
        let deep = model.directory(etc, b"deep");
        model.symlink(deep, b"up", b"../passwd");
        model.symlink(deep, b"out", b"../../../../../etc/passwd");
        model.symlink(deep, b"absolute", b"/etc/deep");
        model.symlink(deep, b"loop", b"loop");
        model.symlink(deep, b"dangling", b"nowhere");
        model
    }

    fn check(path: &str, links: Links, expected: Result<&str, &str>) {
        let model = model();
        let found = resolve(&model, path.as_bytes(), links);
        match expected {
            Ok(same) => assert_eq!(found.unwrap().number, resolve(&model, same.as_bytes(), Links::Keep).unwrap().number, "{path}"),
            Err(words) => {
                let said = found.unwrap_err().to_string();
                assert!(said.contains(words), "{path}: {said}");
            }
        }
    }

    #[test]
    fn paths_lead_to_what_they_name() {
        check("/", Links::Keep, Ok(""));
        check("//etc/./passwd/", Links::Keep, Ok("/etc/passwd"));
        check("etc/deep/../passwd", Links::Keep, Ok("/etc/passwd"));
        check("../../etc", Links::Keep, Ok("/etc"));
        check("/etc/missing/x", Links::Keep, Err("no such file: /etc/missing"));
        check("/etc/passwd/x", Links::Keep, Err("not a directory: /etc/passwd"));
        check("/etc/m\u{1b}", Links::Keep, Err("\\x1b"));
    }

    #[test]
    fn links_are_followed_only_when_asked_and_never_out_of_the_tree() {
        assert_eq!(resolve(&model(), b"/etc/deep/up", Links::Keep).unwrap().kind, FileKind::Symlink);
        check("/etc/deep/absolute/up", Links::Keep, Err("--follow"));
        check("/etc/deep/up", Links::Follow, Ok("/etc/passwd"));
        check("/etc/deep/out", Links::Follow, Ok("/etc/passwd"));
        check("/etc/deep/absolute/absolute/up", Links::Follow, Ok("/etc/passwd"));
        check("/etc/deep/dangling", Links::Follow, Err("no such file: /etc/deep/nowhere"));
        check("/etc/deep/loop", Links::Follow, Err("more than 40 symbolic links"));
        check(&"a/".repeat(5000), Links::Keep, Err("more than 4096 names"));
    }
}
