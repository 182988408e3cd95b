//! The command line: raw arguments become settled settings, settings become one run, and its outcome becomes an exit code.
//!
//! ```text
//!   args (clap) ─► settings (plain) ─► commands (one file each) ─► job, repository, device
//!                                          └─► views (JSON) or text
//! ```
//! Nothing below this room knows how it is called or how it looks. `docs/json.md` holds the shapes of `--json`, and
//! `docs/exit-codes.md` the meaning of exit codes.

use std::process::ExitCode;

mod args;
mod catalog;
mod commands;
mod context;
mod damage_views;
mod dispatch;
mod failure;
mod file_views;
mod interrupts;
mod logging;
mod metrics;
mod outcome;
mod output;
mod place;
mod progress;
mod secrets;
mod terminal;
mod text;
mod times;
mod views;
mod wreck;

use context::Context;
use interrupts::Interrupts;

/// Runs the command that the process was started with.
///
/// Must be called before any other thread exists, so that all threads leave signals to the one that waits for them.
#[must_use]
pub fn run() -> ExitCode {
    let interrupts = match Interrupts::install() {
        Ok(interrupts) => interrupts,
        Err(error) => return failure::report(error.into()),
    };
    logging::start();
    let cli = match args::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let context = Context::new(interrupts, cli.quiet);
    match dispatch::dispatch(cli.command, context) {
        Ok(outcome) => outcome.into(),
        Err(error) => failure::report(error),
    }
}
