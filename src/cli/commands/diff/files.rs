//! Files of two places compared by walking both.

use super::Settings;
use super::view::{View, line};
use crate::cli::context::Context;
use crate::cli::damage_views::say_found_elsewhere;
use crate::cli::file_views::SourceView;
use crate::cli::outcome::Outcome;
use crate::cli::place::{OpenPlace, Origin, Unlocked};
use crate::cli::{output, text};
use crate::filesystem::printable;
use crate::job::compare_files::{CompareOptions, FileComparison, Tree, compare_files};
use crate::job::diff::DiffReport;

/// Findings that are said; `--json` has them all.
const SAID_FINDINGS: usize = 20;

/// Two places and what differs.
pub(super) struct Walked {
    old: OpenPlace,
    new: OpenPlace,
    found: FileComparison,
}

pub(super) fn walk_files(context: &Context, settings: &Settings, unlocked: &Unlocked) -> anyhow::Result<Walked> {
    let (old, new) = (settings.old.open_in(context, unlocked)?, settings.new.open_in(context, unlocked)?);
    // A single file has no names below it to be called by.
    let path = match new.name() {
        Some(name) if !(old.inode.is_directory() && new.inode.is_directory()) => [b"/", name].concat(),
        _ => Vec::new(),
    };
    let (progress, cancel) = (context.progress(), context.interrupts.cancel());
    let options = CompareOptions { content: settings.content };
    let found = compare_files(tree(&old), tree(&new), &path, options, progress.as_ref(), &cancel)?;
    Ok(Walked { old, new, found })
}

fn tree(place: &OpenPlace) -> Tree<'_> {
    Tree { filesystem: place.filesystem.as_ref(), start: &place.inode }
}

/// Says what differs; `bytes` is there if the places are whole points.
pub(super) fn report(context: &Context, walked: &Walked, bytes: Option<&DiffReport>) -> anyhow::Result<Outcome> {
    let Walked { old, new, found } = walked;
    say_findings(found);
    [old, new].iter().for_each(|place| say_found_elsewhere(&place.found_elsewhere()));
    let sizes = bytes.map_or((old.source_bytes, new.source_bytes), |bytes| (bytes.old_size, bytes.new_size));
    let view = View::of_places((called(old), called(new)), sizes, (SourceView::from(old), SourceView::from(new)), found);
    let view = match bytes {
        Some(bytes) => view.with_bytes(bytes),
        None => view,
    };
    context.report(&view, || found.differences.iter().map(line).collect())?;
    if context.is_text() {
        output::say(&summary(walked));
    }
    Ok(Outcome::findings_if(found.findings.count() > 0 || old.is_stale() || new.is_stale()))
}

/// The id of a point, or the path of an image or device.
fn called(place: &OpenPlace) -> String {
    match &place.origin {
        Origin::Point { id, .. } => id.clone(),
        Origin::Device { path, .. } => path.display().to_string(),
    }
}

fn say_findings(found: &FileComparison) {
    for finding in found.findings.list.iter().take(SAID_FINDINGS) {
        output::warn(&format!("not compared: {}: {}", printable(&finding.path), finding.reason));
    }
    let more = found.findings.count().saturating_sub(SAID_FINDINGS as u64);
    if more > 0 {
        output::warn(&format!("... and {}; --json lists them", text::count(more, "more finding")));
    }
    if found.left_out > 0 {
        let more = text::count(found.left_out, "more difference");
        output::warn(&format!(
            "{more} would take more memory than a comparison may; compare a part of the tree, as in PLACE:/PATH"
        ));
    }
}

fn summary(walked: &Walked) -> String {
    let Walked { old, new, found } = walked;
    let differences = text::count(found.differences.len() as u64 + found.left_out, "difference");
    let read = text::size(found.compared_bytes);
    format!(
        "{differences} between {} ({}) and {} ({}); {read} read of each",
        old.shown(),
        old.evidence(),
        new.shown(),
        new.evidence()
    )
}
