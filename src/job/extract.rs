//! Extraction: files out of a filesystem that nobody mounts, into a directory, an archive or a stream.
//!
//! ```text
//!   walk ─► for each file: map ─► pieces of 1 MiB ─► several readers ─► in order ─► Destination
//!             directories, links, the rest ────────────────────────────────────────► Destination
//! ```
//! One bad inode does not end the walk: what could not be had is a [`FileFinding`] beside the report. Nothing is made up: a file that
//! lacks bytes is not left behind, unless the caller asked for what there is, and then the missing ranges are listed.

mod archive;
mod attributes;
mod content;
mod directory;
mod findings;
mod refusal;
mod special;
mod stream;
mod tar_entry;
mod tree;

#[cfg(test)]
mod tests;

pub use archive::Archive;
pub use attributes::Attributes;
pub use directory::{DirectoryOptions, DirectoryTarget};
pub(super) use findings::MAX_FINDINGS;
pub use findings::{FileFinding, FileFindingKind, FileFindings};
pub use refusal::is_out_of_reach;
pub(super) use refusal::{Refusal, unreadable};
pub use stream::stream;

use crate::base::cancel::Cancel;
use crate::base::extent::{Extent, ExtentSet};
use crate::base::progress::Progress;
use crate::filesystem::{Filesystem, Inode, Spot, walk};
use crate::job::JobError;
use content::with_readers;
use refusal::Remarks;
use tree::TreeExtractor;

/// How to extract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtractOptions {
    /// Make device nodes, which let their owner reach the machine's devices.
    pub devices: bool,
    /// Keep what lends rights to whoever runs a file: setuid, setgid, file capabilities.
    pub setuid: bool,
    /// Keep files that lack bytes; their missing ranges are listed.
    pub partial: bool,
    /// Threads that read.
    pub workers: usize,
}

/// What an extraction did.
#[derive(Debug, Default)]
pub struct ExtractReport {
    /// Regular files, those with missing ranges included.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Further names of files that were extracted already.
    pub hard_links: u64,
    /// Pipes, sockets and device nodes.
    pub special: u64,
    /// Bytes of content, without holes.
    pub data_bytes: u64,
    /// What is not as it was in the volume, and why.
    pub findings: FileFindings,
}

/// Where files go. A refusal concerns the one file, unless it says stop.
pub trait Destination {
    /// True if [`Self::begin`] must know beforehand where a file has data.
    fn asks_for_written(&self) -> bool {
        false
    }
    /// A directory, before what is in it.
    fn enter(&mut self, spot: &Spot<'_>, attributes: &Attributes) -> Result<Remarks, Refusal>;
    /// The innermost directory, after what is in it.
    fn leave(&mut self) -> Result<Remarks, Refusal>;
    /// A file begins. Then come [`Self::write`] in ascending order, and one of the two ends.
    /// `written` is where it has data, if that was asked for and is known.
    fn begin(
        &mut self,
        spot: &Spot<'_>,
        attributes: &Attributes,
        size: u64,
        written: Option<ExtentSet>,
    ) -> Result<Remarks, Refusal>;
    /// The bytes of `extent` of the file. What lies between two writes is a hole.
    fn write(&mut self, extent: Extent, bytes: &[u8]) -> Result<(), Refusal>;
    /// The file is complete.
    fn end(&mut self, spot: &Spot<'_>, attributes: &Attributes) -> Result<Remarks, Refusal>;
    /// The file cannot be had; nothing of it is to be left. Gives back what is to be said of it.
    fn give_up(&mut self, spot: &Spot<'_>, why: Refusal) -> Refusal;
    /// A further name for the file that was extracted as `first`.
    fn link(&mut self, spot: &Spot<'_>, attributes: &Attributes, first: &[u8]) -> Result<(), Refusal>;
    /// A symbolic link.
    fn symlink(&mut self, spot: &Spot<'_>, attributes: &Attributes, target: &[u8]) -> Result<Remarks, Refusal>;
    /// A pipe, socket or device node.
    fn special(&mut self, spot: &Spot<'_>, attributes: &Attributes) -> Result<Remarks, Refusal>;
    /// Everything is there.
    fn finish(&mut self) -> Result<(), JobError>;
}

/// Extracts `start`, under `name`, and everything below it.
pub fn extract(
    filesystem: &dyn Filesystem,
    start: &Inode,
    name: &[u8],
    destination: &mut dyn Destination,
    options: ExtractOptions,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<ExtractReport, JobError> {
    progress.begin("extracting", if start.is_directory() { 0 } else { start.size });
    let report = with_readers(filesystem, options.workers, |readers| {
        let mut extractor = TreeExtractor::new(filesystem, destination, readers, options, progress, cancel);
        let _ended = walk(filesystem, start, name, &mut extractor);
        extractor.into_report()
    })?;
    destination.finish()?;
    progress.finish();
    Ok(report)
}
