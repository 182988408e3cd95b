//! Check-volume: what is damaged in a filesystem, and which files that hits.

use serde::Serialize;

use super::salvage::{Described, SummaryView, damage, damaged_entries, is_sound};
use crate::cli::context::Context;
use crate::cli::file_views::SourceView;
use crate::cli::outcome::Outcome;
use crate::cli::place::Place;
use crate::cli::wreck::OpenWreck;
use crate::cli::{output, text};
use crate::filesystem::Filesystem;
use crate::job::JobError;

/// Files beyond this many are counted only.
const MAX_HIT: usize = 100_000;

/// What to check.
#[derive(Debug)]
pub(in crate::cli) struct Settings {
    pub(in crate::cli) place: Place,
    pub(in crate::cli) history: Option<String>,
}

#[derive(Serialize)]
struct View {
    schema: &'static str,
    source: SourceView,
    sound: bool,
    summary: SummaryView,
    /// Of the geometry and the journal.
    damage: Vec<String>,
    /// Directories of which names are lost.
    broken_directories: Vec<String>,
    /// Files that are not what they were.
    hit: Vec<Described>,
    hit_left_out: u64,
}

pub(in crate::cli) fn run(context: &Context, settings: Settings) -> anyhow::Result<Outcome> {
    let opened = OpenWreck::open(context, &settings.place, settings.history.as_deref())?;
    let (hit, hit_left_out) = damaged_entries(&opened.tree, MAX_HIT)?;
    let broken = opened.tree.broken_directories().map_err(JobError::from)?;
    let broken_directories: Vec<String> = broken.into_iter().map(|(_, what)| what).collect();
    let sound = is_sound(&opened);
    let view = View {
        schema: "icecore.check-volume.v1",
        source: SourceView::new(&opened.source.origin, &opened.source.path, &opened.tree),
        sound,
        summary: opened.tree.summary().into(),
        damage: damage(&opened),
        broken_directories,
        hit,
        hit_left_out,
    };
    if context.is_text() {
        view.damage.iter().chain(&view.broken_directories).for_each(|line| output::warn(line));
        view.hit.iter().for_each(|entry| output::warn(&entry.line()));
    }
    context.report(&view, || describe(&opened, &view))?;
    Ok(Outcome::findings_if(!sound))
}

fn describe(opened: &OpenWreck, view: &View) -> String {
    let summary = opened.tree.summary();
    let kind = opened.tree.identity().kind;
    let counted = format!("{kind}: {} in {}", text::count(summary.inodes, "inode"), text::count(summary.directories, "director"));
    let counted = counted.replace("directors", "directories").replace("1 director", "1 directory");
    if view.sound {
        return format!("{counted}: all metadata agrees\n");
    }
    let hit = view.hit.len() as u64 + view.hit_left_out;
    format!(
        "{counted}: DAMAGED; {} not what they were, see above\n'icecore salvage' takes out what is left\n",
        text::count(hit, "file")
    )
}
