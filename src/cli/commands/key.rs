//! Key: the slots of a repository, each of which opens it.

use std::path::PathBuf;

use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::outcome::Outcome;
use crate::cli::secrets::{self, KeyFile, NEW_PASSPHRASE};
use crate::cli::{output, text, times};
use crate::repository::{Repository, SlotSummary};

/// What kind of key to add.
#[derive(Debug)]
pub(in crate::cli) enum NewKey {
    /// Something to remember.
    Passphrase,
    /// A file that holds it, or shall hold it.
    File(PathBuf),
}

/// What to do.
#[derive(Debug)]
pub(in crate::cli) enum Act {
    List,
    Add { new: NewKey, label: String },
    Remove { selector: String },
    Rotate,
    Export { label: String },
}

/// Where, and what.
#[derive(Debug)]
pub(in crate::cli) struct Settings {
    pub(in crate::cli) location: String,
    pub(in crate::cli) act: Act,
}

#[derive(Debug, Serialize)]
struct SlotView {
    id: String,
    kind: &'static str,
    label: String,
    created: String,
    in_use: bool,
}

impl From<&SlotSummary> for SlotView {
    fn from(slot: &SlotSummary) -> Self {
        let (id, created) = (slot.id.to_string(), times::utc(slot.created));
        Self { id, kind: slot.kind, label: slot.label.clone(), created, in_use: slot.in_use }
    }
}

#[derive(Debug, Serialize)]
struct ListView {
    schema: &'static str,
    slots: Vec<SlotView>,
}

#[derive(Debug, Serialize)]
struct SlotChangeView {
    schema: &'static str,
    slot: SlotView,
}

#[derive(Debug, Serialize)]
struct RotateView {
    schema: &'static str,
    epoch: u16,
}

#[derive(Debug, Serialize)]
struct ExportView<'a> {
    schema: &'static str,
    slot: SlotView,
    paper: &'a str,
}

pub(in crate::cli) fn run(context: &Context, settings: Settings) -> anyhow::Result<Outcome> {
    let mut repository = context.repository(&settings.location)?;
    match settings.act {
        Act::List => list(context, &repository)?,
        Act::Add { new, label } => add(context, &repository, &new, &label)?,
        Act::Remove { selector } => remove(context, &repository, &selector)?,
        Act::Rotate => rotate(context, &mut repository)?,
        Act::Export { label } => export(context, &repository, &label)?,
    }
    Ok(Outcome::Clean)
}

fn list(context: &Context, repository: &Repository) -> anyhow::Result<()> {
    let slots = repository.key_slots()?;
    let view = ListView { schema: "icecore.key.list.v1", slots: slots.iter().map(SlotView::from).collect() };
    context.report(&view, || {
        let rows = slots.iter().map(|slot| {
            let in_use = if slot.in_use { "opened this" } else { "" };
            let created = times::local(slot.created, &context.zone);
            vec![slot.id.to_string(), slot.kind.to_owned(), slot.label.clone(), created, in_use.to_owned()]
        });
        text::table(&["slot", "kind", "label", "made", ""], &[], rows.collect())
    })
}

fn add(context: &Context, repository: &Repository, new: &NewKey, label: &str) -> anyhow::Result<()> {
    let (slot, written) = match new {
        NewKey::Passphrase => {
            let instead = format!("set {NEW_PASSPHRASE} to the new passphrase, or add a --key-file");
            (secrets::passphrase_slot(secrets::new_passphrase(NEW_PASSPHRASE, &instead)?, label)?, None)
        }
        NewKey::File(path) => {
            let (slot, made) = secrets::key_file_slot(path, label, context.entropy.as_ref())?;
            (slot, (made == KeyFile::Written).then_some(path))
        }
    };
    let slot = repository.add_key(&slot)?;
    let view = SlotChangeView { schema: "icecore.key.add.v1", slot: SlotView::from(&slot) };
    context.report(&view, || {
        let written = written.map_or_else(String::new, |path| format!("; the key was written to {}", path.display()));
        format!("added key slot {} ({}){written}\n", slot.id, slot.kind)
    })
}

fn remove(context: &Context, repository: &Repository, selector: &str) -> anyhow::Result<()> {
    let slot = repository.remove_key(selector)?;
    let view = SlotChangeView { schema: "icecore.key.remove.v1", slot: SlotView::from(&slot) };
    context.report(&view, || {
        format!(
            "removed key slot {} ({})\nWhoever had that key may have kept what it opened: 'icecore key rotate' shuts them out of \
             what is written from now on.\n",
            slot.id, slot.kind
        )
    })
}

fn rotate(context: &Context, repository: &mut Repository) -> anyhow::Result<()> {
    let epoch = repository.rotate_key()?;
    let view = RotateView { schema: "icecore.key.rotate.v1", epoch };
    context.report(&view, || format!("from now on epoch {epoch} is written; every key slot opens everything, old and new\n"))
}

/// The digits alone go to standard output, so that they can be piped to a printer.
fn export(context: &Context, repository: &Repository, label: &str) -> anyhow::Result<()> {
    let (slot, paper) = repository.export_key(label)?;
    let view = ExportView { schema: "icecore.key.export.v1", slot: SlotView::from(&slot), paper: &paper };
    context.report(&view, || format!("{}\n", *paper))?;
    if context.is_text() {
        output::say(&format!(
            "This key opens the repository as slot {}. Print it and keep it elsewhere.\n\
             To use it, type it into a file and name the file in ICECORE_KEY_FILE.",
            slot.id
        ));
    }
    Ok(())
}
