//! Freezing a mounted filesystem for a moment, and every way in which it is thawed again.
//!
//! ```text
//!   fit? ─► journal ─► guard ready ─► FIFREEZE ─► the caller's moment ─► FITHAW ─► guard dismissed ─► journal cleared
//!           the next start thaws      thaws at the deadline, and when this process is gone
//! ```
//! Whoever writes to a frozen filesystem waits, so none may stay frozen, whatever is killed. The guard is a process of its own; should
//! it be killed together with this one, the journal tells the next start what to thaw.

mod fitness;
mod guard;
mod journal;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::syncfs;
use thiserror::Error;

use super::kernel;
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
}

impl Freezer {
    /// Makes sure that `mount` is fit to be frozen: the only filesystem on `device`, and nothing that this program needs.
    pub fn new(mount: &Path, device: &Path, settings: FreezeSettings) -> Result<Self, FreezeError> {
        let directory = File::open(mount).map_err(|error| FreezeError::os("open", mount, error))?;
        fitness::check(mount, &directory, device, &settings)?;
        Ok(Self { mount: mount.to_path_buf(), directory, settings })
    }

    /// Freezes. What is held back is written out before anybody has to wait for it.
    pub fn freeze(&self) -> Result<Frozen<'_>, FreezeError> {
        let mut guard = Guard::start(&self.settings.guard, &self.mount, self.settings.limit)?;
        syncfs(&self.directory).map_err(|error| FreezeError::os("sync", &self.mount, error.into()))?;
        // What stands in the journal is thawed by the next start, so nothing does that was never to be frozen.
        let entry = Entry::write(&self.settings.journal, &self.mount)?;
        guard.arm()?;
        let mut frozen = Frozen { freezer: self, guard: Some(guard), entry: Some(entry) };
        // Writers wait from here on: what this call writes out is part of it.
        if let Err(error) = kernel::freeze(&self.directory) {
            // It is not ours to thaw.
            frozen.forget()?;
            if error.kind() == io::ErrorKind::ResourceBusy {
                let reason = "somebody else has frozen it; 'fsfreeze --unfreeze' thaws it if nobody is about to".to_owned();
                return Err(FreezeError::Unfit { mount: self.mount.clone(), reason });
            }
            return Err(FreezeError::os("freeze", &self.mount, error));
        }
        Ok(frozen)
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
}

impl Frozen<'_> {
    /// Thaws. An error says that it may not have been frozen all the time.
    pub fn thaw(mut self) -> Result<(), FreezeError> {
        let Freezer { mount, directory, settings } = self.freezer;
        match kernel::thaw(directory) {
            Ok(()) => self.forget(),
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
