//! Ls: the files in a recovery point, an image or a device.

use std::cell::{Cell, RefCell};
use std::io::{self, Write};
use std::ops::ControlFlow;

use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};

use crate::cli::context::Context;
use crate::cli::damage_views::say_found_elsewhere;
use crate::cli::file_views::{FileFindingView, FileView, SourceView, mode_text, moment};
use crate::cli::outcome::Outcome;
use crate::cli::output;
use crate::cli::place::{OpenPlace, Place};
use crate::filesystem::{FileKind, FilesystemError, Inode, Loss, Spot, TreeVisitor, printable, walk};
use crate::job::JobError;
use crate::job::extract::is_out_of_reach;

/// Findings beyond this many are counted only.
const MAX_FINDINGS: usize = 10_000;

/// What to list, and how.
#[derive(Debug)]
pub(in crate::cli) struct Settings {
    pub(in crate::cli) place: Place,
    pub(in crate::cli) long: bool,
    pub(in crate::cli) recursive: bool,
}

/// Shown as it is found: a tree can be longer than memory.
#[derive(Serialize)]
struct View<'a> {
    schema: &'static str,
    source: SourceView,
    entries: Entries<'a>,
    /// After the entries, for only then are they known.
    findings: &'a RefCell<Vec<FileFindingView>>,
    findings_left_out: &'a Cell<u64>,
}

/// What a walk found beside entries.
#[derive(Default)]
struct Notes {
    findings: RefCell<Vec<FileFindingView>>,
    left_out: Cell<u64>,
    stopped: RefCell<Option<JobError>>,
}

pub(in crate::cli) fn run(context: &Context, settings: Settings) -> anyhow::Result<Outcome> {
    let place = settings.place.open(context)?;
    let notes = Notes::default();
    let mut out = io::BufWriter::new(io::stdout().lock());
    let written = if context.is_text() {
        list(&place, &settings, &notes, &mut |spot, inode| write_line(&mut out, &place, &settings, spot, inode))
    } else {
        write_json(&mut out, &place, &settings, &notes)
    };
    output::forgive_reader(written.and_then(|()| out.flush()))?;
    say_found_elsewhere(&place.found_elsewhere());
    if let Some(error) = notes.stopped.take() {
        return Err(error.into());
    }
    let doubtful = place.is_stale() || !notes.findings.borrow().is_empty();
    Ok(Outcome::findings_if(doubtful))
}

fn write_json(out: &mut dyn Write, place: &OpenPlace, settings: &Settings, notes: &Notes) -> io::Result<()> {
    let view = View {
        schema: "icecore.ls.v1",
        source: place.into(),
        entries: Entries { place, settings, notes },
        findings: &notes.findings,
        findings_left_out: &notes.left_out,
    };
    serde_json::to_writer_pretty(&mut *out, &view)?;
    writeln!(out)
}

fn write_line(out: &mut dyn Write, place: &OpenPlace, settings: &Settings, spot: &Spot<'_>, inode: &Inode) -> io::Result<()> {
    let name = printable(&spot.path());
    if !settings.long {
        return writeln!(out, "{name}");
    }
    let target = target(place, inode).map_or_else(String::new, |target| format!(" -> {}", printable(&target)));
    let size = match inode.kind {
        FileKind::CharacterDevice { major, minor } | FileKind::BlockDevice { major, minor } => format!("{major}, {minor}"),
        _ => inode.size.to_string(),
    };
    let (mode, time) = (mode_text(inode), moment(inode.modified));
    writeln!(out, "{mode} {:>3} {:>5} {:>5} {size:>12} {time} {name}{target}", inode.links, inode.uid, inode.gid)
}

/// Where a link leads; a link that cannot be read is shown without it, and `stat` says why.
fn target(place: &OpenPlace, inode: &Inode) -> Option<Vec<u8>> {
    if inode.kind == FileKind::Symlink { place.filesystem.link_target(inode).ok() } else { None }
}

/// Shows every entry; one that cannot be read is noted.
fn list(
    place: &OpenPlace,
    settings: &Settings,
    notes: &Notes,
    show: &mut dyn FnMut(&Spot<'_>, &Inode) -> io::Result<()>,
) -> io::Result<()> {
    let name = if place.inode.is_directory() { &b""[..] } else { place.name().unwrap_or_default() };
    let mut lister = Lister { recursive: settings.recursive, entered: false, notes, show, failed: None };
    let _ended = walk(place.filesystem.as_ref(), &place.inode, name, &mut lister);
    lister.failed.map_or(Ok(()), Err)
}

struct Lister<'a> {
    recursive: bool,
    /// The start is a directory, and was entered.
    entered: bool,
    notes: &'a Notes,
    show: &'a mut dyn FnMut(&Spot<'_>, &Inode) -> io::Result<()>,
    failed: Option<io::Error>,
}

impl TreeVisitor for Lister<'_> {
    fn enter(&mut self, spot: &Spot<'_>, directory: &Inode) -> ControlFlow<(), bool> {
        if !self.entered {
            self.entered = true;
            return ControlFlow::Continue(true);
        }
        match self.entry(spot, directory) {
            ControlFlow::Break(()) => ControlFlow::Break(()),
            ControlFlow::Continue(()) => ControlFlow::Continue(self.recursive),
        }
    }

    fn leave(&mut self, _directory: &Inode) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn entry(&mut self, spot: &Spot<'_>, inode: &Inode) -> ControlFlow<()> {
        match (self.show)(spot, inode) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.failed = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    fn lost(&mut self, spot: &Spot<'_>, loss: Loss) -> ControlFlow<()> {
        match loss {
            Loss::Unreadable(error) if is_out_of_reach(&error) => {
                self.notes.stopped.replace(Some(error.into()));
                return ControlFlow::Break(());
            }
            loss => self.note(spot.path(), &loss),
        }
        ControlFlow::Continue(())
    }
}

impl Lister<'_> {
    fn note(&mut self, path: Vec<u8>, loss: &Loss) {
        let reason = match loss {
            Loss::Unreadable(FilesystemError::Io { object, source }) => format!("cannot read the {object}: {source}"),
            loss => loss.to_string(),
        };
        output::warn(&format!("not shown: {}: {reason}", printable(&path)));
        let mut findings = self.notes.findings.borrow_mut();
        if findings.len() < MAX_FINDINGS {
            findings.push(FileFindingView::lost(path, reason));
        } else {
            self.notes.left_out.set(self.notes.left_out.get() + 1);
        }
    }
}

/// The entries of a listing, found while they are written.
struct Entries<'a> {
    place: &'a OpenPlace,
    settings: &'a Settings,
    notes: &'a Notes,
}

impl Serialize for Entries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sequence = serializer.serialize_seq(None)?;
        let mut failed = None;
        let listed = list(self.place, self.settings, self.notes, &mut |spot, inode| {
            let entry = FileView::new(spot.path(), inode, target(self.place, inode));
            sequence.serialize_element(&entry).map_err(|error| {
                failed = Some(error);
                io::Error::from(io::ErrorKind::WriteZero)
            })
        });
        match (failed, listed) {
            (Some(error), _) => Err(error),
            (None, _) => sequence.end(),
        }
    }
}
