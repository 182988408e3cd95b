//! Diff: where two points differ, in the very lines that `backup --changed` reads, and which files differ between any two places.

mod files;
mod view;

use std::fmt::Write;

use crate::catalog::index::Difference;
use crate::cli::catalog::{self, IndexSettings};
use crate::cli::context::Context;
use crate::cli::outcome::Outcome;
use crate::cli::place::{Place, Unlocked};
use crate::cli::{output, text};
use crate::job::diff::{DiffReport, diff};
use crate::repository::{ListedPoint, PointListing, Repository};
use files::walk_files;
use view::View;

/// Which two places, and what of them.
#[derive(Debug)]
pub(in crate::cli) struct Settings {
    pub(in crate::cli) old: Place,
    pub(in crate::cli) new: Place,
    /// Files rather than bytes.
    pub(in crate::cli) files: bool,
    /// All bytes of files.
    pub(in crate::cli) content: bool,
    pub(in crate::cli) index: IndexSettings,
}

pub(in crate::cli) fn run(context: &Context, settings: Settings) -> anyhow::Result<Outcome> {
    match settings.old.whole_point()?.zip(settings.new.whole_point()?) {
        Some((old, new)) => points(context, &settings, &old, &new),
        None => files::report(context, &walk_files(context, &settings, &Unlocked::default())?, None),
    }
}

/// Two whole points: their bytes, and their files if these are asked for.
fn points(context: &Context, settings: &Settings, old: &str, new: &str) -> anyhow::Result<Outcome> {
    let unlocked = Unlocked::default();
    let (repository, listing) = unlocked.get(context, &settings.old)?;
    let (old, new) = (context.point(listing, old)?, context.point(listing, new)?);
    let report = diff(repository, old, new)?;
    if settings.files {
        return files_of_points(context, settings, &unlocked, (old, new), &report);
    }
    context.report(&View::of_points(old, new, &report, None), || lines(&report))?;
    if context.is_text() {
        output::say(&summary(&report));
    }
    Ok(Outcome::Clean)
}

/// The catalogs answer if they can and are enough; otherwise the files are walked.
fn files_of_points(
    context: &Context,
    settings: &Settings,
    unlocked: &Unlocked,
    (old, new): (&ListedPoint, &ListedPoint),
    report: &DiffReport,
) -> anyhow::Result<Outcome> {
    let may_ask = !settings.content && !settings.old.has_partition() && old.point.volume == new.point.volume;
    let found = if may_ask { ask_catalogs(unlocked.get(context, &settings.old)?, settings, old, new)? } else { None };
    let Some(found) = found else {
        return files::report(context, &walk_files(context, settings, unlocked)?, Some(report));
    };
    context.report(&View::of_points(old, new, report, Some(&found)), || found.iter().map(view::line).collect())?;
    if context.is_text() {
        output::say(&summary(report));
    }
    Ok(Outcome::Clean)
}

fn ask_catalogs(
    (repository, listing): &(Repository, PointListing),
    settings: &Settings,
    old: &ListedPoint,
    new: &ListedPoint,
) -> anyhow::Result<Option<Vec<Difference>>> {
    let (index, _) = catalog::open(repository, settings.index.clone(), listing)?;
    Ok(index.compare(&old.id.to_string(), &new.id.to_string())?)
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
