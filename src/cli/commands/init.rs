//! Init: a new repository with its first key.

use anyhow::Context as _;
use serde::Serialize;

use super::host_name;
use crate::cli::context::Context;
use crate::cli::outcome::Outcome;
use crate::cli::secrets::{self, KEY_FILE, KeyFile, PASSPHRASE};
use crate::cli::{output, text};
use crate::repository::{InitOptions, NewSlot, Repository};
use crate::store::Missing;

/// What to make, and where.
#[derive(Debug)]
pub(in crate::cli) struct Settings {
    pub(in crate::cli) location: String,
    pub(in crate::cli) options: InitOptions,
}

#[derive(Debug, Serialize)]
struct View {
    schema: &'static str,
    location: String,
    repository: String,
    chunk_bytes: u32,
    pack_bytes: u32,
    key_kind: &'static str,
    key_file: Option<String>,
    key_file_written: bool,
}

pub(in crate::cli) fn run(context: &Context, settings: Settings) -> anyhow::Result<Outcome> {
    let (slot, key_file) = first_slot(context)?;
    let made = make(context, &settings, &slot).inspect_err(|_| {
        if let (Some(KeyFile::Written), Some(path)) = (key_file, &context.keys.key_file) {
            output::say(&format!("the new key file {} stays where it is, and the next try uses it", path.display()));
        }
    });
    let repository = made?;
    let config = repository.config();
    let view = View {
        schema: "icecore.init.v1",
        location: repository.store().location(),
        repository: config.id.to_string(),
        chunk_bytes: config.chunk_bytes,
        pack_bytes: config.pack_bytes,
        key_kind: if key_file.is_some() { "key file" } else { "passphrase" },
        key_file: key_file.and(context.keys.key_file.as_ref()).map(|path| path.display().to_string()),
        key_file_written: key_file == Some(KeyFile::Written),
    };
    context.report(&view, || describe(&view))?;
    Ok(Outcome::Clean)
}

fn make(context: &Context, settings: &Settings, slot: &NewSlot) -> anyhow::Result<Repository> {
    let store = context.store(&settings.location, Missing::Create)?;
    Repository::init(store, context.environment(), settings.options, slot)
        .with_context(|| format!("cannot make a repository at {}", settings.location))
}

/// The slot of the key that the user has set, or of a passphrase asked for.
fn first_slot(context: &Context) -> anyhow::Result<(NewSlot, Option<KeyFile>)> {
    let label = host_name();
    if let Some(path) = &context.keys.key_file {
        let (slot, made) = secrets::key_file_slot(path, &label, context.entropy.as_ref())?;
        return Ok((slot, Some(made)));
    }
    let instead = format!("set {KEY_FILE} to a file that shall hold the key, or {PASSPHRASE} to a passphrase");
    let passphrase = match &context.keys.passphrase {
        Some(passphrase) => passphrase.clone(),
        None => secrets::new_passphrase(PASSPHRASE, &instead)?,
    };
    Ok((secrets::passphrase_slot(passphrase, &label)?, None))
}

fn describe(view: &View) -> String {
    let key = match (&view.key_file, view.key_file_written) {
        (Some(path), true) => format!("a new key, written to {path}"),
        (Some(path), false) => format!("the key in {path}"),
        (None, _) => "your passphrase".to_owned(),
    };
    format!(
        "made repository {} at {}\nchunks of {}, packs of {}\nit opens with {key}\n\
         Whoever loses all keys of a repository loses its data: nobody can recover it.\n\
         Run 'icecore key export' and keep the printed key somewhere else.\n",
        view.repository,
        view.location,
        text::size(view.chunk_bytes.into()),
        text::size(view.pack_bytes.into()),
    )
}
