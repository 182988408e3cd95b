//! Trees of a model filesystem, extracted: what is kept, what is refused, and that nothing leaves the target.

mod archives;
mod escapes;
mod losses;
mod trees;

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::base::progress::Silent;
use crate::filesystem::printable;
use crate::testkit::model_filesystem::ModelFilesystem;

const PLAIN: ExtractOptions = ExtractOptions { devices: false, setuid: false, partial: false, workers: 2 };

/// A folder with a target in it, so that what leaves the target is seen.
struct Scene {
    folder: TempDir,
}

impl Scene {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("target")).unwrap();
        fs::write(folder.path().join("outside"), "untouched").unwrap();
        Self { folder }
    }

    fn target(&self) -> PathBuf {
        self.folder.path().join("target")
    }

    fn at(&self, path: &str) -> PathBuf {
        self.target().join(path)
    }

    /// Extracts the whole tree into the target.
    fn extract(&self, model: &ModelFilesystem, options: ExtractOptions, force: bool) -> Result<ExtractReport, JobError> {
        self.extract_until(model, options, force, &Cancel::new())
    }

    fn extract_until(
        &self,
        model: &ModelFilesystem,
        options: ExtractOptions,
        force: bool,
        cancel: &Cancel,
    ) -> Result<ExtractReport, JobError> {
        let mut target = DirectoryTarget::open(&self.target(), DirectoryOptions { force }).unwrap();
        let start = model.inode(model.root()).unwrap();
        extract(model, &start, b"", &mut target, options, &Silent, cancel)
    }

    /// Everything in the folder but what is in the target.
    fn outside(&self) -> Vec<String> {
        let below = listing(self.folder.path());
        below.into_iter().filter(|line| !line.starts_with("target/")).collect()
    }
}

/// Every file below a folder, with what it is; never followed.
fn listing(folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut waiting = vec![folder.to_path_buf()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let facts = fs::symlink_metadata(&path).unwrap();
            let kind = facts.file_type();
            let name = path.strip_prefix(folder).unwrap().display().to_string();
            let what = match kind {
                kind if kind.is_dir() => "directory".to_owned(),
                kind if kind.is_symlink() => format!("-> {}", fs::read_link(&path).unwrap().display()),
                kind if kind.is_fifo() => "pipe".to_owned(),
                kind if kind.is_socket() => "socket".to_owned(),
                kind if kind.is_char_device() || kind.is_block_device() => format!("device {}", facts.rdev()),
                _ => format!("{} bytes", facts.len()),
            };
            lines.push(format!("{name}: {what}"));
            if kind.is_dir() {
                waiting.push(path);
            }
        }
    }
    lines.sort();
    lines
}

/// Findings as lines.
fn told(report: &ExtractReport) -> Vec<String> {
    let line = |finding: &FileFinding| format!("{:?} {}: {}", finding.kind, printable(&finding.path), finding.reason);
    report.findings.list.iter().map(line).collect()
}

/// Fails unless exactly these findings were made, each named by words of its line.
#[track_caller]
fn expect(report: &ExtractReport, wanted: &[&str]) {
    let told = told(report);
    assert_eq!(told.len(), wanted.len(), "{told:#?}");
    for words in wanted {
        assert!(told.iter().any(|line| line.contains(words)), "{words:?} is not in {told:#?}");
    }
}
