//! History: the versions of one path over the points of a volume.

use serde::Serialize;

use crate::catalog::index::Version;
use crate::cli::catalog::{self, IndexSettings, UnusableView};
use crate::cli::context::Context;
use crate::cli::file_views::{FileView, NameView};
use crate::cli::outcome::Outcome;
use crate::cli::{output, text};

/// Which path.
#[derive(Debug)]
pub(in crate::cli) struct Settings {
    pub(in crate::cli) location: String,
    pub(in crate::cli) index: IndexSettings,
    pub(in crate::cli) volume: String,
    pub(in crate::cli) path: Vec<u8>,
}

#[derive(Debug, Serialize)]
struct VersionView {
    present: bool,
    file: Option<FileView>,
    points: Vec<String>,
}

#[derive(Debug, Serialize)]
struct View {
    schema: &'static str,
    volume: String,
    path: NameView,
    versions: Vec<VersionView>,
    unusable: Vec<UnusableView>,
}

pub(in crate::cli) fn run(context: &Context, settings: Settings) -> anyhow::Result<Outcome> {
    let repository = context.repository(&settings.location)?;
    let listing = Context::points(&repository)?;
    let (index, filled) = catalog::open(&repository, settings.index, &listing)?;
    let versions = index.history(&settings.volume, &settings.path)?.unwrap_or_else(|| {
        output::warn(&format!("no point of volume {} has a file catalog", settings.volume));
        Vec::new()
    });
    let view = View {
        schema: "icecore.history.v1",
        volume: settings.volume,
        path: NameView(settings.path.clone()),
        versions: versions.iter().map(|version| version_view(version, &settings.path)).collect(),
        unusable: catalog::unusable(&filled),
    };
    context.report(&view, || versions.iter().map(|version| describe(context, version, &settings.path)).collect())?;
    Ok(Outcome::Clean)
}

fn version_view(version: &Version, path: &[u8]) -> VersionView {
    let file = version.record.as_ref().map(|record| FileView::recorded(path, record));
    VersionView { present: file.is_some(), file, points: version.points.clone() }
}

fn describe(context: &Context, version: &Version, path: &[u8]) -> String {
    let first = version.points.first().map(String::as_str).unwrap_or_default();
    let points = match version.points.len() {
        1 => format!("in point {first}"),
        count => format!("in {} from {first} on", text::count(count as u64, "point")),
    };
    match &version.record {
        Some(record) => format!("{} {points}\n", catalog::line(context, record, path)),
        None => format!("absent {points}\n"),
    }
}
