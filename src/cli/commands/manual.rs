//! Completions and manual pages, made from the grammar itself.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::cli::outcome::Outcome;
use crate::cli::{args, output};

/// Prints a completion script.
pub(in crate::cli) fn completions(shell: Shell) -> anyhow::Result<Outcome> {
    // Into memory first: the generator does not expect a reader that goes away.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut args::grammar(), "icecore", &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(Outcome::Clean)
}

/// Prints the main page, or writes all pages into a folder, which is made if it is missing.
pub(in crate::cli) fn pages(out: Option<&Path>) -> anyhow::Result<Outcome> {
    let grammar = args::grammar().disable_help_subcommand(true);
    match out {
        None => {
            let mut page = Vec::new();
            Man::new(grammar).render(&mut page)?;
            output::print(&String::from_utf8_lossy(&page))?;
        }
        Some(folder) => {
            fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
            clap_mangen::generate_to(grammar, folder)
                .with_context(|| format!("cannot write manual pages into {}", folder.display()))?;
        }
    }
    Ok(Outcome::Clean)
}
