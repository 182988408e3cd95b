//! Hands each command its settled settings.

use super::args::backup::BackupTask;
use super::args::{self, Command};
use super::commands;
use super::context::Context;
use super::outcome::Outcome;
use crate::device::freeze::stand_by;

/// Runs one command.
pub(super) fn dispatch(command: Command, context: Context) -> anyhow::Result<Outcome> {
    macro_rules! run {
        ($command:ident, $args:expr) => {{
            let (settings, voice) = $args;
            commands::$command::run(&context.speaking(voice), settings)
        }};
    }
    match command {
        Command::Init(args) => run!(init, args.settle()?),
        Command::Backup(args) => match args.settle()? {
            (BackupTask::Volume(settings), voice) => run!(backup, (*settings, voice)),
            (BackupTask::Files(settings), voice) => run!(backup_files, (settings, voice)),
        },
        Command::Points(args) => run!(points, args.settle()?),
        Command::Diff(args) => run!(diff, args.settle()?),
        Command::Find(args) => run!(find, args.settle()?),
        Command::History(args) => run!(history, args.settle()?),
        Command::Check(args) => run!(check, args.settle()?),
        Command::Restore(args) => run!(restore, args.settle()?),
        Command::Ls(args) => run!(ls, args.settle()),
        Command::Cat(args) => run!(cat, args.settle()),
        Command::Cp(args) => run!(cp, args.settle()?),
        Command::Stat(args) => run!(stat, args.settle()),
        Command::Salvage(args) => run!(salvage, args.settle()?),
        Command::CheckVolume(args) => run!(check_volume, args.settle()),
        Command::Forget(args) => run!(forget, args.settle()?),
        Command::Prune(args) => run!(prune, args.settle()?),
        Command::Key(args) => run!(key, args.settle()?),
        Command::Track(args) => run!(track, args.settle()),
        Command::GuardFrozen(args) => {
            let (mount, limit) = args.settle();
            Ok(Outcome::findings_if(stand_by(&mount, limit)?))
        }
        Command::Doctor(args) => run!(doctor, args.settle()),
        Command::Demo(args::manual::DemoArgs {}) => commands::demo::run(&context),
        Command::Completions(args) => commands::manual::completions(args.shell),
        Command::Man(args) => commands::manual::pages(args.out.as_deref()),
    }
}
