//! A walked tree handed to a destination, file by file, with everything noted that is not as it was.

use std::collections::HashMap;
use std::mem;
use std::ops::ControlFlow;

use super::attributes::Attributes;
use super::content::Readers;
use super::findings::{FileFinding, FileFindingKind};
use super::refusal::{Refusal, Remarks, lost, unreadable};
use super::{Destination, ExtractOptions, ExtractReport};
use crate::base::cancel::Cancel;
use crate::base::extent::{Extent, ExtentSet};
use crate::base::progress::{Progress, Step};
use crate::filesystem::{FileKind, Filesystem, Inode, InodeNumber, Loss, Spot, TreeVisitor, written_bytes};
use crate::job::JobError;

/// Paths of files with several names that are remembered for further ones. Beyond this, a further name becomes a file of its own, and
/// that is said.
const MAX_LINK_BYTES: usize = 64 << 20;
/// An archive names holes in a list that readers hold in memory. Files of more pieces have zeros instead.
const MAX_PIECES: usize = 4096;
/// What readers of such lists expect pieces to be a multiple of.
const GRANULE_BYTES: u64 = 4096;
/// Missing ranges of one file that are listed; the last one stands for the rest.
const MAX_MISSING: usize = 10_000;

/// The visitor of an extraction.
pub(super) struct TreeExtractor<'a, 'r> {
    filesystem: &'a dyn Filesystem,
    destination: &'a mut dyn Destination,
    readers: &'a mut Readers<'r>,
    options: ExtractOptions,
    progress: &'a dyn Progress,
    cancel: &'a Cancel,
    /// Where a file with several names was extracted first, and how many of its names are still to come.
    first_names: HashMap<InodeNumber, (Vec<u8>, u32)>,
    held_bytes: usize,
    /// Paths of the directories that are open.
    way: Vec<Vec<u8>>,
    report: ExtractReport,
    stopped: Option<JobError>,
}

impl<'a, 'r> TreeExtractor<'a, 'r> {
    pub(super) fn new(
        filesystem: &'a dyn Filesystem,
        destination: &'a mut dyn Destination,
        readers: &'a mut Readers<'r>,
        options: ExtractOptions,
        progress: &'a dyn Progress,
        cancel: &'a Cancel,
    ) -> Self {
        let (first_names, report) = (HashMap::new(), ExtractReport::default());
        let (way, stopped) = (Vec::new(), None);
        Self { filesystem, destination, readers, options, progress, cancel, first_names, held_bytes: 0, way, report, stopped }
    }

    pub(super) fn into_report(self) -> Result<ExtractReport, JobError> {
        match self.stopped {
            Some(error) => Err(error),
            None => Ok(self.report),
        }
    }

    /// Notes what became of a file; `None` when it is not there, or the end when nothing can go on.
    fn settle<T>(&mut self, path: Vec<u8>, outcome: Result<T, Refusal>) -> ControlFlow<(), Option<T>> {
        match outcome {
            Ok(done) => return ControlFlow::Continue(Some(done)),
            Err(Refusal::Here(reason)) => self.report.findings.add(path, FileFindingKind::Lost, reason),
            Err(Refusal::Withheld(reason)) => self.report.findings.add(path, FileFindingKind::Withheld, reason),
            Err(Refusal::Stop(error)) => {
                self.stopped = Some(error);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(None)
    }

    fn remark(&mut self, path: &[u8], remarks: Remarks) {
        let Remarks { altered, withheld } = remarks;
        for (kind, reasons) in [(FileFindingKind::Altered, altered), (FileFindingKind::Withheld, withheld)] {
            reasons.into_iter().for_each(|reason| self.report.findings.add(path.to_vec(), kind, reason));
        }
    }

    /// Attributes that cannot be read are a remark; the file is worth having without them.
    fn attributes(&mut self, path: &[u8], inode: &Inode) -> Result<Attributes, Refusal> {
        let xattrs = match self.filesystem.xattrs(inode).map_err(unreadable) {
            Ok(xattrs) => xattrs,
            Err(Refusal::Here(reason) | Refusal::Withheld(reason)) => {
                self.report.findings.add(path.to_vec(), FileFindingKind::Altered, reason);
                Vec::new()
            }
            Err(stop @ Refusal::Stop(_)) => return Err(stop),
        };
        let mut attributes = Attributes::new(inode, xattrs, self.options);
        let withheld = mem::take(&mut attributes.withheld);
        self.remark(path, Remarks { altered: Vec::new(), withheld });
        Ok(attributes)
    }

    fn extract(&mut self, spot: &Spot<'_>, inode: &Inode) -> Result<(), Refusal> {
        let path = spot.path();
        if self.is_unwanted(inode.kind) {
            return Err(Refusal::Withheld("it is a device node; --devices makes them".to_owned()));
        }
        let attributes = self.attributes(&path, inode)?;
        match inode.kind {
            // The walk shows directories elsewhere.
            FileKind::Directory => return Ok(()),
            FileKind::Regular => return self.file(spot, inode, &attributes),
            FileKind::Symlink => {
                let target = self.filesystem.link_target(inode).map_err(unreadable)?;
                let remarks = self.destination.symlink(spot, &attributes, &target)?;
                self.report.symlinks += 1;
                self.remark(&path, remarks);
            }
            FileKind::CharacterDevice { .. } | FileKind::BlockDevice { .. } | FileKind::Fifo | FileKind::Socket => {
                let remarks = self.destination.special(spot, &attributes)?;
                self.report.special += 1;
                self.remark(&path, remarks);
            }
        }
        Ok(())
    }

    fn is_unwanted(&self, kind: FileKind) -> bool {
        matches!(kind, FileKind::CharacterDevice { .. } | FileKind::BlockDevice { .. }) && !self.options.devices
    }

    fn file(&mut self, spot: &Spot<'_>, inode: &Inode, attributes: &Attributes) -> Result<(), Refusal> {
        if inode.links > 1 && self.linked(spot, inode, attributes)? {
            return Ok(());
        }
        let written = if self.destination.asks_for_written() { self.written(inode)? } else { None };
        let remarks = self.destination.begin(spot, attributes, inode.size, written)?;
        self.remark(&spot.path(), remarks);
        let missing = match self.content(inode) {
            Ok(missing) => missing,
            Err(refusal) => return Err(self.destination.give_up(spot, refusal)),
        };
        let remarks = self.destination.end(spot, attributes)?;
        self.report.files += 1;
        self.remark(&spot.path(), remarks);
        if let Some((reason, missing)) = missing {
            self.report.findings.push(FileFinding { path: spot.path(), kind: FileFindingKind::Partial, reason, missing });
        } else if inode.links > 1 {
            self.remember(inode, spot.path());
        }
        Ok(())
    }

    /// Where a file has data. A map that is damaged is found again while the file is copied.
    fn written(&self, inode: &Inode) -> Result<Option<ExtentSet>, Refusal> {
        match written_bytes(self.filesystem, inode, GRANULE_BYTES, MAX_PIECES).map_err(unreadable) {
            Ok(written) => Ok(written),
            Err(stop @ Refusal::Stop(_)) => Err(stop),
            Err(Refusal::Here(_) | Refusal::Withheld(_)) => Ok(None),
        }
    }

    /// Writes all there is, and says what is missing.
    fn content(&mut self, inode: &Inode) -> Result<Option<(String, Vec<Extent>)>, Refusal> {
        let Self { destination, readers, report, options, progress, cancel, .. } = self;
        let mut missing = ExtentSet::new();
        let mut first_reason = None;
        readers.copy(inode, cancel, &mut |extent, bytes| {
            match bytes {
                Ok(bytes) => {
                    destination.write(extent, bytes)?;
                    report.data_bytes += extent.length;
                }
                Err(reason) if options.partial => {
                    missing.insert(if missing.count() < MAX_MISSING { extent } else { Extent::between(extent.offset, inode.size) });
                    first_reason.get_or_insert(reason);
                }
                Err(reason) => {
                    return Err(Refusal::Here(format!("{extent} of it are missing: {reason}; --partial keeps the rest")));
                }
            }
            progress.step(Step { done_bytes: extent.length, new_bytes: 0 });
            Ok(())
        })?;
        Ok(first_reason.map(|reason| (reason, missing.as_slice().to_vec())))
    }

    /// Makes a further name of a file that is there already. Where that cannot be, it becomes a file of its own.
    fn linked(&mut self, spot: &Spot<'_>, inode: &Inode, attributes: &Attributes) -> Result<bool, Refusal> {
        let Some((first, left)) = self.first_names.get_mut(&inode.number) else { return Ok(false) };
        match self.destination.link(spot, attributes, first) {
            Ok(()) => {
                self.report.hard_links += 1;
                *left = left.saturating_sub(1);
                if *left == 0 {
                    self.held_bytes = self.held_bytes.saturating_sub(first.len());
                    self.first_names.remove(&inode.number);
                }
                Ok(true)
            }
            Err(Refusal::Here(reason) | Refusal::Withheld(reason)) => {
                let reason = format!("it is no longer the same file as its other names: {reason}");
                self.report.findings.add(spot.path(), FileFindingKind::Altered, reason);
                Ok(false)
            }
            Err(stop @ Refusal::Stop(_)) => Err(stop),
        }
    }

    fn remember(&mut self, inode: &Inode, path: Vec<u8>) {
        if self.held_bytes.saturating_add(path.len()) > MAX_LINK_BYTES {
            let reason = "its further names became files of their own: there are too many like it".to_owned();
            self.report.findings.add(path, FileFindingKind::Altered, reason);
        } else if !self.first_names.contains_key(&inode.number) {
            self.held_bytes += path.len();
            self.first_names.insert(inode.number, (path, inode.links.saturating_sub(1)));
        }
    }
}

impl TreeVisitor for TreeExtractor<'_, '_> {
    fn enter(&mut self, spot: &Spot<'_>, directory: &Inode) -> ControlFlow<(), bool> {
        let path = spot.path();
        let attributes = self.attributes(&path, directory);
        let entered = attributes.and_then(|attributes| self.destination.enter(spot, &attributes));
        let Some(remarks) = self.settle(path.clone(), entered)? else { return ControlFlow::Continue(false) };
        self.remark(&path, remarks);
        self.report.directories += 1;
        self.way.push(path);
        ControlFlow::Continue(true)
    }

    fn leave(&mut self, _directory: &Inode) -> ControlFlow<()> {
        let path = self.way.pop().unwrap_or_default();
        let left = self.destination.leave();
        if let Some(remarks) = self.settle(path.clone(), left)? {
            self.remark(&path, remarks);
        }
        ControlFlow::Continue(())
    }

    fn entry(&mut self, spot: &Spot<'_>, inode: &Inode) -> ControlFlow<()> {
        if self.cancel.is_cancelled() {
            self.stopped = Some(JobError::Cancelled);
            return ControlFlow::Break(());
        }
        let extracted = self.extract(spot, inode);
        self.settle(spot.path(), extracted).map_continue(drop)
    }

    fn lost(&mut self, spot: &Spot<'_>, loss: Loss) -> ControlFlow<()> {
        self.settle::<()>(spot.path(), Err(lost(loss))).map_continue(drop)
    }
}
