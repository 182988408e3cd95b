//! Find: files by name in one point, the newest of each volume, or all points.

use serde::Serialize;

use crate::base::clock::Timestamp;
use crate::catalog::Record;
use crate::catalog::index::{Found, Pattern, Query, Which};
use crate::cli::catalog::{self, IndexSettings, UnusableView};
use crate::cli::context::Context;
use crate::cli::file_views::{FileView, NameView};
use crate::cli::outcome::Outcome;
use crate::cli::{output, text};
use crate::filesystem::FileKind;
use crate::repository::ListedPoint;

/// Lengths that are let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum SizeRange {
    AtLeast(u64),
    AtMost(u64),
    Exactly(u64),
}

/// In which points.
#[derive(Debug)]
pub(in crate::cli) enum Scope {
    Latest,
    Point(String),
    All,
}

/// What to look for.
#[derive(Debug)]
pub(in crate::cli) struct Settings {
    pub(in crate::cli) location: String,
    pub(in crate::cli) index: IndexSettings,
    pub(in crate::cli) pattern: Pattern,
    pub(in crate::cli) volume: Option<String>,
    pub(in crate::cli) scope: Scope,
    pub(in crate::cli) size: Option<SizeRange>,
    pub(in crate::cli) newer: Option<Timestamp>,
    pub(in crate::cli) older: Option<Timestamp>,
    pub(in crate::cli) kind: Option<char>,
    pub(in crate::cli) limit: usize,
}

#[derive(Debug, Serialize)]
struct FoundView {
    volume: String,
    path: NameView,
    file: FileView,
    first_point: String,
    last_point: String,
    points: u64,
}

#[derive(Debug, Serialize)]
struct View {
    schema: &'static str,
    files: Vec<FoundView>,
    all: bool,
    incomplete_points: Vec<String>,
    unusable: Vec<UnusableView>,
}

pub(in crate::cli) fn run(context: &Context, settings: Settings) -> anyhow::Result<Outcome> {
    let repository = context.repository(&settings.location)?;
    let listing = Context::points(&repository)?;
    let which = match &settings.scope {
        Scope::Latest => Which::Latest,
        Scope::All => Which::All,
        Scope::Point(selector) => Which::Point(context.point(&listing, selector)?.id.to_string()),
    };
    let (index, filled) = catalog::open(&repository, settings.index, &listing)?;
    if !listing.points.iter().any(|point| point.point.catalog.is_some()) {
        output::warn("no point has a file catalog, so no file can be found; backups make one of ext2, ext3, ext4 and XFS volumes");
    }
    let filter = Filter { size: settings.size, newer: settings.newer, older: settings.older, kind: settings.kind };
    let query = Query { pattern: settings.pattern, which, volume: settings.volume, limit: settings.limit };
    let (found, all) = index.find(&query, &|record| filter.admits(record))?;
    let incomplete = incomplete(&listing.points, &query);
    if !incomplete.is_empty() {
        let points = text::count(incomplete.len() as u64, "point");
        output::warn(&format!("the file catalogs of {points} are incomplete: what is not found may be there all the same"));
    }
    if !all {
        output::warn(&format!("there are more than {}; --limit shows more", text::count(query.limit as u64, "file")));
    }
    let files = found.iter().map(found_view).collect();
    let view = View { schema: "icecore.find.v1", files, all, incomplete_points: incomplete, unusable: catalog::unusable(&filled) };
    context.report(&view, || found.iter().map(|found| describe(context, found)).collect())?;
    Ok(Outcome::Clean)
}

/// Points that were searched and whose catalogs do not hold everything.
fn incomplete(points: &[ListedPoint], query: &Query) -> Vec<String> {
    let of_volume = |point: &&ListedPoint| query.volume.as_ref().is_none_or(|volume| *volume == point.point.volume);
    let is_newest = |point: &ListedPoint| !points.iter().any(|other| other.volume == point.volume && other.id > point.id);
    let searched = points.iter().filter(of_volume).filter(|point| match &query.which {
        Which::All => true,
        Which::Latest => is_newest(point),
        Which::Point(id) => *id == point.id.to_string(),
    });
    let lacking = searched.filter(|point| {
        point.point.catalog.and_then(|catalog| catalog.summary).is_none_or(|summary| summary.left_out > 0 || summary.view == 3)
    });
    lacking.map(|point| point.id.to_string()).collect()
}

struct Filter {
    size: Option<SizeRange>,
    newer: Option<Timestamp>,
    older: Option<Timestamp>,
    kind: Option<char>,
}

impl Filter {
    fn admits(&self, record: &Record) -> bool {
        let size = self.size.is_none_or(|range| match range {
            SizeRange::AtLeast(bytes) => record.size >= bytes,
            SizeRange::AtMost(bytes) => record.size <= bytes,
            SizeRange::Exactly(bytes) => record.size == bytes,
        });
        let kind = self.kind.is_none_or(|letter| match record.kind {
            FileKind::Regular => letter == 'f',
            FileKind::Directory => letter == 'd',
            FileKind::Symlink => letter == 'l',
            _ => false,
        });
        let modified = catalog::moment(record.modified);
        size && kind && self.newer.is_none_or(|time| modified > time) && self.older.is_none_or(|time| modified <= time)
    }
}

fn found_view(found: &Found) -> FoundView {
    FoundView {
        volume: found.volume.clone(),
        path: NameView(found.path.clone()),
        file: FileView::recorded(&found.path, &found.record),
        first_point: found.first.clone(),
        last_point: found.last.clone(),
        points: found.points,
    }
}

fn describe(context: &Context, found: &Found) -> String {
    let line = catalog::line(context, &found.record, &[found.volume.as_bytes(), b":", &found.path].concat());
    match found.points {
        1 => format!("{line}\n"),
        points => format!("{line} ({})\n", text::count(points, "point")),
    }
}
