//! Who may know what changed since the volume's newest point: a CSI driver, an epoch of the tracker, a thin pool, a list.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;

use super::Settings;
use super::csi::{self, CsiChanges};
use super::live;
use crate::cli::commands::track;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::{output, text};
use crate::device::Mounted;
use crate::device::freeze::Freezer;
use crate::job::JobError;
use crate::job::backup::AuditPolicy;
use crate::repository::ListedPoint;
use crate::repository::format::changes::Rung;
use crate::tracking::{
    self, ChainToken, ChangeAnswer, ChangeList, ChangeSource, Cut, EpochChanges, PlanPolicy, ThinChanges, Tracker,
};

/// A disk whose writes are tracked.
#[derive(Debug)]
pub(in crate::cli) struct TrackSettings {
    pub(in crate::cli) place: tracking::Settings,
    /// The disk; what is backed up, unless that is a snapshot of it.
    pub(in crate::cli) device: PathBuf,
    /// A shell command that takes the cut.
    pub(in crate::cli) cut: Option<String>,
}

/// Who is asked what changed, and how far that is believed.
#[derive(Debug, Default)]
pub(in crate::cli) struct ChangeSettings {
    pub(in crate::cli) list: Option<PathBuf>,
    pub(in crate::cli) csi: Option<csi::Settings>,
    pub(in crate::cli) track: Option<TrackSettings>,
    /// The source is a device of a thin pool, which is asked.
    pub(in crate::cli) thin: bool,
    /// A mounted disk is frozen for a moment at the end.
    pub(in crate::cli) freeze: Option<live::Settings>,
    pub(in crate::cli) belief: PlanPolicy,
    pub(in crate::cli) audit: AuditPolicy,
}

impl ChangeSettings {
    /// Whether anybody is asked what changed since the cut of the newest point.
    pub(super) fn count_from_a_point(&self) -> bool {
        self.track.is_some() || self.thin || self.csi.is_some()
    }

    /// What is tracked must not be written between its cut and its reading, or be frozen.
    pub(super) fn stands_still(&self, mounted: &Mounted) -> Result<(), Failure> {
        match (&self.track, &self.freeze, mounted) {
            (Some(TrackSettings { cut: None, .. }), None, Mounted::ReadWrite(mount)) => Err(Failure::Refused(format!(
                "it is written while it is read; add --freeze {}, or make a snapshot with --cut",
                mount.display()
            ))),
            _ => Ok(()),
        }
    }

    /// What freezes the mounted disk, if one is to be frozen; what an earlier run left frozen is thawed first.
    pub(super) fn freezer(&self, context: &Context, repository: &str) -> anyhow::Result<Option<Freezer>> {
        let (Some(freeze), Some(track)) = (&self.freeze, &self.track) else { return Ok(None) };
        live::thaw_left(&freeze.journal)?;
        live::freezer(freeze, track, repository, Arc::clone(&context.clock)).map(Some)
    }
}

/// Memory is bounded: this much text lists millions of ranges, and beyond that the whole volume is read as quickly.
const MAX_CHANGE_LIST_BYTES: u64 = 256 << 20;

pub(super) fn list(path: Option<&Path>) -> anyhow::Result<Option<ChangeList>> {
    path.map(read_change_list).transpose()
}

/// An epoch of the tracked disk that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    token: Option<ChainToken>,
    cut: Cut,
}

impl Ended {
    /// The name of the cut.
    pub(super) fn token(&self) -> Option<ChainToken> {
        self.cut.token
    }
}

/// Ends an epoch of the tracked disk; on return the cut is past.
pub(super) fn epoch(context: &Context, settings: &TrackSettings, basis: Option<&ListedPoint>) -> anyhow::Result<(Tracker, Ended)> {
    let mut tracker = Tracker::attach(&settings.place, context.entropy.as_ref())?;
    tracker.add(&settings.device, None)?;
    let name = basis.and_then(|point| point.point.changes.cut_name(Rung::Epoch));
    let token: Option<ChainToken> = name.map(str::parse).transpose().unwrap_or_else(|error| {
        output::warn(&format!("the newest point names a cut that cannot be read: {error}"));
        None
    });
    let epoch = tracker.begin_epoch(&settings.device, token)?;
    settings.cut.as_deref().map_or(Ok(()), track::take_cut)?;
    let cut = epoch.end()?;
    if matches!(cut.answer, ChangeAnswer::Unknown { doubts_previous: true, .. }) {
        output::warn("what was said to have changed before the newest point may have been too little; check that point");
    }
    Ok((tracker, Ended { token, cut }))
}

/// What the pool of a thin source says.
pub(super) fn thin(
    context: &Context,
    settings: &Settings,
    source_bytes: u64,
    basis: Option<&ListedPoint>,
) -> Result<ThinChanges, JobError> {
    let base = basis.and_then(|point| point.point.changes.cut_name(Rung::ThinMetadata));
    let cancel = context.interrupts.cancel();
    let thin = ThinChanges::ask(&settings.source, source_bytes, base, context.clock.as_ref(), &cancel)?;
    if let Some(reason) = thin.why_nameless() {
        output::warn(&format!("the next backup cannot count from this one: {reason}"));
    }
    Ok(thin)
}

/// All that may know, once the cut is past.
pub(super) fn gather<'a>(
    settings: &Settings,
    list: Option<ChangeList>,
    epoch: Option<Ended>,
    thin: Option<ThinChanges>,
    source_bytes: u64,
    driver: Option<&'a csi::Driver<'a>>,
    basis: Option<&ListedPoint>,
) -> Vec<Box<dyn ChangeSource + 'a>> {
    let mut sources: Vec<Box<dyn ChangeSource + 'a>> = Vec::new();
    sources.extend(list.map(|list| Box::new(list) as Box<dyn ChangeSource + 'a>));
    if let Some(Ended { token, cut }) = epoch {
        sources.push(Box::new(EpochChanges::new(token.as_ref(), cut, source_bytes)));
    }
    sources.extend(thin.map(|thin| Box::new(thin) as Box<dyn ChangeSource + 'a>));
    if let (Some(driver), Some(csi)) = (driver, &settings.changes.csi) {
        let known = basis.and_then(|point| point.point.changes.cut_name(Rung::CsiMetadata));
        sources.push(Box::new(CsiChanges::new(driver, csi, known)));
    }
    sources
}

fn read_change_list(path: &Path) -> anyhow::Result<ChangeList> {
    let failed = || format!("cannot read the change list {}", path.display());
    let mut list = String::new();
    let file = File::open(path).with_context(failed)?;
    let length = file.take(MAX_CHANGE_LIST_BYTES + 1).read_to_string(&mut list).with_context(failed)?;
    if length as u64 > MAX_CHANGE_LIST_BYTES {
        let reason = format!("{} is longer than {}; leave --changed out", path.display(), text::size(MAX_CHANGE_LIST_BYTES));
        return Err(Failure::Refused(reason).into());
    }
    ChangeList::parse(&list).map_err(|error| Failure::Refused(error.to_string()).into())
}
