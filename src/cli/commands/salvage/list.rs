//! What was found, listed: nothing is extracted.

use std::cell::RefCell;
use std::io::{self, Write};

use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};

use super::entries::{self, EntryView};
use super::view::SummaryView;
use super::{Settings, damage, is_sound};
use crate::cli::context::Context;
use crate::cli::file_views::SourceView;
use crate::cli::outcome::Outcome;
use crate::cli::output;
use crate::cli::wreck::OpenWreck;
use crate::job::JobError;

#[derive(Serialize)]
struct View<'a> {
    schema: &'static str,
    source: SourceView,
    summary: SummaryView,
    damage: Vec<String>,
    /// Shown as they are found: a tree can be longer than memory.
    entries: Entries<'a>,
}

struct Entries<'a> {
    opened: &'a OpenWreck,
    settings: &'a Settings,
    failed: &'a RefCell<Option<JobError>>,
}

pub(super) fn list(context: &Context, settings: &Settings, opened: &OpenWreck) -> anyhow::Result<Outcome> {
    let failed = RefCell::new(None);
    let mut out = io::BufWriter::new(io::stdout().lock());
    let written = if context.is_text() {
        entries::each(&opened.tree, settings.after.as_deref(), &mut |entry: EntryView| {
            writeln!(out, "{}", entry.line()).map_err(JobError::Output)
        })
        .or_else(|error| match error {
            JobError::Output(error) => Err(error),
            error => {
                failed.replace(Some(error));
                Ok(())
            }
        })
    } else {
        let view = View {
            schema: "icecore.salvage-list.v1",
            source: SourceView::new(&opened.source.origin, &opened.source.path, &opened.tree),
            summary: opened.tree.summary().into(),
            damage: damage(opened),
            entries: Entries { opened, settings, failed: &failed },
        };
        serde_json::to_writer_pretty(&mut out, &view).map_err(io::Error::from).and_then(|()| writeln!(out))
    };
    output::forgive_reader(written.and_then(|()| out.flush()))?;
    failed.take().map_or(Ok(()), Err)?;
    Ok(Outcome::findings_if(!is_sound(opened)))
}

impl Serialize for Entries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sequence = serializer.serialize_seq(None)?;
        let mut broken = None;
        let listed = entries::each(&self.opened.tree, self.settings.after.as_deref(), &mut |entry: EntryView| {
            sequence.serialize_element(&entry).map_err(|error| {
                broken = Some(error);
                JobError::Output(io::ErrorKind::WriteZero.into())
            })
        });
        if let Some(error) = broken {
            return Err(error);
        }
        if let Err(error) = listed {
            self.failed.replace(Some(error));
        }
        sequence.end()
    }
}
