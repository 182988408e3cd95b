//! The shapes of a diff: one line a file, and JSON.

use serde::Serialize;

use crate::catalog::index::{Change, Difference};
use crate::cli::file_views::{FileFindingView, FileView, NameView, SourceView};
use crate::cli::views::{self, ExtentView};
use crate::filesystem::printable;
use crate::job::compare_files::FileComparison;
use crate::job::diff::DiffReport;
use crate::repository::ListedPoint;

#[derive(Debug, Serialize)]
pub(super) struct View {
    schema: &'static str,
    pub(super) old: String,
    pub(super) new: String,
    pub(super) old_size_bytes: u64,
    pub(super) new_size_bytes: u64,
    differing_bytes: Option<u64>,
    extents: Vec<ExtentView>,
    files_compared: bool,
    files: Vec<FileDifferenceView>,
    files_left_out: u64,
    old_source: Option<SourceView>,
    new_source: Option<SourceView>,
    compared_bytes: Option<u64>,
    findings: Vec<FileFindingView>,
    findings_left_out: u64,
}

#[derive(Debug, Serialize)]
struct FileDifferenceView {
    path: NameView,
    change: &'static str,
    renamed_from: Option<NameView>,
    old: Option<FileView>,
    new: Option<FileView>,
}

impl View {
    /// Two points, and what their catalogs say if they were asked.
    pub(super) fn of_points(old: &ListedPoint, new: &ListedPoint, report: &DiffReport, files: Option<&Vec<Difference>>) -> Self {
        let bare = Self::bare(old.id.to_string(), new.id.to_string(), (report.old_size, report.new_size));
        Self {
            files_compared: files.is_some(),
            files: files.into_iter().flatten().map(FileDifferenceView::from).collect(),
            ..bare.with_bytes(report)
        }
    }

    /// Two places whose files were walked.
    pub(super) fn of_places(
        names: (String, String),
        sizes: (u64, u64),
        sources: (SourceView, SourceView),
        found: &FileComparison,
    ) -> Self {
        Self {
            files_compared: true,
            files: found.differences.iter().map(FileDifferenceView::from).collect(),
            files_left_out: found.left_out,
            old_source: Some(sources.0),
            new_source: Some(sources.1),
            compared_bytes: Some(found.compared_bytes),
            findings: found.findings.list.iter().map(FileFindingView::from).collect(),
            findings_left_out: found.findings.left_out,
            ..Self::bare(names.0, names.1, sizes)
        }
    }

    pub(super) fn with_bytes(self, report: &DiffReport) -> Self {
        Self { differing_bytes: Some(report.extents.bytes()), extents: views::extents(&report.extents), ..self }
    }

    fn bare(old: String, new: String, (old_size_bytes, new_size_bytes): (u64, u64)) -> Self {
        Self {
            schema: "icecore.diff.v1",
            old,
            new,
            old_size_bytes,
            new_size_bytes,
            differing_bytes: None,
            extents: Vec::new(),
            files_compared: false,
            files: Vec::new(),
            files_left_out: 0,
            old_source: None,
            new_source: None,
            compared_bytes: None,
            findings: Vec::new(),
            findings_left_out: 0,
        }
    }
}

impl From<&Difference> for FileDifferenceView {
    fn from(difference: &Difference) -> Self {
        let renamed_from = match &difference.change {
            Change::Renamed(from) => Some(from),
            _ => None,
        };
        let (old_path, path) = (renamed_from.unwrap_or(&difference.path), &difference.path);
        Self {
            path: NameView(path.clone()),
            change: change_name(&difference.change).0,
            renamed_from: renamed_from.cloned().map(NameView),
            old: difference.old.as_ref().map(|record| FileView::recorded(old_path, record)),
            new: difference.new.as_ref().map(|record| FileView::recorded(path, record)),
        }
    }
}

fn change_name(change: &Change) -> (&'static str, char) {
    match change {
        Change::Added => ("added", '+'),
        Change::Removed => ("removed", '-'),
        Change::Modified => ("modified", 'M'),
        Change::Attributes => ("attributes", 'A'),
        Change::Renamed(_) => ("renamed", 'R'),
    }
}

/// One line about a file.
pub(super) fn line(difference: &Difference) -> String {
    let (_, letter) = change_name(&difference.change);
    match &difference.change {
        Change::Renamed(from) => format!("{letter} {} -> {}\n", printable(from), printable(&difference.path)),
        _ => format!("{letter} {}\n", printable(&difference.path)),
    }
}
