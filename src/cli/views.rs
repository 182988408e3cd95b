//! The shapes of `--json` that several commands share. `docs/json.md` describes them; a test holds the two together.

use serde::Serialize;

use super::file_views::{filesystem_name, hex};
use super::times;
use crate::base::extent::{Extent, ExtentSet};
use crate::base::finding::Finding;
use crate::catalog::filesystem_of;
use crate::repository::format::catalog::CatalogSummary;
use crate::repository::format::changes::ChangeSource;
use crate::repository::format::file_tree::FileTreeFacts;
use crate::repository::format::point::Consistency;
use crate::repository::format::verdict::Verdict;
use crate::repository::{ListedPoint, Verdicts};

/// A range of bytes.
#[derive(Debug, Serialize)]
pub(super) struct ExtentView {
    offset_bytes: u64,
    length_bytes: u64,
}

impl From<&Extent> for ExtentView {
    fn from(extent: &Extent) -> Self {
        Self { offset_bytes: extent.offset, length_bytes: extent.length }
    }
}

/// The ranges of a set.
pub(super) fn extents(set: &ExtentSet) -> Vec<ExtentView> {
    set.as_slice().iter().map(ExtentView::from).collect()
}

/// Something that is wrong with the data.
#[derive(Debug, Serialize)]
pub(super) struct FindingView {
    kind: &'static str,
    extent: ExtentView,
    reason: Option<String>,
}

impl From<&Finding> for FindingView {
    fn from(finding: &Finding) -> Self {
        let (kind, extent, reason) = match finding {
            Finding::Unreadable { extent } => ("unreadable", extent, None),
            Finding::ChangeListWrong { extent } => ("change_list_wrong", extent, None),
            Finding::Damaged { extent, reason } => ("damaged", extent, Some(reason.clone())),
        };
        Self { kind, extent: extent.into(), reason }
    }
}

/// What was said of a point after it was made.
#[derive(Debug, Serialize)]
pub(super) struct VerdictView {
    pub(super) kind: &'static str,
    pub(super) made: String,
    pub(super) note: String,
}

impl From<&Verdict> for VerdictView {
    fn from(verdict: &Verdict) -> Self {
        Self { kind: verdict.kind.name(), made: times::utc(verdict.made), note: verdict.note.clone() }
    }
}

/// A recovery point.
#[derive(Debug, Serialize)]
pub(super) struct PointView {
    id: String,
    volume: String,
    cut: String,
    committed: String,
    previous: Option<String>,
    source: String,
    host: String,
    writer: String,
    size_bytes: u64,
    chunk_bytes: u32,
    /// `full`, `compare`, or whose word was taken: `list`, `csi`, `epoch` or `thin`.
    change_source: String,
    change_proof: Option<String>,
    passed_over: Vec<PassedOverView>,
    cut_names: Vec<CutNameView>,
    told_in_a_row: u32,
    distrusted: Vec<String>,
    listed_bytes: Option<u64>,
    sampled_chunks: Option<u64>,
    consistency: &'static str,
    read_bytes: u64,
    new_bytes: u64,
    data_stored_bytes: u64,
    tree_stored_bytes: u64,
    duration_ms: u64,
    unreadable: Vec<ExtentView>,
    omitted_bytes: u64,
    incident: Option<ExtentView>,
    catalog: Option<CatalogView>,
    file_tree: Option<FileTreeView>,
    verdicts: Vec<VerdictView>,
}

/// Whose word was not taken.
#[derive(Debug, Serialize)]
struct PassedOverView {
    source: String,
    reason: String,
}

/// What the cut is called by somebody who can tell later what has changed since.
#[derive(Debug, Serialize)]
struct CutNameView {
    source: String,
    name: String,
}

/// What a point holds that was made from files.
#[derive(Debug, Serialize)]
struct FileTreeView {
    inodes: u64,
    troubled: u64,
}

impl From<FileTreeFacts> for FileTreeView {
    fn from(facts: FileTreeFacts) -> Self {
        Self { inodes: facts.inodes, troubled: facts.troubled }
    }
}

/// What a point's file catalog holds.
#[derive(Debug, Serialize)]
struct CatalogView {
    filesystem: &'static str,
    uuid: String,
    view: &'static str,
    inodes: u64,
    names: u64,
    left_out: u64,
    stored_bytes: u64,
}

impl From<&CatalogSummary> for CatalogView {
    fn from(summary: &CatalogSummary) -> Self {
        Self {
            filesystem: filesystem_of(summary.filesystem).map_or("unknown", filesystem_name),
            uuid: hex(&summary.uuid),
            view: ["unknown", "clean", "replayed", "stale"].get(usize::from(summary.view)).copied().unwrap_or("unknown"),
            inodes: summary.inodes,
            names: summary.names,
            left_out: summary.left_out,
            stored_bytes: summary.stored_bytes,
        }
    }
}

impl PointView {
    pub(super) fn new(listed: &ListedPoint, verdicts: &Verdicts) -> Self {
        let (point, statistics) = (&listed.point, listed.point.statistics);
        let changes = &point.changes;
        let (listed_bytes, sampled_chunks, proof) = match &changes.source {
            ChangeSource::Told { listed_bytes, sampled_chunks, proof, .. } => {
                (Some(*listed_bytes), Some(*sampled_chunks), Some(proof.clone()))
            }
            ChangeSource::Full | ChangeSource::Compare => (None, None, None),
        };
        let said = verdicts.get(&listed.id).map(Vec::as_slice).unwrap_or_default();
        Self {
            id: listed.id.to_string(),
            volume: point.volume.clone(),
            cut: times::utc(point.cut),
            committed: times::utc(listed.id.time),
            previous: point.previous.map(|previous| previous.id.to_string()),
            source: point.source.clone(),
            host: point.host.clone(),
            writer: point.writer.clone(),
            size_bytes: point.content_bytes(),
            chunk_bytes: point.tree.chunk_bytes,
            change_source: change_source(&changes.source),
            change_proof: proof,
            passed_over: changes
                .passed_over
                .iter()
                .map(|word| PassedOverView { source: word.rung.to_string(), reason: word.text.clone() })
                .collect(),
            cut_names: changes
                .cut_names
                .iter()
                .map(|word| CutNameView { source: word.rung.to_string(), name: word.text.clone() })
                .collect(),
            told_in_a_row: changes.told_in_a_row,
            distrusted: changes.distrusted.iter().map(ToString::to_string).collect(),
            listed_bytes,
            sampled_chunks,
            consistency: consistency(point.consistency),
            read_bytes: statistics.read_bytes,
            new_bytes: statistics.new_bytes,
            data_stored_bytes: statistics.data_stored_bytes,
            tree_stored_bytes: statistics.tree_stored_bytes,
            duration_ms: statistics.duration_ms,
            unreadable: extents(&point.unreadable),
            omitted_bytes: point.omitted.bytes(),
            incident: point.incident.as_ref().map(ExtentView::from),
            catalog: point.catalog.as_ref().and_then(|catalog| catalog.summary.as_ref()).map(CatalogView::from),
            file_tree: point.file_tree.map(FileTreeView::from),
            verdicts: said.iter().map(|(_, verdict)| VerdictView::from(verdict)).collect(),
        }
    }
}

/// How changes were known, in a word.
pub(super) fn change_source(source: &ChangeSource) -> String {
    match source {
        ChangeSource::Full => "full".to_owned(),
        ChangeSource::Compare => "compare".to_owned(),
        ChangeSource::Told { by, .. } => by.to_string(),
    }
}

/// In which state the volume was, in a word.
pub(super) fn consistency(consistency: Consistency) -> &'static str {
    match consistency {
        Consistency::Quiescent => "quiescent",
        Consistency::Live => "live",
        Consistency::Frozen => "frozen",
    }
}
