//! A mounted disk as a live volume: the tracker says what is written to it, and the freezer holds it still for a moment.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::sources::{Ended, TrackSettings};
use crate::base::clock::Clock;
use crate::cli::failure::Failure;
use crate::cli::{output, text};
use crate::device::freeze::{FreezeError, FreezeSettings, Freezer, Frozen, thaw_left_frozen};
use crate::job::JobError;
use crate::job::backup::{LiveReport, LiveVolume, Written};
use crate::repository::format::changes::{Rung, Word};
use crate::tracking::{ChainToken, ChangeAnswer, Cut, Tracker, TrackingError};

/// How a mounted disk is frozen.
#[derive(Debug)]
pub(in crate::cli) struct Settings {
    pub(in crate::cli) mount: PathBuf,
    pub(in crate::cli) journal: PathBuf,
    pub(in crate::cli) limit: Duration,
}

/// The command of this program that runs the guard of a frozen filesystem.
pub(in crate::cli) const GUARD: &str = "guard-frozen";

/// How a live capture went.
#[derive(Debug, Serialize)]
pub(super) struct View {
    rounds: u32,
    frozen_ms: f64,
    not_converged: Option<String>,
}

impl From<&LiveReport> for View {
    fn from(report: &LiveReport) -> Self {
        let frozen_ms = report.frozen.as_secs_f64() * 1000.0;
        Self { rounds: report.rounds, frozen_ms, not_converged: report.not_converged.clone() }
    }
}

pub(super) fn describe(report: &LiveReport) -> String {
    let rounds = text::count(report.rounds.into(), "round");
    match &report.not_converged {
        None => format!("consistent: frozen for {:.1} ms after {rounds}\n", report.frozen.as_secs_f64() * 1000.0),
        Some(_) => format!("crash-consistent at best, not converged after {rounds}\n"),
    }
}

/// Thaws what an earlier run has left frozen.
pub(super) fn thaw_left(journal: &Path) -> anyhow::Result<()> {
    for mount in thaw_left_frozen(journal)? {
        output::warn(&format!("{} was still frozen by a run that was killed, and is thawed", mount.display()));
    }
    Ok(())
}

/// Makes sure that the mount can be frozen, before anything is read.
pub(super) fn freezer(
    settings: &Settings,
    track: &TrackSettings,
    repository: &str,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<Freezer> {
    let program = env::current_exe()?;
    let needed = [env::temp_dir(), track.place.state.clone(), PathBuf::from(repository)];
    let needed = needed.into_iter().filter(|path| path.is_absolute() || path.exists()).collect();
    let guard = vec![program, PathBuf::from(GUARD)];
    let freeze = FreezeSettings { guard, journal: settings.journal.clone(), limit: settings.limit, needed };
    Freezer::new(&settings.mount, &track.device, freeze, clock).map_err(|error| match error {
        FreezeError::Unfit { .. } => Failure::Refused(error.to_string()).into(),
        error => error.into(),
    })
}

/// A tracked disk whose filesystem can be frozen.
#[derive(Debug)]
pub(super) struct LiveDisk<'a> {
    tracker: Tracker,
    device: &'a Path,
    token: Option<ChainToken>,
    freezer: &'a Freezer,
    frozen: Option<Frozen<'a>>,
}

impl<'a> LiveDisk<'a> {
    /// Counts on from the cut that the backup begins with.
    pub(super) fn new(track: &'a TrackSettings, tracker: Tracker, ended: &Ended, freezer: &'a Freezer) -> Self {
        Self { tracker, device: &track.device, token: ended.token(), freezer, frozen: None }
    }

    fn learn(&mut self, cut: Cut) -> Written {
        self.token = cut.token;
        match cut.answer {
            ChangeAnswer::Exact(marks) => Ok(marks.written.union(&marks.discarded)),
            ChangeAnswer::Unknown { reason, .. } => Err(format!("what was written meanwhile is not known: {reason}")),
        }
    }
}

fn failed(error: impl Into<anyhow::Error>) -> JobError {
    JobError::Refused(format!("{:#}", error.into()))
}

impl LiveVolume for LiveDisk<'_> {
    /// What the filesystem holds back is written out first: else all of it would be left for the moment in which it is frozen.
    fn written(&mut self) -> Result<Written, JobError> {
        self.freezer.settle().map_err(failed)?;
        let cut = self.tracker.begin_epoch(self.device, self.token).and_then(|epoch| epoch.end()).map_err(failed)?;
        Ok(self.learn(cut))
    }

    /// The epoch begins before: exchanging maps takes the kernel longer than anybody should wait.
    fn freeze(&mut self, before: &mut dyn FnMut() -> Result<(), JobError>) -> Result<Written, JobError> {
        let (freezer, token) = (self.freezer, self.token);
        let ready = freezer.make_ready().map_err(failed)?;
        let epoch = self.tracker.begin_epoch(self.device, token).map_err(failed)?;
        before()?;
        let frozen = ready.freeze().map_err(failed)?;
        // Dropped on an error, it thaws.
        let cut: Result<Cut, TrackingError> = epoch.end();
        let cut = cut.map_err(failed)?;
        self.frozen = Some(frozen);
        Ok(self.learn(cut))
    }

    fn thaw(&mut self) -> Result<Result<Duration, String>, JobError> {
        let Some(frozen) = self.frozen.take() else { return Ok(Err("it was not frozen".to_owned())) };
        match frozen.thaw() {
            Ok(waited) => Ok(Ok(waited)),
            Err(error @ FreezeError::Expired { .. }) => Ok(Err(error.to_string())),
            Err(error) => Err(failed(error)),
        }
    }

    fn cut_name(&self) -> Option<Word> {
        self.token.as_ref().map(|token| Word { rung: Rung::Epoch, text: token.to_string() })
    }
}
