//! Freezing a mounted filesystem for a moment, and every way in which it is thawed again.
//!
//! ```text
//!   fit? ─► guard ready ─► journal ─► FIFREEZE ─► the caller's moment ─► FITHAW ─► guard dismissed ─► journal cleared
//!           thaws at the deadline     the next start thaws
//!           and when this process is gone
//! ```
//! Whoever writes to a frozen filesystem waits, so none may stay frozen, whatever is killed. The guard is a process of its own; should
//! it be killed together with this one, the journal tells the next start what to thaw.

mod fitness;
mod guard;
mod journal;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::syncfs;
use thiserror::Error;

use super::kernel;
use crate::base::clock::Clock;
use guard::Guard;
use journal::Entry;

pub use guard::stand_by;
pub use journal::thaw_left_frozen;

/// A filesystem that cannot be frozen, or could not be thawed.
#[derive(Debug, Error)]
pub enum FreezeError {
    /// It is not fit for that.
    #[error("{mount} cannot be frozen: {reason}")]
    Unfit {
        /// Where it is mounted.
        mount: PathBuf,
        /// Why, and what to do instead.
        reason: String,
    },
    /// The operating system refused.
    #[error("cannot {act} {path}")]
    Os {
        /// What was being done.
        act: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The guard thawed it first.
    #[error("{mount} was thawed by its guard when {} ms were over; a larger --freeze-limit gives more time", limit.as_millis())]
    Expired {
        /// Where it is mounted.
        mount: PathBuf,
        /// How long it may stay frozen.
        limit: Duration,
    },
}

impl FreezeError {
    fn os(act: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Os { act, path: path.to_path_buf(), source }
    }
}

/// How a filesystem is frozen.
#[derive(Debug, Clone)]
pub struct FreezeSettings {
    /// The program and the first arguments that run [`stand_by`]; the mount point and the limit in milliseconds follow.
    pub guard: Vec<PathBuf>,
    /// A folder that remembers what is frozen.
    pub journal: PathBuf,
    /// It is thawed after this time, whatever happens.
    pub limit: Duration,
    /// What this program needs while it is frozen, and what therefore may not lie on it.
    pub needed: Vec<PathBuf>,
}

/// A mounted filesystem that can be frozen.
#[derive(Debug)]
pub struct Freezer {
    mount: PathBuf,
    directory: File,
    settings: FreezeSettings,
    clock: Arc<dyn Clock>,
}

impl Freezer {
    /// Makes sure that `mount` is fit to be frozen: the only filesystem on `device`, and nothing that this program needs.
    pub fn new(mount: &Path, device: &Path, settings: FreezeSettings, clock: Arc<dyn Clock>) -> Result<Self, FreezeError> {
        let directory = File::open(mount).map_err(|error| FreezeError::os("open", mount, error))?;
        fitness::check(mount, &directory, device, &settings)?;
        Ok(Self { mount: mount.to_path_buf(), directory, settings, clock })
    }

    /// Writes out what the filesystem holds back.
    pub fn settle(&self) -> Result<(), FreezeError> {
        syncfs(&self.directory).map_err(|error| FreezeError::os("sync", &self.mount, error.into()))
    }

    /// Starts the guard, so that freezing takes no longer than it must.
    pub fn make_ready(&self) -> Result<Ready<'_>, FreezeError> {
        let guard = Guard::start(&self.settings.guard, &self.mount, self.settings.limit)?;
        Ok(Ready { freezer: self, guard })
    }
}

/// A guard stands by; nothing is frozen yet.
#[derive(Debug)]
pub struct Ready<'a> {
    freezer: &'a Freezer,
    guard: Guard,
}

impl<'a> Ready<'a> {
    /// Freezes. What is held back is written out before anybody has to wait for it.
    pub fn freeze(self) -> Result<Frozen<'a>, FreezeError> {
        let Self { freezer, guard } = self;
        freezer.settle()?;
        // What stands in the journal is thawed by the next start, so nothing does that was never to be frozen.
        let entry = Entry::write(&freezer.settings.journal, &freezer.mount)?;
        let mut frozen = Frozen { freezer, guard: Some(guard), entry: Some(entry), since: Duration::ZERO };
        let done = frozen.begin();
        if done.is_err() {
            // It is not ours to thaw.
            frozen.forget()?;
        }
        done.map(|()| frozen)
    }
}

fn is_not_frozen(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidInput
}

/// A frozen filesystem; it is thawed when this is dropped.
#[derive(Debug)]
pub struct Frozen<'a> {
    freezer: &'a Freezer,
    guard: Option<Guard>,
    entry: Option<Entry>,
    since: Duration,
}

impl Frozen<'_> {
    fn begin(&mut self) -> Result<(), FreezeError> {
        let Freezer { mount, directory, clock, .. } = self.freezer;
        self.guard.as_mut().map_or(Ok(()), Guard::arm)?;
        // Writers wait from here on: what this call writes out is part of it.
        self.since = clock.monotonic();
        kernel::freeze(directory).map_err(|error| match error.kind() {
            io::ErrorKind::ResourceBusy => FreezeError::Unfit {
                mount: mount.clone(),
                reason: "somebody else has frozen it; 'fsfreeze --unfreeze' thaws it if nobody is about to".to_owned(),
            },
            _ => FreezeError::os("freeze", mount, error),
        })
    }

    /// Thaws, and says for how long writers had to wait. An error says that it may not have been frozen all the time.
    pub fn thaw(mut self) -> Result<Duration, FreezeError> {
        let Freezer { mount, directory, settings, clock } = self.freezer;
        let thawed = kernel::thaw(directory);
        let waited = clock.monotonic().saturating_sub(self.since);
        match thawed {
            Ok(()) => self.forget().map(|()| waited),
            Err(error) if is_not_frozen(&error) => {
                self.forget()?;
                Err(FreezeError::Expired { mount: mount.clone(), limit: settings.limit })
            }
            // The guard is not dismissed, and tries when its pipe ends.
            Err(error) => Err(FreezeError::os("thaw", mount, error)),
        }
    }

    fn forget(&mut self) -> Result<(), FreezeError> {
        self.guard.take().map_or(Ok(()), Guard::dismiss)?;
        self.entry.take().map_or(Ok(()), Entry::clear)
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        if self.guard.is_some() {
            // Should this fail, the guard is still there.
            if kernel::thaw(&self.freezer.directory).map_or_else(|error| is_not_frozen(&error), |()| true) {
                let _kept = self.forget();
            }
        }
    }
}
