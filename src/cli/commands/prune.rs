//! Prune: space that no point needs is condemned, and freed by a later run.

use std::time::Duration;

use jiff::tz::TimeZone;
use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::outcome::Outcome;
use crate::cli::{text, times};
use crate::repository::{CollectOptions, CollectReport, Tally};

/// How to prune.
#[derive(Debug)]
pub(in crate::cli) struct Settings {
    pub(in crate::cli) location: String,
    pub(in crate::cli) dry_run: bool,
    pub(in crate::cli) wait: Duration,
}

#[derive(Debug, Serialize)]
struct TallyView {
    packs: u64,
    pack_bytes: u64,
}

impl From<Tally> for TallyView {
    fn from(tally: Tally) -> Self {
        Self { packs: tally.packs, pack_bytes: tally.bytes }
    }
}

#[derive(Debug, Serialize)]
struct View {
    schema: &'static str,
    dry_run: bool,
    total: TallyView,
    deleted: TallyView,
    rewritten: TallyView,
    waiting: TallyView,
    next: Option<String>,
    leased: TallyView,
    leases_removed: u64,
}

pub(in crate::cli) fn run(context: &Context, settings: Settings) -> anyhow::Result<Outcome> {
    let repository = context.repository(&settings.location)?;
    let report = repository.collect(CollectOptions { dry_run: settings.dry_run, wait: settings.wait })?;
    let view = View {
        schema: "icecore.prune.v1",
        dry_run: settings.dry_run,
        total: report.total.into(),
        deleted: report.deleted.into(),
        rewritten: report.rewritten.into(),
        waiting: report.waiting.into(),
        next: report.next.map(times::utc),
        leased: report.leased.into(),
        leases_removed: report.leases_removed,
    };
    context.report(&view, || describe(&report, settings.dry_run, &context.zone))?;
    Ok(Outcome::Clean)
}

fn describe(report: &CollectReport, dry_run: bool, zone: &TimeZone) -> String {
    let would = if dry_run { "would be " } else { "" };
    let packs = |tally: Tally| text::count(tally.packs, "pack");
    let size = |tally: Tally| text::size(tally.bytes);
    let (total, leased, waiting) = (report.total, report.leased, report.waiting);
    let mut lines = vec![format!("{} of {} in all", packs(total), size(total))];
    if report.deleted.packs > 0 {
        lines.push(format!("{} {would}deleted, {} freed", packs(report.deleted), size(report.deleted)));
    }
    if report.rewritten.packs > 0 {
        lines.push(format!(
            "{} {would}rewritten without what nobody needs, {} freed",
            packs(report.rewritten),
            size(report.rewritten)
        ));
    }
    if waiting.packs > 0 {
        let until = report.next.map_or_else(String::new, |next| format!("; run it again after {}", times::local(next, zone)));
        lines.push(format!(
            "{} with {} to free wait, in case a running backup still needs them{until}",
            packs(waiting),
            size(waiting)
        ));
    }
    if leased.packs > 0 {
        lines.push(format!("{} of {} belong to a backup that runs or was stopped", packs(leased), size(leased)));
    }
    if report.leases_removed > 0 {
        lines.push(format!("{} of backups that never ended removed", text::count(report.leases_removed, "lease")));
    }
    if lines.len() == 1 {
        lines.push("nothing to free".to_owned());
    }
    lines.join("\n") + "\n"
}
