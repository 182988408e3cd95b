//! Salvage: everything that a pieced tree holds, into a directory; whole files at their paths, files that lack bytes apart.
//!
//! ```text
//!   TO/path/of/a/whole/file
//!   TO/lost+found/#INODE.ending             a file whose name is lost
//!   TO/lost+found/partial/#INODE-NAME       a file that lacks bytes
//!   TO/lost+found/partial/#INODE-NAME.json  which path it had, and which bytes it lacks
//! ```
//! A file that lacks bytes never stands at its path: whoever finds a file there may rely on it being whole.

mod holes;

use std::collections::{BTreeMap, BTreeSet};

use crate::base::cancel::Cancel;
use crate::base::extent::Extent;
use crate::base::progress::Progress;
use crate::filesystem::{FileKind, Filesystem, Inode, InodeNumber, Links, resolve};
use crate::job::JobError;
use crate::job::extract::{Destination, ExtractOptions, ExtractReport, FileFinding, FileFindingKind, FileFindings, extract};
use crate::salvage::PiecedTree;

/// A file that lacks bytes, and where it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incomplete {
    /// The path that it had.
    pub path: Vec<u8>,
    /// Its inode.
    pub inode: InodeNumber,
    /// Its length.
    pub size: u64,
    /// Where it is kept, from the target on.
    pub kept_as: Vec<u8>,
    /// The ranges that it lacks.
    pub missing: Vec<Extent>,
    /// Why.
    pub reason: String,
}

/// What a salvage did.
#[derive(Debug, Default)]
pub struct SalvageReport {
    /// Whole files, and what is not as it was.
    pub whole: ExtractReport,
    /// Files that lack bytes.
    pub incomplete: Vec<Incomplete>,
    /// Bytes of content in them.
    pub incomplete_bytes: u64,
}

/// Where files that lack bytes go, from the target on.
const PARTIAL: &[u8] = b"lost+found/partial/";

/// What is said of a file that could be read when it was tried again.
const READ_AT_LAST: &str = "it could not be read at first, and then it could; all of it is here";

/// Extracts the whole tree.
pub fn salvage(
    tree: &PiecedTree,
    destination: &mut dyn Destination,
    options: ExtractOptions,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<SalvageReport, JobError> {
    let root = tree.inode(tree.root())?;
    let whole = ExtractOptions { partial: false, ..options };
    let mut report =
        SalvageReport { whole: extract(tree, &root, b"", destination, whole, progress, cancel)?, ..Default::default() };
    let from_past = take_from_past(tree, &mut report.whole.findings)?;
    if !from_past.is_empty() {
        tree.select(&|path| from_past.contains(path))?;
        merge(&mut report.whole, extract(tree, &root, b"", destination, whole, progress, cancel)?);
        tree.unselect()?;
    }
    let aside = set_aside(tree, &mut report.whole.findings)?;
    if aside.is_empty() {
        return Ok(report);
    }
    let partial = ExtractOptions { partial: true, ..options };
    let second = extract(tree, &tree.partial_root(), b"", destination, partial, progress, cancel)?;
    report.incomplete_bytes = second.data_bytes;
    report.incomplete = incomplete(aside, second.findings, &mut report.whole.findings);
    holes::write(destination, &report.incomplete, options)?;
    Ok(report)
}

impl Aside {
    fn incomplete(self, kept_as: Vec<u8>, missing: Vec<Extent>, reason: String) -> Incomplete {
        Incomplete { path: self.path, inode: self.file.number, size: self.file.size, kept_as, missing, reason }
    }
}

/// Files that were given up for lack of bytes, and that an earlier point has as they are: these are no findings any more.
fn take_from_past(tree: &PiecedTree, findings: &mut FileFindings) -> Result<BTreeSet<Vec<u8>>, JobError> {
    let mut taken = BTreeSet::new();
    let mut failed = None;
    findings.list.retain(|finding| {
        let file = resolve(tree, &finding.path, Links::Keep).ok().filter(|file| file.kind == FileKind::Regular);
        let is_lost = finding.kind == FileFindingKind::Lost;
        let took = file.filter(|_| is_lost).map_or(Ok(false), |file| tree.take_from_past(&file));
        match took {
            Ok(true) => !taken.insert(finding.path.clone()),
            Ok(false) => true,
            Err(error) => {
                failed = Some(error);
                true
            }
        }
    });
    findings.harm -= taken.len() as u64;
    failed.map_or(Ok(taken), |error| Err(error.into()))
}

/// Adds what a further extraction did; its directories were there already.
fn merge(report: &mut ExtractReport, more: ExtractReport) {
    report.files += more.files;
    report.hard_links += more.hard_links;
    report.data_bytes += more.data_bytes;
    report.findings.harm += more.findings.harm;
    report.findings.left_out += more.findings.left_out;
    report.findings.list.extend(more.findings.list);
}

/// A file that was given up, and its name among those that lack bytes.
struct Aside {
    path: Vec<u8>,
    file: Inode,
}

/// Puts every file that was given up for lack of bytes among the partial ones, and takes it out of the findings.
fn set_aside(tree: &PiecedTree, findings: &mut FileFindings) -> Result<BTreeMap<Vec<u8>, Aside>, JobError> {
    let mut aside = BTreeMap::new();
    let mut failed = None;
    findings.list.retain(|finding| match keep_apart(tree, finding) {
        Ok(Some((kept_as, found))) => {
            aside.insert(kept_as, found);
            false
        }
        Ok(None) => true,
        Err(error) => {
            failed = Some(error);
            true
        }
    });
    findings.harm -= aside.len() as u64;
    failed.map_or(Ok(aside), Err)
}

fn keep_apart(tree: &PiecedTree, finding: &FileFinding) -> Result<Option<(Vec<u8>, Aside)>, JobError> {
    if finding.kind != FileFindingKind::Lost {
        return Ok(None);
    }
    let Ok(file) = resolve(tree, &finding.path, Links::Keep) else { return Ok(None) };
    let evidence = tree.evidence(file.number)?;
    // Of a file without any content there is nothing to keep.
    if file.kind != FileKind::Regular || file.encrypted || evidence.missing_bytes >= file.size {
        return Ok(None);
    }
    let name = finding.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let kept_as = [PARTIAL, &tree.set_aside(&file, name)?].concat();
    Ok(Some((kept_as, Aside { path: finding.path.clone(), file })))
}

/// What the second extraction found to be missing. What it could not keep at all is lost, under its own path.
fn incomplete(mut aside: BTreeMap<Vec<u8>, Aside>, second: FileFindings, findings: &mut FileFindings) -> Vec<Incomplete> {
    let mut incomplete = Vec::new();
    for FileFinding { path: kept_as, kind, reason, missing } in second.list {
        match (kind, aside.remove(&kept_as)) {
            (FileFindingKind::Partial, Some(file)) => incomplete.push(file.incomplete(kept_as, missing, reason)),
            (FileFindingKind::Lost, Some(file)) => findings.add(file.path, kind, reason),
            (_, Some(file)) => {
                findings.add(file.path.clone(), kind, reason);
                aside.insert(kept_as, file);
            }
            (_, None) => findings.add(kept_as, kind, reason),
        }
    }
    let whole = aside.into_iter().map(|(kept_as, file)| file.incomplete(kept_as, Vec::new(), READ_AT_LAST.to_owned()));
    incomplete.extend(whole);
    incomplete
}
