//! Check: can everything be restored, and if not, which bytes of which point cannot?

use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::outcome::Outcome;
use crate::cli::text;
use crate::cli::views::{self, ExtentView};
use crate::repository::{CheckDepth, CheckReport, ScrubReport, scrub};
use crate::store::Missing;

/// How closely to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Depth {
    /// Points, trees, and that packs are there.
    Quick,
    /// Every chunk as well.
    Deep,
    /// Checksums and signatures, without a key.
    Keyless,
}

/// What to look at.
#[derive(Debug)]
pub(in crate::cli) struct Settings {
    pub(in crate::cli) location: String,
    pub(in crate::cli) depth: Depth,
}

#[derive(Debug, Serialize)]
struct DamageView {
    point: String,
    volume: String,
    lost_bytes: u64,
    held_elsewhere_bytes: u64,
    extents: Vec<ExtentView>,
}

#[derive(Debug, Serialize)]
struct CatalogDamageView {
    point: String,
    volume: String,
}

#[derive(Debug, Serialize)]
struct BreakView {
    point: String,
    missing: String,
}

#[derive(Debug, Serialize)]
struct CheckView {
    schema: &'static str,
    depth: &'static str,
    clean: bool,
    points: u64,
    packs: u64,
    verified_bytes: u64,
    objects: Vec<String>,
    objects_left_out: u64,
    damage: Vec<DamageView>,
    catalogs: Vec<CatalogDamageView>,
    chain_breaks: Vec<BreakView>,
}

#[derive(Debug, Serialize)]
struct ScrubView {
    schema: &'static str,
    clean: bool,
    objects: u64,
    read_bytes: u64,
    problems: Vec<String>,
    strangers: Vec<String>,
}

pub(in crate::cli) fn run(context: &Context, settings: Settings) -> anyhow::Result<Outcome> {
    match settings.depth {
        Depth::Quick => check(context, &settings.location, CheckDepth::Quick),
        Depth::Deep => check(context, &settings.location, CheckDepth::Deep),
        Depth::Keyless => keyless(context, &settings.location),
    }
}

fn check(context: &Context, location: &str, depth: CheckDepth) -> anyhow::Result<Outcome> {
    let repository = context.repository(location)?;
    let progress = context.progress();
    let report = repository.check(depth, progress.as_ref())?;
    drop(progress);
    context.report(&check_view(depth, &report), || describe(&report))?;
    Ok(Outcome::findings_if(!report.is_clean()))
}

fn check_view(depth: CheckDepth, report: &CheckReport) -> CheckView {
    CheckView {
        schema: "icecore.check.v1",
        depth: match depth {
            CheckDepth::Quick => "quick",
            CheckDepth::Deep => "deep",
        },
        clean: report.is_clean(),
        points: report.points,
        packs: report.packs,
        verified_bytes: report.verified_bytes,
        objects: report.objects.clone(),
        objects_left_out: report.objects_left_out,
        damage: report
            .damage
            .iter()
            .map(|damage| DamageView {
                point: damage.id.to_string(),
                volume: damage.volume.clone(),
                lost_bytes: damage.extents.bytes(),
                held_elsewhere_bytes: damage.held_elsewhere_bytes,
                extents: views::extents(&damage.extents),
            })
            .collect(),
        catalogs: report
            .catalogs
            .iter()
            .map(|(point, volume)| CatalogDamageView { point: point.to_string(), volume: volume.clone() })
            .collect(),
        chain_breaks: report
            .chain_breaks
            .iter()
            .map(|(point, previous)| BreakView { point: point.to_string(), missing: previous.id.to_string() })
            .collect(),
    }
}

fn describe(report: &CheckReport) -> String {
    let mut lines: Vec<String> = report.objects.clone();
    if report.objects_left_out > 0 {
        lines.push(format!("and {}", text::count(report.objects_left_out, "more damaged object")));
    }
    for damage in &report.damage {
        let lost = text::count(damage.extents.count() as u64, "range");
        let held = match damage.held_elsewhere_bytes {
            0 => String::new(),
            bytes => format!(", of which other packs hold {bytes}"),
        };
        lines.push(format!(
            "point {} of volume {} lost {} bytes in {lost}{held}:",
            damage.id.short(),
            damage.volume,
            damage.extents.bytes()
        ));
        lines.extend(damage.extents.as_slice().iter().map(|extent| format!("  {extent}")));
    }
    for (point, volume) in &report.catalogs {
        lines.push(format!(
            "the file catalog of point {} of volume {volume} is damaged; its data is not touched by that",
            point.short()
        ));
    }
    for (point, previous) in &report.chain_breaks {
        let missing = previous.id.short();
        lines.push(format!(
            "point {} was built on {missing}, which is gone or changed and was not forgotten on purpose",
            point.short()
        ));
    }
    let (points, packs) = (text::count(report.points, "point"), text::count(report.packs, "pack"));
    lines.push(match (report.is_clean(), report.verified_bytes) {
        (true, 0) => format!("{points} and {packs}: all is there; 'icecore check --deep' reads every chunk as well"),
        (true, bytes) => format!("{points} and {packs}: all is there, and {} were read and verified", text::size(bytes)),
        (false, _) => format!(
            "{points} and {packs}: there is damage; 'icecore backup --full' stores a volume anew, which also gives older points back \
             what has not changed since; 'icecore restore --degraded' saves what is left and names the files that are hit"
        ),
    });
    lines.join("\n") + "\n"
}

fn keyless(context: &Context, location: &str) -> anyhow::Result<Outcome> {
    let store = context.store(location, Missing::Refuse)?;
    let progress = context.progress();
    let report = scrub(store.as_ref(), progress.as_ref(), &context.interrupts.cancel())?;
    drop(progress);
    let view = ScrubView {
        schema: "icecore.scrub.v1",
        clean: report.problems.is_empty(),
        objects: report.objects,
        read_bytes: report.bytes,
        problems: report.problems.clone(),
        strangers: report.strangers.clone(),
    };
    context.report(&view, || describe_scrub(&report))?;
    Ok(Outcome::findings_if(!report.problems.is_empty()))
}

fn describe_scrub(report: &ScrubReport) -> String {
    let strangers = report.strangers.iter().map(|object| format!("{object}: no part of a repository"));
    let mut lines: Vec<String> = report.problems.iter().cloned().chain(strangers).collect();
    let read = format!("{} of {} read", text::count(report.objects, "object"), text::size(report.bytes));
    lines.push(match report.problems.len() {
        0 => format!(
            "{read}: all checksums and signatures are right; whether nothing is missing only 'icecore check' with a key tells"
        ),
        problems => format!("{read}: {} wrong; 'icecore check' tells what that affects", text::count(problems as u64, "object")),
    });
    lines.join("\n") + "\n"
}
