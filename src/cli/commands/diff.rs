//! Diff: where two points differ, in the very lines that `backup --changed` reads.

use std::fmt::Write;

use serde::Serialize;

use crate::catalog::index::{Change, Difference};
use crate::cli::catalog::{self, IndexSettings};
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::file_views::{FileView, NameView};
use crate::cli::outcome::Outcome;
use crate::cli::views::{self, ExtentView};
use crate::cli::{output, text};
use crate::filesystem::printable;
use crate::job::diff::{DiffReport, diff};
use crate::repository::{ListedPoint, PointListing, Repository};

/// Which two points.
#[derive(Debug)]
pub(in crate::cli) struct Settings {
    pub(in crate::cli) location: String,
    pub(in crate::cli) old: String,
    pub(in crate::cli) new: String,
    /// Files rather than bytes.
    pub(in crate::cli) files: bool,
    pub(in crate::cli) index: IndexSettings,
}

#[derive(Debug, Serialize)]
struct View {
    schema: &'static str,
    old: String,
    new: String,
    old_size_bytes: u64,
    new_size_bytes: u64,
    differing_bytes: u64,
    extents: Vec<ExtentView>,
    files_compared: bool,
    files: Vec<FileDifferenceView>,
}

#[derive(Debug, Serialize)]
struct FileDifferenceView {
    path: NameView,
    change: &'static str,
    renamed_from: Option<NameView>,
    old: Option<FileView>,
    new: Option<FileView>,
}

pub(in crate::cli) fn run(context: &Context, settings: Settings) -> anyhow::Result<Outcome> {
    let repository = context.repository(&settings.location)?;
    let listing = Context::points(&repository)?;
    let (old, new) = (context.point(&listing, &settings.old)?, context.point(&listing, &settings.new)?);
    let report = diff(&repository, old, new)?;
    let files = if settings.files { Some(compare_files(&repository, settings.index, &listing, old, new)?) } else { None };
    let view = View {
        schema: "icecore.diff.v1",
        old: old.id.to_string(),
        new: new.id.to_string(),
        old_size_bytes: report.old_size,
        new_size_bytes: report.new_size,
        differing_bytes: report.extents.bytes(),
        extents: views::extents(&report.extents),
        files_compared: files.is_some(),
        files: files.iter().flatten().map(difference_view).collect(),
    };
    context.report(&view, || match &files {
        Some(files) => files.iter().map(difference_line).collect(),
        None => lines(&report),
    })?;
    if context.is_text() {
        output::say(&summary(&report));
    }
    Ok(Outcome::Clean)
}

fn compare_files(
    repository: &Repository,
    index: IndexSettings,
    listing: &PointListing,
    old: &ListedPoint,
    new: &ListedPoint,
) -> anyhow::Result<Vec<Difference>> {
    let (index, _) = catalog::open(repository, index, listing)?;
    let found = index.compare(&old.id.to_string(), &new.id.to_string())?;
    Ok(found.ok_or_else(|| {
        Failure::refused("files can be compared if both points are of one volume and have file catalogs; leave --files out")
    })?)
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

fn difference_view(difference: &Difference) -> FileDifferenceView {
    let renamed_from = match &difference.change {
        Change::Renamed(from) => Some(from),
        _ => None,
    };
    let (old_path, path) = (renamed_from.unwrap_or(&difference.path), &difference.path);
    FileDifferenceView {
        path: NameView(path.clone()),
        change: change_name(&difference.change).0,
        renamed_from: renamed_from.cloned().map(NameView),
        old: difference.old.as_ref().map(|record| FileView::recorded(old_path, record)),
        new: difference.new.as_ref().map(|record| FileView::recorded(path, record)),
    }
}

fn difference_line(difference: &Difference) -> String {
    let (_, letter) = change_name(&difference.change);
    match &difference.change {
        Change::Renamed(from) => format!("{letter} {} -> {}\n", printable(from), printable(&difference.path)),
        _ => format!("{letter} {}\n", printable(&difference.path)),
    }
}

fn lines(report: &DiffReport) -> String {
    report.extents.as_slice().iter().fold(String::new(), |mut out, extent| {
        // Writing to a string cannot fail.
        let _never_fails = writeln!(out, "{} {}", extent.offset, extent.length);
        out
    })
}

fn summary(report: &DiffReport) -> String {
    let ranges = text::count(report.extents.count() as u64, "range");
    let resized = match (report.old_size, report.new_size) {
        (old, new) if old == new => String::new(),
        (old, new) => format!("; the size went from {old} to {new} bytes"),
    };
    format!("{ranges} with {} of {}{resized}", text::size(report.extents.bytes()), text::size(report.new_size))
}
