//! The raw arguments, as clap reads them. Each file settles its own into the plain settings of its command.

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use super::context::Voice;
use super::failure::Failure;
use super::output;

pub(super) mod backup;
pub(super) mod cat;
pub(super) mod check;
pub(super) mod cp;
mod csi;
pub(super) mod diff;
pub(super) mod doctor;
pub(super) mod files;
pub(super) mod forget;
pub(super) mod init;
pub(super) mod key;
pub(super) mod ls;
pub(super) mod manual;
mod place;
pub(super) mod points;
pub(super) mod prune;
pub(super) mod restore;
pub(super) mod salvage;
pub(super) mod stat;
pub(super) mod track;
mod tracker;
mod values;

/// Said below the help of every command.
const AFTER_HELP: &str = "\
Environment:
  ICECORE_REPO            the repository, where none is named
  ICECORE_KEY_FILE        a file that holds a key; tried first
  ICECORE_PASSPHRASE      a passphrase; tried next. With neither, a terminal is asked
  ICECORE_NEW_PASSPHRASE  the passphrase that 'key add' adds
  ICECORE_CACHE_DIR       where the local index of files is kept
  ICECORE_LOG             what is logged, such as debug
  TZ                      the time zone of calendars and of times without one
  AWS_*, GOOGLE_*, AZURE_*  how to reach object stores

Exit codes:
  0 done    1 failed    2 wrong usage, or refused    3 data is damaged, unreadable or misreported
  4 no key, or the wrong one    5 no such repository, point or file    6 busy    7 store out of reach    130 stopped";

/// Incremental backup of block volumes: verified, encrypted, and restorable with one binary and one key.
#[derive(Debug, Parser)]
#[command(name = "icecore", version)]
pub(super) struct Cli {
    /// Show no progress
    #[arg(short, long, global = true)]
    pub(super) quiet: bool,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Init(init::InitArgs),
    Backup(Box<backup::BackupArgs>),
    Points(points::PointsArgs),
    Diff(diff::DiffArgs),
    Find(files::FindArgs),
    History(files::HistoryArgs),
    Check(check::CheckArgs),
    Restore(restore::RestoreArgs),
    Ls(ls::LsArgs),
    Cat(cat::CatArgs),
    Cp(cp::CpArgs),
    Stat(stat::StatArgs),
    Salvage(salvage::SalvageArgs),
    CheckVolume(salvage::CheckVolumeArgs),
    Forget(forget::ForgetArgs),
    Prune(prune::PruneArgs),
    Key(key::KeyArgs),
    Track(track::TrackArgs),
    #[command(hide = true)]
    GuardFrozen(track::GuardFrozenArgs),
    Doctor(doctor::DoctorArgs),
    Demo(manual::DemoArgs),
    Completions(manual::CompletionsArgs),
    Man(manual::ManArgs),
}

/// The repository that a command works on.
#[derive(Debug, clap::Args)]
pub(super) struct RepoArgs {
    /// The repository: a path, file:///path, s3://bucket/prefix, gs://bucket/prefix, or az://container/prefix
    #[arg(long, value_name = "REPO", env = "ICECORE_REPO", global = true)]
    repo: Option<String>,
}

impl RepoArgs {
    /// For what needs a repository only sometimes.
    fn optional(self) -> Option<String> {
        self.repo.filter(|repo| !repo.is_empty())
    }

    fn settle(self) -> Result<String, Failure> {
        self.repo
            .filter(|repo| !repo.is_empty())
            .ok_or_else(|| Failure::refused("which repository? name it with --repo, or in the variable ICECORE_REPO"))
    }
}

/// How the result is said.
#[derive(Debug, clap::Args)]
pub(super) struct JsonArgs {
    /// Print the result as one JSON object; docs/json.md describes it
    #[arg(long, global = true)]
    json: bool,
}

impl JsonArgs {
    fn settle(self) -> Voice {
        if self.json { Voice::Json } else { Voice::Text }
    }
}

/// The grammar, with the part of the help that all commands share.
pub(super) fn grammar() -> clap::Command {
    fn with_after_help(command: clap::Command) -> clap::Command {
        command.after_help(AFTER_HELP).mut_subcommands(with_after_help)
    }
    with_after_help(Cli::command())
}

/// Reads the process's arguments; when there is nothing to run, says why and gives the exit code.
pub(super) fn parse() -> Result<Cli, ExitCode> {
    let parsed = grammar().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    parsed.map_err(|error| {
        let text = error.render();
        if error.use_stderr() {
            output::say(text.to_string().trim_end());
        } else if output::print(&text.to_string()).is_err() {
            return ExitCode::FAILURE;
        }
        ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_holds_together() {
        grammar().debug_assert();
    }
}
