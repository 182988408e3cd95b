//! Diff: where two points differ, in the very lines that `backup --changed` reads.

use std::fmt::Write;

use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::outcome::Outcome;
use crate::cli::views::{self, ExtentView};
use crate::cli::{output, text};
use crate::job::diff::{DiffReport, diff};

/// Which two points.
#[derive(Debug)]
pub(in crate::cli) struct Settings {
    pub(in crate::cli) location: String,
    pub(in crate::cli) old: String,
    pub(in crate::cli) new: String,
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
}

pub(in crate::cli) fn run(context: &Context, settings: Settings) -> anyhow::Result<Outcome> {
    let repository = context.repository(&settings.location)?;
    let listing = Context::points(&repository)?;
    let (old, new) = (context.point(&listing, &settings.old)?, context.point(&listing, &settings.new)?);
    let report = diff(&repository, old, new)?;
    let view = View {
        schema: "icecore.diff.v1",
        old: old.id.to_string(),
        new: new.id.to_string(),
        old_size_bytes: report.old_size,
        new_size_bytes: report.new_size,
        differing_bytes: report.extents.bytes(),
        extents: views::extents(&report.extents),
    };
    context.report(&view, || lines(&report))?;
    if context.is_text() {
        output::say(&summary(&report));
    }
    Ok(Outcome::Clean)
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
