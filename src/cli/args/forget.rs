//! Arguments of `icecore forget`.

use clap::{Args, Subcommand};

use super::{JsonArgs, RepoArgs};
use crate::cli::commands::forget::{Act, Settings};
use crate::cli::context::Voice;
use crate::cli::failure::Failure;
use crate::repository::retention::{Policy, Within};

/// Forget recovery points by rules or by name; pin those that rules must keep
///
/// A rule keeps the newest point of each of so many hours, days, weeks, months or years that have one, on the calendar of the time
/// zone TZ. A point stays if any rule keeps it, if it is pinned, or if it is held. Space is freed by 'icecore prune', later.
#[derive(Debug, Args)]
pub(in crate::cli) struct ForgetArgs {
    /// Forget exactly these points
    #[arg(value_name = "POINT", conflicts_with = "volume")]
    points: Vec<String>,
    #[command(flatten)]
    repo: RepoArgs,
    /// Apply the rules to this volume only; without it, to each volume by itself
    #[arg(long, value_name = "NAME")]
    volume: Option<String>,
    #[command(flatten)]
    rules: RuleArgs,
    /// Only say what would be forgotten, and why the rest stays
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    json: JsonArgs,
    #[command(subcommand)]
    command: Option<ForgetCommand>,
}

#[derive(Debug, Args)]
struct RuleArgs {
    /// Keep the newest N points
    #[arg(long, value_name = "N")]
    keep_last: Option<u32>,
    /// Keep the newest point of each of N hours
    #[arg(long, value_name = "N")]
    keep_hourly: Option<u32>,
    /// Keep the newest point of each of N days
    #[arg(long, value_name = "N")]
    keep_daily: Option<u32>,
    /// Keep the newest point of each of N weeks
    #[arg(long, value_name = "N")]
    keep_weekly: Option<u32>,
    /// Keep the newest point of each of N months
    #[arg(long, value_name = "N")]
    keep_monthly: Option<u32>,
    /// Keep the newest point of each of N years
    #[arg(long, value_name = "N")]
    keep_yearly: Option<u32>,
    /// Keep everything this close to the newest point, such as 14d or 1y6m
    #[arg(long, value_name = "SPAN")]
    keep_within: Option<Within>,
}

#[derive(Debug, Subcommand)]
enum ForgetCommand {
    /// Let no rule forget this point
    Pin {
        /// The point
        point: String,
        /// Why
        #[arg(long, value_name = "TEXT", default_value = "")]
        note: String,
    },
    /// Leave this point to the rules again
    Unpin {
        /// The point
        point: String,
    },
}

impl ForgetArgs {
    pub(in crate::cli) fn settle(self) -> Result<(Settings, Voice), Failure> {
        let policy = self.rules.policy();
        let act = match (self.command, self.points.is_empty(), policy.is_empty()) {
            (Some(ForgetCommand::Pin { point, note }), true, true) => Act::Pin { point, note },
            (Some(ForgetCommand::Unpin { point }), true, true) => Act::Unpin { point },
            (Some(_), ..) => return Err(Failure::refused("pin and unpin take one point and no rules")),
            (None, true, true) => return Err(Failure::refused("forget what? name points, or give at least one --keep rule")),
            (None, false, false) => return Err(Failure::refused("name points or give rules, not both")),
            (None, false, true) => Act::Named { points: self.points, dry_run: self.dry_run },
            (None, true, false) => Act::Rules { volume: self.volume, policy, dry_run: self.dry_run },
        };
        Ok((Settings { location: self.repo.settle()?, act }, self.json.settle()))
    }
}

impl RuleArgs {
    fn policy(&self) -> Policy {
        Policy {
            keep_last: self.keep_last,
            keep_hourly: self.keep_hourly,
            keep_daily: self.keep_daily,
            keep_weekly: self.keep_weekly,
            keep_monthly: self.keep_monthly,
            keep_yearly: self.keep_yearly,
            keep_within: self.keep_within,
        }
    }
}
