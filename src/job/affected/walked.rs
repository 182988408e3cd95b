//! Files that are hit, found by a walk: each file is asked where its data lies.

use std::ops::ControlFlow;

use super::{NOT_RESTORED, Tally};
use crate::base::cancel::Cancel;
use crate::base::extent::ExtentSet;
use crate::filesystem::{FileKind, Filesystem, FilesystemError, Inode, Loss, Source, Spot, TreeVisitor, map_stretches, walk};
use crate::job::JobError;
use crate::job::extract::{FileFindingKind, is_out_of_reach};

/// Walks the whole tree.
pub(super) fn walk_files(filesystem: &dyn Filesystem, tally: &mut Tally<'_>, cancel: &Cancel) -> Result<(), JobError> {
    let root = match filesystem.inode(filesystem.root()) {
        Ok(root) => root,
        Err(error) if is_out_of_reach(&error) => return Err(error.into()),
        Err(error) => {
            tally.doubt(error);
            return Ok(());
        }
    };
    let mut visitor = Visitor { filesystem, tally, cancel, stopped: None };
    let _ended = walk(filesystem, &root, b"", &mut visitor);
    visitor.stopped.map_or(Ok(()), Err)
}

struct Visitor<'a, 't> {
    filesystem: &'a dyn Filesystem,
    tally: &'a mut Tally<'t>,
    cancel: &'a Cancel,
    stopped: Option<JobError>,
}

impl Visitor<'_, '_> {
    fn stop(&mut self, error: JobError) -> ControlFlow<()> {
        self.stopped = Some(error);
        ControlFlow::Break(())
    }
}

impl TreeVisitor for Visitor<'_, '_> {
    fn enter(&mut self, _spot: &Spot<'_>, _directory: &Inode) -> ControlFlow<(), bool> {
        ControlFlow::Continue(true)
    }

    fn leave(&mut self, _directory: &Inode) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn entry(&mut self, spot: &Spot<'_>, inode: &Inode) -> ControlFlow<()> {
        if self.cancel.is_cancelled() {
            return self.stop(JobError::Cancelled);
        }
        if inode.kind != FileKind::Regular {
            return ControlFlow::Continue(());
        }
        match missing_ranges(self.filesystem, inode, self.tally) {
            Err(error) => self.stop(error.into()),
            Ok((missing, _)) if missing.is_empty() => ControlFlow::Continue(()),
            Ok((missing, reason)) => {
                let reason = reason.as_deref().unwrap_or(NOT_RESTORED);
                self.tally.found(rooted(&spot.path()), FileFindingKind::Partial, reason, missing);
                ControlFlow::Continue(())
            }
        }
    }

    fn lost(&mut self, spot: &Spot<'_>, loss: Loss) -> ControlFlow<()> {
        match loss {
            Loss::Unreadable(error) if is_out_of_reach(&error) => self.stop(error.into()),
            loss => {
                self.tally.found(rooted(&spot.path()), FileFindingKind::Lost, &loss.to_string(), ExtentSet::new());
                ControlFlow::Continue(())
            }
        }
    }
}

fn rooted(path: &[u8]) -> Vec<u8> {
    [b"/", path].concat()
}

/// Which bytes of a file are lost, and why, if that is because nobody knows where they lie. An error is the store's.
pub(super) fn missing_ranges(
    filesystem: &dyn Filesystem,
    file: &Inode,
    tally: &mut Tally<'_>,
) -> Result<(ExtentSet, Option<String>), FilesystemError> {
    let (mut missing, mut reason) = (ExtentSet::new(), None);
    map_stretches(filesystem, file, |stretch, segments| {
        let segments = match segments {
            Ok(segments) => segments,
            Err(error) if is_out_of_reach(&error) => return Err(error),
            Err(error) => {
                missing.insert(stretch);
                reason.get_or_insert_with(|| error.to_string());
                return Ok(());
            }
        };
        for segment in segments {
            match segment.source {
                Source::Disk(at) => tally.take(segment.extent, at, &mut missing),
                Source::Lost(_) => missing.insert(segment.extent),
                // Reserved and inline bytes lie in no data of the file; holes lie nowhere.
                Source::Hole | Source::Unwritten(_) | Source::Inline(_) => {}
            }
        }
        Ok(())
    })?;
    Ok((missing, reason))
}
