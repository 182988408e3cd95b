//! Every file of a pieced tree with its evidence, in an order that a second run can go on with.

use std::ops::ControlFlow;

use serde::{Serialize, Serializer};

use crate::cli::file_views::{NameView, kind};
use crate::filesystem::{Filesystem, Inode, Loss, Spot, TreeVisitor, printable, walk};
use crate::job::JobError;
use crate::salvage::{Confidence, PiecedTree};

/// One line of a list or a report.
#[derive(Debug, Serialize)]
pub(in crate::cli::commands) struct EntryView {
    pub(super) path: NameView,
    /// `verified`, `probable`, `partial` or `doubtful`; `lost` when there is nothing to be sure of.
    #[serde(serialize_with = "serialize_confidence")]
    pub(super) confidence: Option<Confidence>,
    pub(super) inode: Option<u64>,
    pub(super) kind: Option<&'static str>,
    pub(super) size_bytes: Option<u64>,
    pub(super) missing_bytes: u64,
    pub(super) from_point: Option<String>,
    pub(super) reasons: Vec<String>,
}

impl EntryView {
    pub(super) fn of(tree: &PiecedTree, path: Vec<u8>, inode: &Inode) -> Result<Self, JobError> {
        let evidence = tree.evidence(inode.number)?;
        Ok(Self {
            path: NameView(path),
            confidence: Some(evidence.confidence()),
            inode: Some(tree.plain_number(inode.number).0),
            kind: Some(kind(inode.kind)),
            size_bytes: Some(inode.size),
            missing_bytes: evidence.missing_bytes,
            reasons: evidence.reasons(),
            from_point: evidence.past,
        })
    }

    fn lost(path: Vec<u8>, reason: String) -> Self {
        Self {
            path: NameView(path),
            confidence: None,
            inode: None,
            kind: None,
            size_bytes: None,
            missing_bytes: 0,
            from_point: None,
            reasons: vec![reason],
        }
    }

    /// The line for people.
    pub(in crate::cli::commands) fn line(&self) -> String {
        let size = self.size_bytes.map_or_else(|| "-".to_owned(), |size| size.to_string());
        let reasons = if self.reasons.is_empty() { String::new() } else { format!("  ({})", self.reasons.join("; ")) };
        format!("{:<8} {size:>13} {}{reasons}", word(self.confidence), printable(&self.path.0))
    }
}

fn word(confidence: Option<Confidence>) -> String {
    confidence.map_or_else(|| "lost".to_owned(), |confidence| confidence.to_string())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn serialize_confidence<S: Serializer>(confidence: &Option<Confidence>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&word(*confidence))
}

/// Shows every entry after the path `after`, until `show` fails.
pub(super) fn each<E: From<JobError>>(
    tree: &PiecedTree,
    after: Option<&[u8]>,
    show: &mut dyn FnMut(EntryView) -> Result<(), E>,
) -> Result<(), E> {
    let root = tree.inode(tree.root()).map_err(JobError::from)?;
    let after = after.map(|path| path.strip_prefix(b"/").unwrap_or(path).to_vec());
    let mut shower = Shower { tree, after, show, failed: None };
    let _ended = walk(tree, &root, b"", &mut shower);
    shower.failed.map_or(Ok(()), Err)
}

/// Files that lack something, are contradicted or come from an earlier point, at most `most`, and how many more there are.
pub(in crate::cli::commands) fn damaged(tree: &PiecedTree, most: usize) -> Result<(Vec<EntryView>, u64), JobError> {
    let sure = [Some(Confidence::Verified), Some(Confidence::Probable)];
    first(tree, most, &|entry| !sure.contains(&entry.confidence) || entry.from_point.is_some())
}

/// Files that something contradicts, at most `most`, and how many more there are.
pub(super) fn doubtful(tree: &PiecedTree, most: usize) -> Result<(Vec<EntryView>, u64), JobError> {
    first(tree, most, &|entry| entry.confidence == Some(Confidence::Doubtful))
}

fn first(tree: &PiecedTree, most: usize, wants: &dyn Fn(&EntryView) -> bool) -> Result<(Vec<EntryView>, u64), JobError> {
    let (mut found, mut more) = (Vec::new(), 0);
    each(tree, None, &mut |entry: EntryView| {
        if wants(&entry) {
            if found.len() < most { found.push(entry) } else { more += 1 }
        }
        Ok::<(), JobError>(())
    })?;
    Ok((found, more))
}

struct Shower<'a, E> {
    tree: &'a PiecedTree,
    after: Option<Vec<u8>>,
    show: &'a mut dyn FnMut(EntryView) -> Result<(), E>,
    failed: Option<E>,
}

impl<E: From<JobError>> Shower<'_, E> {
    /// True for what an earlier run has shown.
    fn is_past(&self, path: &[u8]) -> bool {
        let names = |path: &[u8]| path.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect::<Vec<_>>();
        self.after.as_ref().is_some_and(|after| names(path) <= names(after))
    }

    /// True for a directory that the last path of an earlier run lies in.
    fn leads_to_last(&self, path: &[u8]) -> bool {
        let rest = self.after.as_ref().and_then(|after| after.strip_prefix(path));
        path.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    }

    fn show(&mut self, entry: Result<EntryView, JobError>) -> ControlFlow<()> {
        match entry.map_err(E::from).and_then(|entry| (self.show)(entry)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.failed = Some(error);
                ControlFlow::Break(())
            }
        }
    }
}

impl<E: From<JobError>> TreeVisitor for Shower<'_, E> {
    fn enter(&mut self, spot: &Spot<'_>, directory: &Inode) -> ControlFlow<(), bool> {
        let path = spot.path();
        if path.is_empty() {
            return ControlFlow::Continue(true);
        }
        if self.is_past(&path) {
            return ControlFlow::Continue(self.leads_to_last(&path));
        }
        let entry = EntryView::of(self.tree, path, directory);
        self.show(entry).map_continue(|()| true)
    }

    fn leave(&mut self, _directory: &Inode) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn entry(&mut self, spot: &Spot<'_>, inode: &Inode) -> ControlFlow<()> {
        let path = spot.path();
        if self.is_past(&path) {
            return ControlFlow::Continue(());
        }
        let entry = EntryView::of(self.tree, path, inode);
        self.show(entry)
    }

    fn lost(&mut self, spot: &Spot<'_>, loss: Loss) -> ControlFlow<()> {
        let path = spot.path();
        if self.is_past(&path) {
            return ControlFlow::Continue(());
        }
        self.show(Ok(EntryView::lost(path, loss.to_string())))
    }
}
