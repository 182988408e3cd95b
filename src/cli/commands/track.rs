//! Track: which disks are tracked, and what changed on one between two cuts.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::outcome::Outcome;
use crate::cli::views::{ExtentView, extents};
use crate::cli::{output, text};
use crate::tracking::{self, ChainToken, ChangeAnswer, Cut, Marks, Regime, Tracked, Tracker};

/// Where the tracker lives, and what to do.
#[derive(Debug)]
pub(in crate::cli) struct Settings {
    pub(in crate::cli) place: tracking::Settings,
    pub(in crate::cli) act: Act,
}

/// What to do.
#[derive(Debug)]
pub(in crate::cli) enum Act {
    Add {
        device: PathBuf,
        chunk_bytes: Option<u32>,
    },
    List,
    Epoch {
        device: PathBuf,
        token: PathBuf,
        /// A shell command that takes the cut.
        cut: Option<String>,
    },
    Remove {
        device: PathBuf,
    },
    Detach,
}

#[derive(Debug, Serialize)]
struct AddView {
    schema: &'static str,
    device: String,
    new: bool,
    never_written: bool,
    regime: &'static str,
    size_bytes: u64,
    chunk_bytes: u32,
}

#[derive(Debug, Serialize)]
struct ListView {
    schema: &'static str,
    disks: Vec<TrackedView>,
}

#[derive(Debug, Serialize)]
struct TrackedView {
    name: Option<String>,
    diskseq: u64,
    regime: &'static str,
    chunk_bytes: u32,
    written_bytes: u64,
    discarded_bytes: u64,
    has_base: bool,
    doubts: Option<String>,
}

#[derive(Debug, Serialize)]
struct EpochView {
    schema: &'static str,
    device: String,
    exact: bool,
    reason: Option<String>,
    doubts_previous: bool,
    size_bytes: u64,
    chunk_bytes: u32,
    written: Vec<ExtentView>,
    discarded: Vec<ExtentView>,
    token: Option<String>,
}

#[derive(Debug, Serialize)]
struct RemoveView {
    schema: &'static str,
    device: Option<String>,
}

pub(in crate::cli) fn run(context: &Context, settings: Settings) -> anyhow::Result<Outcome> {
    let place = &settings.place;
    match settings.act {
        Act::Add { device, chunk_bytes } => add(context, place, &device, chunk_bytes),
        Act::List => list(context, place),
        Act::Epoch { device, token, cut } => epoch(context, place, &device, &token, cut.as_deref()),
        Act::Remove { device } => remove(context, place, &device),
        Act::Detach => detach(context, place),
    }
}

fn add(context: &Context, place: &tracking::Settings, device: &Path, chunk_bytes: Option<u32>) -> anyhow::Result<Outcome> {
    let mut tracker = Tracker::attach(place, context.entropy.as_ref())?;
    let added = tracker.add(device, chunk_bytes)?;
    let view = AddView {
        schema: "icecore.track.add.v1",
        device: device.display().to_string(),
        new: added.is_new,
        never_written: added.was_never_written,
        regime: regime(added.regime),
        size_bytes: added.size_bytes,
        chunk_bytes: added.chunk_bytes,
    };
    context.report(&view, || {
        let (device, size, chunk) = (device.display(), text::size(added.size_bytes), text::size(added.chunk_bytes.into()));
        let already = if added.is_new { "" } else { " already" };
        format!("{device} ({size}) is tracked{already} by {}, in chunks of {chunk}\n", regime(added.regime))
    })?;
    Ok(Outcome::Clean)
}

fn regime(regime: Regime) -> &'static str {
    match regime {
        Regime::Requests => "requests",
        Regime::Bios => "bios",
    }
}

fn list(context: &Context, place: &tracking::Settings) -> anyhow::Result<Outcome> {
    let disks = Tracker::open(place)?.map(|tracker| tracker.list()).transpose()?.unwrap_or_default();
    let view = ListView { schema: "icecore.track.list.v1", disks: disks.iter().map(tracked_view).collect() };
    context.report(&view, || table(&disks))?;
    Ok(Outcome::Clean)
}

fn tracked_view(disk: &Tracked) -> TrackedView {
    TrackedView {
        name: disk.name.clone(),
        diskseq: disk.diskseq,
        regime: regime(disk.regime),
        chunk_bytes: disk.chunk_bytes,
        written_bytes: disk.written_bytes,
        discarded_bytes: disk.discarded_bytes,
        has_base: disk.has_base,
        doubts: (!disk.flags.is_empty()).then(|| disk.flags.to_string()),
    }
}

fn table(disks: &[Tracked]) -> String {
    if disks.is_empty() {
        return "no disk is tracked\n".to_owned();
    }
    let rows = disks.iter().map(|disk| {
        vec![
            disk.name.clone().unwrap_or_else(|| "gone".to_owned()),
            text::size(disk.chunk_bytes.into()),
            text::size(disk.written_bytes),
            text::size(disk.discarded_bytes),
            remark(disk),
        ]
    });
    text::table(&["disk", "chunks", "written", "discarded", "remarks"], &[1, 2, 3], rows.collect())
}

fn remark(disk: &Tracked) -> String {
    match (disk.flags.is_empty(), disk.has_base) {
        (false, _) => disk.flags.to_string(),
        (true, false) => "no epoch yet".to_owned(),
        (true, true) => String::new(),
    }
}

fn epoch(
    context: &Context,
    place: &tracking::Settings,
    device: &Path,
    token: &Path,
    command: Option<&str>,
) -> anyhow::Result<Outcome> {
    let base = read_token(token)?;
    let not_tracked = || Failure::Refused(format!("{} is not tracked; begin with 'icecore track add'", device.display()));
    let mut tracker = Tracker::open(place)?.ok_or_else(not_tracked)?;
    let epoch = tracker.begin_epoch(device, base)?;
    command.map_or(Ok(()), take_cut)?;
    let cut = epoch.end()?;
    write_token(token, cut.token.as_ref())?;
    let view = epoch_view(device, &cut);
    if let Some(reason) = &view.reason {
        output::warn(&format!("what changed on {} is not known: {reason}", device.display()));
    }
    if view.doubts_previous {
        output::warn("the change list before this one may have been short, too; check what was backed up by it");
    }
    context.report(&view, || lines(&cut.answer))?;
    Ok(Outcome::findings_if(!view.exact))
}

/// Longer than any token.
const MAX_TOKEN_BYTES: u64 = 4096;

fn read_token(path: &Path) -> anyhow::Result<Option<ChainToken>> {
    let failed = || format!("cannot read the token {}", path.display());
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Ok(there) if there.len() > MAX_TOKEN_BYTES => {
            return Err(Failure::Refused(format!("{} is too long for a token", path.display())).into());
        }
        other => other.with_context(failed)?,
    };
    let text = fs::read_to_string(path).with_context(failed)?;
    text.parse().map(Some).map_err(|error| Failure::Refused(format!("{}: {error}", path.display())).into())
}

/// Beside the token that the last backup goes with: should the backup of this cut fail, that one still tells the truth.
fn write_token(path: &Path, token: Option<&ChainToken>) -> anyhow::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let failed = || format!("cannot write the token {}", new.display());
    match token {
        Some(token) => fs::write(&new, format!("{token}\n")).with_context(failed),
        None => match fs::remove_file(&new) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error).with_context(failed),
            Ok(()) | Err(_) => Ok(()),
        },
    }
}

/// What the command prints goes to standard error: standard output is the change list's.
pub(super) fn take_cut(command: &str) -> anyhow::Result<()> {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{{ {command}\n}} 1>&2")]);
    let status = shell.status().context("cannot start the command that takes the cut")?;
    anyhow::ensure!(status.success(), "the command that takes the cut failed ({status}); the epoch is given up, nothing is lost");
    Ok(())
}

fn epoch_view(device: &Path, cut: &Cut) -> EpochView {
    let (reason, doubts_previous, marks) = match &cut.answer {
        ChangeAnswer::Exact(marks) => (None, false, marks.clone()),
        ChangeAnswer::Unknown { reason, doubts_previous, .. } => (Some(reason.to_string()), *doubts_previous, Marks::default()),
    };
    EpochView {
        schema: "icecore.track.epoch.v1",
        device: device.display().to_string(),
        exact: reason.is_none(),
        reason,
        doubts_previous,
        size_bytes: cut.size_bytes,
        chunk_bytes: cut.chunk_bytes,
        written: extents(&marks.written),
        discarded: extents(&marks.discarded),
        token: cut.token.map(|token| token.to_string()),
    }
}

/// Nothing is printed when it is not known: an empty list would say that nothing changed.
fn lines(answer: &ChangeAnswer) -> String {
    match answer {
        ChangeAnswer::Unknown { .. } => String::new(),
        ChangeAnswer::Exact(marks) => {
            let all = marks.written.union(&marks.discarded);
            all.into_iter().map(|extent| format!("{} {}\n", extent.offset, extent.length)).collect()
        }
    }
}

fn remove(context: &Context, place: &tracking::Settings, device: &Path) -> anyhow::Result<Outcome> {
    let tracker = Tracker::open(place)?;
    let tracker = tracker.ok_or_else(|| Failure::Refused(format!("{} is not tracked", device.display())))?;
    tracker.remove(device)?;
    let view = RemoveView { schema: "icecore.track.remove.v1", device: Some(device.display().to_string()) };
    context.report(&view, || format!("{} is not tracked any more\n", device.display()))?;
    Ok(Outcome::Clean)
}

fn detach(context: &Context, place: &tracking::Settings) -> anyhow::Result<Outcome> {
    Tracker::detach(place)?;
    context
        .report(&RemoveView { schema: "icecore.track.remove.v1", device: None }, || "no disk is tracked any more\n".to_owned())?;
    Ok(Outcome::Clean)
}
