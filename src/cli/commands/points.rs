//! Points: a listing, or everything about one.

use jiff::tz::TimeZone;
use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::outcome::Outcome;
use crate::cli::views::{PointView, VerdictView, change_source, consistency};
use crate::cli::{output, text, times};
use crate::repository::format::changes::ChangeSource;
use crate::repository::format::file_tree::FileTreeFacts;
use crate::repository::format::point::Consistency;
use crate::repository::format::verdict::VerdictKind;
use crate::repository::{ListedPoint, PointListing, Repository, Verdicts};

/// Which points, and how much of them.
#[derive(Debug)]
pub(in crate::cli) struct Settings {
    pub(in crate::cli) location: String,
    pub(in crate::cli) volume: Option<String>,
    /// One point, in full.
    pub(in crate::cli) show: Option<String>,
}

#[derive(Debug, Serialize)]
struct DamagedView {
    object: String,
    reason: String,
}

#[derive(Debug, Serialize)]
struct ListView {
    schema: &'static str,
    points: Vec<PointView>,
    damaged: Vec<DamagedView>,
}

#[derive(Debug, Serialize)]
struct ShowView {
    schema: &'static str,
    point: PointView,
}

pub(in crate::cli) fn run(context: &Context, settings: Settings) -> anyhow::Result<Outcome> {
    let repository = context.repository(&settings.location)?;
    match settings.show {
        Some(selector) => show(context, &repository, settings.volume.as_deref(), &selector),
        None => list(context, &repository, settings.volume.as_deref()),
    }
}

fn listing(repository: &Repository, volume: Option<&str>) -> anyhow::Result<PointListing> {
    let listing = match volume {
        Some(volume) => repository.points_of(volume)?,
        None => repository.points()?,
    };
    listing.damaged.iter().for_each(|(_, error)| output::warn(&error.to_string()));
    Ok(listing)
}

fn list(context: &Context, repository: &Repository, volume: Option<&str>) -> anyhow::Result<Outcome> {
    let mut listing = listing(repository, volume)?;
    listing.points.sort_by_key(|point| (point.point.cut, point.id));
    let verdicts = repository.verdicts()?;
    let damaged = listing.damaged.iter();
    let view = ListView {
        schema: "icecore.points.v1",
        points: listing.points.iter().map(|point| PointView::new(point, &verdicts)).collect(),
        damaged: damaged.map(|(key, error)| DamagedView { object: key.to_string(), reason: error.to_string() }).collect(),
    };
    context.report(&view, || table(&listing, &verdicts, &context.zone))?;
    Ok(Outcome::findings_if(!listing.damaged.is_empty()))
}

fn table(listing: &PointListing, verdicts: &Verdicts, zone: &TimeZone) -> String {
    if listing.points.is_empty() {
        return "there are no recovery points\n".to_owned();
    }
    let header = ["point", "volume", "cut", "size", "new", "stored", "changes", "remarks"];
    let rows = listing.points.iter().map(|listed| {
        let (point, statistics) = (&listed.point, listed.point.statistics);
        vec![
            listed.id.short(),
            point.volume.clone(),
            times::local(point.cut, zone),
            text::size(point.content_bytes()),
            text::size(statistics.new_bytes),
            text::size(statistics.data_stored_bytes + statistics.tree_stored_bytes),
            change_source(&point.changes.source),
            remarks(listed, verdicts).join(", "),
        ]
    });
    text::table(&header, &[3, 4, 5], rows.collect())
}

/// What sets a point apart.
fn remarks(listed: &ListedPoint, verdicts: &Verdicts) -> Vec<&'static str> {
    let point = &listed.point;
    let own = [
        (point.consistency == Consistency::Live, "live"),
        (!point.unreadable.is_empty(), "unreadable"),
        (point.incident.is_some(), "incident"),
        (point.file_tree.is_some(), "files"),
        (point.file_tree.is_some_and(|files| files.troubled > 0), "troubled"),
    ];
    let said = verdicts.get(&listed.id).map(Vec::as_slice).unwrap_or_default();
    let mut said: Vec<_> = said.iter().map(|(_, verdict)| verdict.kind.name()).collect();
    said.sort_unstable();
    said.dedup();
    own.into_iter().filter_map(|(is_so, word)| is_so.then_some(word)).chain(said).collect()
}

fn show(context: &Context, repository: &Repository, volume: Option<&str>, selector: &str) -> anyhow::Result<Outcome> {
    let listing = listing(repository, volume)?;
    let listed = context.point(&listing, selector)?;
    let verdicts = repository.verdicts()?;
    let view = ShowView { schema: "icecore.point.v1", point: PointView::new(listed, &verdicts) };
    context.report(&view, || describe(listed, &verdicts))?;
    Ok(Outcome::Clean)
}

fn describe(listed: &ListedPoint, verdicts: &Verdicts) -> String {
    let (point, statistics) = (&listed.point, listed.point.statistics);
    let changes = match &point.changes.source {
        ChangeSource::Full => "full: everything was stored".to_owned(),
        ChangeSource::Compare => "compare: everything was read and compared with the previous point".to_owned(),
        ChangeSource::Told { by, listed_bytes, sampled_chunks, proof } => {
            let agreed = text::count(*sampled_chunks, "chunk");
            format!("{by}: {listed_bytes} bytes were said to have changed ({proof}); {agreed} of the rest agreed")
        }
    };
    let exact = |bytes: u64| format!("{bytes} bytes ({})", text::size(bytes));
    let mut lines = vec![
        ("point", listed.id.to_string()),
        ("volume", point.volume.clone()),
        ("cut", times::utc(point.cut)),
        ("committed", times::utc(listed.id.time)),
        ("previous", point.previous.map_or_else(|| "none".to_owned(), |previous| previous.id.to_string())),
        ("source", point.source.clone()),
        ("host", point.host.clone()),
        ("writer", point.writer.clone()),
        ("size", exact(point.content_bytes())),
        ("chunks", exact(point.tree.chunk_bytes.into())),
        ("changes", changes),
        ("state", consistency(point.consistency).to_owned()),
        ("read", exact(statistics.read_bytes)),
        ("new", exact(statistics.new_bytes)),
        ("data stored", exact(statistics.data_stored_bytes)),
        ("tree stored", exact(statistics.tree_stored_bytes)),
        ("took", format!("{} ms", statistics.duration_ms)),
    ];
    if let Some(FileTreeFacts { inodes, troubled, .. }) = point.file_tree {
        lines.push(("files", format!("{}, {troubled} of them not as they were", text::count(inodes, "inode"))));
    }
    lines.extend(point.incident.map(|extent| ("incident", format!("the change list was wrong at {extent}"))));
    lines.extend(point.unreadable.as_slice().iter().map(|extent| ("unreadable", extent.to_string())));
    let said = verdicts.get(&listed.id).map(Vec::as_slice).unwrap_or_default();
    lines.extend(said.iter().filter(|(_, v)| !matches!(v.kind, VerdictKind::Forgotten { .. })).map(|(_, verdict)| {
        let VerdictView { kind, made, note } = VerdictView::from(verdict);
        (kind, if note.is_empty() { made } else { format!("{made}: {note}") })
    }));
    lines.into_iter().map(|(name, value)| format!("{name:<12} {value}\n")).collect()
}
