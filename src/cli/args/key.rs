//! Arguments of `icecore key`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{JsonArgs, RepoArgs};
use crate::cli::commands::key::{Act, NewKey, Settings};
use crate::cli::context::Voice;
use crate::cli::failure::Failure;
use crate::repository::format::slot::MAX_LABEL_BYTES;

/// Add, list, remove, rotate and export the keys of a repository
///
/// A repository opens with any one of its keys. Whoever loses all of them loses the data.
#[derive(Debug, Args)]
pub(in crate::cli) struct KeyArgs {
    #[command(flatten)]
    repo: RepoArgs,
    #[command(flatten)]
    json: JsonArgs,
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// List the key slots
    List,
    /// Add a passphrase or a key file
    #[command(group(clap::ArgGroup::new("new").required(true)))]
    Add {
        /// A passphrase, from ICECORE_NEW_PASSPHRASE or asked for
        #[arg(long, group = "new")]
        passphrase: bool,
        /// The key in this file, or a new one written there if there is none
        #[arg(long, group = "new", value_name = "PATH")]
        key_file: Option<PathBuf>,
        /// What to call it
        #[arg(long, value_name = "TEXT", default_value = "")]
        label: String,
    },
    /// Remove a key; rotate afterwards if whoever had it must not read what is written from now on
    Remove {
        /// The beginning of the slot's id
        id: String,
    },
    /// Encrypt what is written from now on with a new key; all slots open everything, old and new
    Rotate,
    /// Add a key for paper, and print it
    Export {
        /// What to call it
        #[arg(long, value_name = "TEXT", default_value = "paper")]
        label: String,
    },
}

impl KeyArgs {
    pub(in crate::cli) fn settle(self) -> Result<(Settings, Voice), Failure> {
        let act = match self.command {
            KeyCommand::List => Act::List,
            KeyCommand::Add { key_file: Some(path), label, .. } => Act::Add { new: NewKey::File(path), label: fitting(label)? },
            KeyCommand::Add { key_file: None, label, .. } => Act::Add { new: NewKey::Passphrase, label: fitting(label)? },
            KeyCommand::Remove { id } => Act::Remove { selector: id.to_ascii_lowercase() },
            KeyCommand::Rotate => Act::Rotate,
            KeyCommand::Export { label } => Act::Export { label: fitting(label)? },
        };
        Ok((Settings { location: self.repo.settle()?, act }, self.json.settle()))
    }
}

fn fitting(label: String) -> Result<String, Failure> {
    if label.len() <= MAX_LABEL_BYTES && !label.chars().any(char::is_control) {
        Ok(label)
    } else {
        Err(Failure::refused(format!("a label has at most {MAX_LABEL_BYTES} bytes and no control characters")))
    }
}
