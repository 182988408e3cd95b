//! Restore: a recovery point is written to a device or file.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{cp, default_workers};
use crate::base::finding::Finding;
use crate::cli::context::Context;
use crate::cli::damage_views::{AffectedView, FoundElsewhereView, affected_text, say_affected, say_found_elsewhere};
use crate::cli::failure::Failure;
use crate::cli::outcome::Outcome;
use crate::cli::place::Place;
use crate::cli::views::FindingView;
use crate::cli::{output, text};
use crate::device::{DeviceError, SourceKind, Target, TargetOptions};
use crate::job::JobError;
use crate::job::restore::{RestoreOptions, RestoreReport, restore};
use crate::repository::ListedPoint;

/// What to restore, where, and how.
#[derive(Debug)]
pub(in crate::cli) struct Settings {
    pub(in crate::cli) location: String,
    pub(in crate::cli) point: String,
    pub(in crate::cli) target: PathBuf,
    pub(in crate::cli) only_differences: bool,
    pub(in crate::cli) verify: bool,
    pub(in crate::cli) force: bool,
    pub(in crate::cli) degraded: bool,
    pub(in crate::cli) workers: Option<usize>,
}

#[derive(Debug, Serialize)]
struct View {
    schema: &'static str,
    point: String,
    volume: String,
    target: String,
    size_bytes: u64,
    written_bytes: u64,
    zero_bytes: u64,
    same_bytes: u64,
    omitted_bytes: u64,
    verified: bool,
    findings: Vec<FindingView>,
    found_elsewhere: FoundElsewhereView,
    files: Vec<AffectedView>,
}

pub(in crate::cli) fn run(context: &Context, settings: Settings) -> anyhow::Result<Outcome> {
    let repository = context.repository(&settings.location)?;
    let listing = Context::points(&repository)?;
    let point = context.point(&listing, &settings.point)?;
    if point.point.file_tree.is_some() {
        return restore_files(context, point, settings);
    }
    refuse_incomplete(point, &settings)?;
    let target = open_target(point, &settings)?;
    let options = RestoreOptions {
        target_is_zero: is_proven_zero(&target, &settings),
        only_differences: settings.only_differences,
        degraded: settings.degraded,
        verify: settings.verify,
        workers: settings.workers.unwrap_or_else(default_workers),
    };
    let progress = context.progress();
    let restored = restore(&repository, point, &target, options, progress.as_ref(), &context.interrupts.cancel());
    let mut report = restored.map_err(|error| about_target(error, &settings.target))?;
    drop(progress);
    report.findings = joined(report.findings);
    report.findings.iter().for_each(|finding| output::warn(&format!("not restored: {finding}")));
    say_affected(&report.files);
    say_found_elsewhere(&report.found_elsewhere);
    let view = View {
        schema: "icecore.restore.v1",
        point: point.id.to_string(),
        volume: point.point.volume.clone(),
        target: settings.target.display().to_string(),
        size_bytes: report.size,
        written_bytes: report.written_bytes,
        zero_bytes: report.zero_bytes,
        same_bytes: report.same_bytes,
        omitted_bytes: report.omitted_bytes,
        verified: settings.verify,
        findings: report.findings.iter().map(FindingView::from).collect(),
        found_elsewhere: FoundElsewhereView::from(&report.found_elsewhere),
        files: report.files.iter().map(AffectedView::from).collect(),
    };
    context.report(&view, || describe(point, &settings, &report))?;
    Ok(Outcome::findings_if(!report.findings.is_empty()))
}

/// Only the target is read and written here; the job does not know what it is called.
fn about_target(error: JobError, target: &Path) -> anyhow::Error {
    match error {
        JobError::Io(_) => {
            let half = format!("{} fails, and holds only a part of the point; restore to another target", target.display());
            anyhow::Error::new(error).context(half)
        }
        other => other.into(),
    }
}

/// A tree of files goes to a directory, all of it as it was. Whoever restores wants what lends rights back, too.
fn restore_files(context: &Context, point: &ListedPoint, settings: Settings) -> anyhow::Result<Outcome> {
    let target = settings.target;
    if target.exists() && !target.is_dir() {
        let what =
            format!("{} is no directory, and this point holds a tree of files; name a directory or a new name", target.display());
        return Err(Failure::Refused(what).into());
    }
    if settings.only_differences || settings.verify {
        return Err(Failure::refused("--only-differences and --verify are for devices; this point holds a tree of files").into());
    }
    let text = format!("{}:/", point.id).into();
    let place = Place { text, location: Some(settings.location), partition: None, follow: false, live: false };
    let (force, workers, partial) = (settings.force, settings.workers, settings.degraded);
    cp::run(
        context,
        cp::Settings { place, target: cp::Target::Files(target), force, devices: true, setuid: true, partial, workers },
    )
}

/// Said before the target is touched; the job would say it after a file was made.
fn refuse_incomplete(point: &ListedPoint, settings: &Settings) -> Result<(), JobError> {
    let lost = &point.point.unreadable;
    if lost.is_empty() || settings.degraded {
        return Ok(());
    }
    Err(JobError::IncompletePoint { bytes: lost.bytes(), count: lost.count() })
}

fn open_target(point: &ListedPoint, settings: &Settings) -> anyhow::Result<Target> {
    let options = TargetOptions { size: point.point.tree.size, force: settings.force, create: true };
    Target::open(&settings.target, &options).map_err(|error| match error {
        DeviceError::HoldsData { path, at } => {
            let too = if settings.only_differences { "; --only-differences needs that, too" } else { "" };
            let path = path.display();
            Failure::Refused(format!("{path} holds data at byte {at}; choose an empty target, or add --force to overwrite it{too}"))
                .into()
        }
        other => other.into(),
    })
}

/// A file that opens without force has no allocated byte. A device was only sampled, and a forced target may hold anything.
fn is_proven_zero(target: &Target, settings: &Settings) -> bool {
    !settings.force && target.device().geometry().kind == SourceKind::File
}

fn describe(point: &ListedPoint, settings: &Settings, report: &RestoreReport) -> String {
    let verified = if settings.verify { ", read back and compared" } else { "" };
    let lost: u64 = report.findings.iter().map(|finding| finding.extent().length).sum();
    let lost = match lost {
        0 => String::new(),
        bytes => format!(
            "NOT restored: {bytes} bytes in {}\n{}",
            text::count(report.findings.len() as u64, "range"),
            affected_text(&report.files)
        ),
    };
    format!(
        "restored point {} of volume {} to {}\nwrote {}, zeroed {}, left {} that was the same{verified}\n{lost}",
        point.id.short(),
        point.point.volume,
        settings.target.display(),
        text::size(report.written_bytes),
        text::size(report.zero_bytes),
        text::size(report.same_bytes),
    )
}

/// Neighbouring chunks that are lost for the same reason are one range: a bad object holds many.
fn joined(findings: Vec<Finding>) -> Vec<Finding> {
    let mut out: Vec<Finding> = Vec::new();
    for finding in findings {
        match (out.last_mut(), &finding) {
            (Some(Finding::Damaged { extent: before, reason: known }), Finding::Damaged { extent, reason })
                if before.end() == extent.offset && known == reason =>
            {
                before.length += extent.length;
            }
            _ => out.push(finding),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::extent::Extent;

    #[test]
    fn neighbours_lost_for_one_reason_are_one_range() {
        let damaged =
            |offset, length, reason: &str| Finding::Damaged { extent: Extent::new(offset, length), reason: reason.into() };
        let unreadable = |offset| Finding::Unreadable { extent: Extent::new(offset, 512) };
        let chunks = vec![damaged(0, 4096, "a"), damaged(4096, 4096, "a"), damaged(8192, 4096, "b"), damaged(16_384, 4096, "b")];
        assert_eq!(joined(chunks), [damaged(0, 8192, "a"), damaged(8192, 4096, "b"), damaged(16_384, 4096, "b")]);
        assert_eq!(joined(vec![unreadable(0), unreadable(512)]).len(), 2);
    }
}
