//! What a salvage says: the shapes of `--json`, and the words.

use serde::Serialize;

use super::Settings;
use crate::cli::file_views::{FileFindingView, NameView, SourceView};
use crate::cli::text;
use crate::cli::views::ExtentView;
use crate::cli::wreck::OpenWreck;
use crate::filesystem::printable;
use crate::job::salvage::{Incomplete, SalvageReport};
use crate::salvage::Summary;

/// Numbers of the whole volume.
#[derive(Debug, Serialize)]
pub(in crate::cli::commands) struct SummaryView {
    inodes: u64,
    directories: u64,
    made_up_directories: u64,
    broken_directories: u64,
    without_name: u64,
    partial: u64,
    doubtful: u64,
    lost_inodes: u64,
    lost_names: u64,
    from_points: u64,
    stray_blocks: u64,
}

impl From<&Summary> for SummaryView {
    fn from(summary: &Summary) -> Self {
        Self {
            inodes: summary.inodes,
            directories: summary.directories,
            made_up_directories: summary.made_up,
            broken_directories: summary.broken_directories,
            without_name: summary.adrift,
            partial: summary.partial,
            doubtful: summary.doubtful,
            lost_inodes: summary.lost_inodes,
            lost_names: summary.lost_names,
            from_points: summary.from_past,
            stray_blocks: summary.stray_blocks,
        }
    }
}

#[derive(Serialize)]
struct IncompleteView {
    path: NameView,
    inode: u64,
    size_bytes: u64,
    kept_as: NameView,
    reason: String,
    missing: Vec<ExtentView>,
}

impl From<&Incomplete> for IncompleteView {
    fn from(file: &Incomplete) -> Self {
        Self {
            path: NameView(file.path.clone()),
            inode: file.inode.0,
            size_bytes: file.size,
            kept_as: NameView(file.kept_as.clone()),
            reason: file.reason.clone(),
            missing: file.missing.iter().map(ExtentView::from).collect(),
        }
    }
}

/// The result of an extraction.
#[derive(Serialize)]
pub(super) struct View {
    schema: &'static str,
    source: SourceView,
    target: String,
    summary: SummaryView,
    damage: Vec<String>,
    files: u64,
    directories: u64,
    symlinks: u64,
    hard_links: u64,
    special: u64,
    data_bytes: u64,
    incomplete: Vec<IncompleteView>,
    findings: Vec<FileFindingView>,
    findings_left_out: u64,
}

pub(super) fn view(opened: &OpenWreck, target: &str, report: &SalvageReport) -> View {
    let whole = &report.whole;
    View {
        schema: "icecore.salvage.v1",
        source: SourceView::new(&opened.source.origin, &opened.source.path, &opened.tree),
        target: target.to_owned(),
        summary: opened.tree.summary().into(),
        damage: damage(opened),
        files: whole.files,
        directories: whole.directories,
        symlinks: whole.symlinks,
        hard_links: whole.hard_links,
        special: whole.special,
        data_bytes: whole.data_bytes + report.incomplete_bytes,
        incomplete: report.incomplete.iter().map(IncompleteView::from).collect(),
        findings: whole.findings.list.iter().map(FileFindingView::from).collect(),
        findings_left_out: whole.findings.left_out,
    }
}

/// What had to be replaced before anything could be read.
pub(in crate::cli::commands) fn damage(opened: &OpenWreck) -> Vec<String> {
    opened.tree.damage()
}

pub(super) fn describe(opened: &OpenWreck, settings: &Settings, target: &str, report: &SalvageReport) -> String {
    let whole = &report.whole;
    let counts = [(whole.files, "whole file"), (whole.symlinks, "symbolic link"), (whole.hard_links, "hard link")];
    let counts: Vec<String> = counts.into_iter().map(|(count, noun)| text::count(count, noun)).collect();
    let mut lines = vec![format!("salvaged to {target}: {}, {}", counts.join(", "), text::size(whole.data_bytes))];
    let summary = opened.tree.summary();
    if !report.incomplete.is_empty() {
        let count = text::count(report.incomplete.len() as u64, "file");
        lines.push(format!("{count} that lack bytes are in lost+found/partial, each with a list of its holes beside it"));
    }
    let notes = [
        (summary.adrift, "file or directory without a name", "in lost+found"),
        (summary.from_past, "file or directory", "from earlier points"),
        (summary.doubtful, "file", "doubtful: something contradicts them"),
        (summary.lost_names, "name", "lost: what they led to is gone"),
    ];
    lines.extend(notes.into_iter().filter(|(count, ..)| *count > 0).map(|(count, noun, what)| format!("{count} {noun}: {what}")));
    if settings.history.is_none() && (summary.lost_names > 0 || !report.incomplete.is_empty()) {
        lines.push("an earlier recovery point may have what is lost: add --history REPO".to_owned());
    }
    lines.join("\n") + "\n"
}

/// A file that lacks bytes, in words.
pub(super) fn incomplete_line(file: &Incomplete) -> String {
    let missing: u64 = file.missing.iter().map(|range| range.length).sum();
    let (path, kept_as) = (printable(&file.path), printable(&file.kept_as));
    format!("partial: {path}: {missing} of {} bytes are missing: {}; kept as {kept_as}", file.size, file.reason)
}
