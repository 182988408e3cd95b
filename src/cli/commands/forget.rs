//! Forget: points go by rules or by name; pins keep them.

use serde::Serialize;

use crate::base::progress::Silent;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::outcome::Outcome;
use crate::cli::{text, times};
use crate::job::forget::{VolumeDecisions, carry_out, plan};
use crate::repository::format::verdict::VerdictKind;
use crate::repository::retention::Policy;
use crate::repository::{ListedPoint, Repository, Verdicts};

/// What to do with which points.
#[derive(Debug)]
pub(in crate::cli) enum Act {
    /// Forget exactly these.
    Named { points: Vec<String>, dry_run: bool },
    /// Forget what no rule keeps.
    Rules { volume: Option<String>, policy: Policy, dry_run: bool },
    /// Let no rule forget it.
    Pin { point: String, note: String },
    /// Leave it to the rules again.
    Unpin { point: String },
}

/// Where, and what.
#[derive(Debug)]
pub(in crate::cli) struct Settings {
    pub(in crate::cli) location: String,
    pub(in crate::cli) act: Act,
}

#[derive(Debug, Serialize)]
struct DecisionView {
    point: String,
    volume: String,
    cut: String,
    keep: bool,
    reasons: Vec<String>,
}

#[derive(Debug, Serialize)]
struct View {
    schema: &'static str,
    dry_run: bool,
    policy: Option<String>,
    time_zone: String,
    forgotten: u64,
    kept: u64,
    decisions: Vec<DecisionView>,
}

#[derive(Debug, Serialize)]
struct PinView {
    schema: &'static str,
    point: String,
    pinned: bool,
    changed: bool,
}

pub(in crate::cli) fn run(context: &Context, settings: Settings) -> anyhow::Result<Outcome> {
    let repository = context.repository(&settings.location)?;
    match settings.act {
        Act::Named { points, dry_run } => named(context, &repository, &points, dry_run),
        Act::Rules { volume, policy, dry_run } => by_rules(context, &repository, volume.as_deref(), &policy, dry_run),
        Act::Pin { point, note } => pin(context, &repository, &point, &note),
        Act::Unpin { point } => unpin(context, &repository, &point),
    }
}

fn by_rules(
    context: &Context,
    repository: &Repository,
    volume: Option<&str>,
    policy: &Policy,
    dry_run: bool,
) -> anyhow::Result<Outcome> {
    let plan = plan(repository, volume, policy, &context.zone)?;
    let spared = if dry_run { Vec::new() } else { carry_out(repository, &plan, &Silent)? };
    let decisions = plan.iter().flat_map(|volume| decisions_of(volume, &spared)).collect();
    say(context, dry_run, Some(policy), decisions)
}

/// What became of each point of a volume; one that a running backup builds on stays although no rule keeps it.
fn decisions_of(volume: &VolumeDecisions, spared: &[(ListedPoint, String)]) -> Vec<DecisionView> {
    let views = volume.decisions.iter().map(|(point, decision)| {
        let spared = spared.iter().find(|(spared, _)| spared.id == point.id);
        let reasons = match spared {
            Some((_, why)) => vec![why.clone()],
            None => decision.reasons.iter().map(ToString::to_string).collect(),
        };
        decision_view(point, decision.keep || spared.is_some(), reasons)
    });
    views.collect()
}

fn decision_view(point: &ListedPoint, keep: bool, reasons: Vec<String>) -> DecisionView {
    let (volume, cut) = (point.point.volume.clone(), times::utc(point.point.cut));
    DecisionView { point: point.id.to_string(), volume, cut, keep, reasons }
}

fn named(context: &Context, repository: &Repository, selectors: &[String], dry_run: bool) -> anyhow::Result<Outcome> {
    let listing = Context::points(repository)?;
    let verdicts = repository.verdicts()?;
    // All are found and free to go before the first goes.
    let mut doomed: Vec<&ListedPoint> = Vec::new();
    for selector in selectors {
        let point = context.point(&listing, selector)?;
        refuse_kept(point, &verdicts)?;
        if !doomed.iter().any(|known| known.id == point.id) {
            doomed.push(point);
        }
    }
    let mut decisions = Vec::new();
    for point in doomed {
        if !dry_run {
            repository.forget_point(point)?;
        }
        decisions.push(decision_view(point, false, vec!["named".to_owned()]));
    }
    say(context, dry_run, None, decisions)
}

fn refuse_kept(point: &ListedPoint, verdicts: &Verdicts) -> Result<(), Failure> {
    let said = verdicts.get(&point.id).map(Vec::as_slice).unwrap_or_default();
    let id = point.id.short();
    for (_, verdict) in said {
        match verdict.kind {
            VerdictKind::Pinned => {
                return Err(Failure::Refused(format!("point {id} is pinned; 'icecore forget unpin {id}' lets it go")));
            }
            VerdictKind::Held => {
                return Err(Failure::Refused(format!("point {id} is held ({}); it can go once the hold is lifted", verdict.note)));
            }
            VerdictKind::Verified | VerdictKind::Infected | VerdictKind::Suspect | VerdictKind::Forgotten { .. } => {}
        }
    }
    Ok(())
}

fn say(context: &Context, dry_run: bool, policy: Option<&Policy>, decisions: Vec<DecisionView>) -> anyhow::Result<Outcome> {
    let kept = decisions.iter().filter(|decision| decision.keep).count() as u64;
    let view = View {
        schema: "icecore.forget.v1",
        dry_run,
        policy: policy.map(ToString::to_string),
        time_zone: times::zone_name(&context.zone, context.clock.now()),
        forgotten: decisions.len() as u64 - kept,
        kept,
        decisions,
    };
    context.report(&view, || describe(&view))?;
    Ok(Outcome::Clean)
}

fn describe(view: &View) -> String {
    let policy = view.policy.iter().map(|policy| format!("{policy}, in time zone {}\n", view.time_zone));
    let rows = view.decisions.iter().map(|decision| {
        let verb = if decision.keep { "keep" } else { "forget" };
        let id = decision.point.chars().take(8).collect();
        vec![verb.to_owned(), id, decision.volume.clone(), decision.cut.clone(), decision.reasons.join("; ")]
    });
    let table = match view.decisions.is_empty() {
        true => "there are no recovery points\n".to_owned(),
        false => text::table(&["", "point", "volume", "cut", "because"], &[], rows.collect()),
    };
    let (points, kept) = (text::count(view.forgotten, "point"), view.kept);
    let end = match (view.dry_run, view.forgotten) {
        (true, _) => format!("{points} would be forgotten, {kept} kept; nothing was changed\n"),
        (false, 0) => format!("nothing was forgotten, {kept} kept\n"),
        (false, _) => format!("{points} forgotten, {kept} kept; 'icecore prune' frees the space\n"),
    };
    policy.chain([table, end]).collect()
}

fn pin(context: &Context, repository: &Repository, selector: &str, note: &str) -> anyhow::Result<Outcome> {
    let listing = Context::points(repository)?;
    let point = context.point(&listing, selector)?;
    let verdicts = repository.verdicts()?;
    let said = verdicts.get(&point.id).map(Vec::as_slice).unwrap_or_default();
    let already = said.iter().any(|(_, verdict)| verdict.kind == VerdictKind::Pinned);
    if !already {
        repository.add_verdict(point.id, VerdictKind::Pinned, note)?;
    }
    say_pin(context, point, true, !already)
}

fn unpin(context: &Context, repository: &Repository, selector: &str) -> anyhow::Result<Outcome> {
    let listing = Context::points(repository)?;
    let point = context.point(&listing, selector)?;
    let removed = repository.remove_verdicts(point.id, &VerdictKind::Pinned)?;
    say_pin(context, point, false, removed > 0)
}

fn say_pin(context: &Context, point: &ListedPoint, pinned: bool, changed: bool) -> anyhow::Result<Outcome> {
    let view = PinView { schema: "icecore.pin.v1", point: point.id.to_string(), pinned, changed };
    context.report(&view, || {
        let state = if pinned { "pinned" } else { "not pinned" };
        let since = if changed { "now" } else { "as before" };
        format!("point {} is {state}, {since}\n", point.id.short())
    })?;
    Ok(Outcome::Clean)
}
