//! Arguments of the commands that explain the others: `demo`, `completions` and `man`.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

/// Back up, change and restore a small image in a temporary folder, and compare
#[derive(Debug, Args)]
pub(in crate::cli) struct DemoArgs {}

/// Print what makes a shell complete icecore's commands
#[derive(Debug, Args)]
pub(in crate::cli) struct CompletionsArgs {
    /// Which shell
    pub(in crate::cli) shell: Shell,
}

/// Print the manual page, or write one page for each command
#[derive(Debug, Args)]
pub(in crate::cli) struct ManArgs {
    /// Write icecore.1, icecore-backup.1 and so on into this folder
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) out: Option<PathBuf>,
}
