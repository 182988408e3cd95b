//! What every command is handed: time, randomness, keys, and a way to say what it found.

use std::error::Error as StdError;
use std::io::{self, ErrorKind};
use std::sync::Arc;

use jiff::tz::TimeZone;
use serde::Serialize;

use super::failure::Failure;
use super::interrupts::Interrupts;
use super::secrets::KeySources;
use super::{output, progress, times};
use crate::base::clock::{Clock, SystemClock};
use crate::base::entropy::Entropy;
use crate::base::progress::Progress;
use crate::job::JobError;
use crate::job::select::PointSelector;
use crate::repository::{Environment, ListedPoint, PointListing, Repository, RepositoryError, SystemEntropy};
use crate::store::{self, Missing, Options, Store, StoreError, StoreErrorKind};

/// How the result is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Voice {
    /// In words.
    Text,
    /// As one JSON object.
    Json,
}

/// Seams and settings of one run.
#[derive(Debug, Clone)]
pub(super) struct Context {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) interrupts: Interrupts,
    pub(super) keys: KeySources,
    /// The zone of the machine, or of the variable TZ.
    pub(super) zone: TimeZone,
    voice: Voice,
    quiet: bool,
}

impl Context {
    /// The machine's own clock, randomness and zone, and the environment's keys.
    pub(super) fn new(interrupts: Interrupts, quiet: bool) -> Self {
        Self {
            clock: Arc::new(SystemClock::new()),
            entropy: Arc::new(SystemEntropy),
            interrupts,
            keys: KeySources::from_environment(),
            zone: TimeZone::system(),
            voice: Voice::Text,
            quiet,
        }
    }

    /// The same with another voice.
    pub(super) fn speaking(self, voice: Voice) -> Self {
        Self { voice, ..self }
    }

    /// The same with other keys than the environment's.
    pub(super) fn with_keys(self, keys: KeySources) -> Self {
        Self { keys, ..self }
    }

    pub(super) fn environment(&self) -> Environment {
        Environment { clock: Arc::clone(&self.clock), entropy: Arc::clone(&self.entropy) }
    }

    /// Opens the store at `location`. What it is told about it (endpoints, credentials) comes from the environment.
    pub(super) fn store(&self, location: &str, missing: Missing) -> anyhow::Result<Arc<dyn Store>> {
        let options = Options { missing, ..Options::new(Arc::clone(&self.clock), Arc::clone(&self.entropy)) };
        store::open(location, &options).map_err(|error| {
            if is_nothing_there(&error) { Failure::NoRepository { location: location.to_owned() }.into() } else { error.into() }
        })
    }

    /// Unlocks the repository at `location` with the first key that fits.
    pub(super) fn repository(&self, location: &str) -> anyhow::Result<Repository> {
        let store = self.store(location, Missing::Refuse)?;
        let mut refused = None;
        for secret in self.keys.to_open()? {
            match Repository::open(Arc::clone(&store), self.environment(), &secret) {
                Err(error @ RepositoryError::WrongKey { .. }) => refused = Some(error),
                other => return Ok(other?),
            }
        }
        match refused {
            Some(error) => Err(error.into()),
            None => Err(Failure::Key("there is no key to try".to_owned()).into()),
        }
    }

    /// All points of a repository; those that cannot be read are warned about.
    pub(super) fn points(repository: &Repository) -> Result<PointListing, RepositoryError> {
        let listing = repository.points()?;
        listing.damaged.iter().for_each(|(_, error)| output::warn(&error.to_string()));
        Ok(listing)
    }

    /// The point that `selector` means, out of `listing`.
    pub(super) fn point<'a>(&self, listing: &'a PointListing, selector: &str) -> Result<&'a ListedPoint, JobError> {
        PointSelector::parse(selector, |time| times::parse_until(time, &self.zone))?.find(&listing.points)
    }

    /// A watcher for a long job.
    pub(super) fn progress(&self) -> Box<dyn Progress> {
        let silent = self.quiet || self.voice == Voice::Json;
        progress::watcher(silent, Arc::clone(&self.clock))
    }

    /// True when the result is said in words.
    pub(super) fn is_text(&self) -> bool {
        self.voice == Voice::Text
    }

    /// Says the result.
    pub(super) fn report(&self, view: &impl Serialize, text: impl FnOnce() -> String) -> anyhow::Result<()> {
        let said = match self.voice {
            Voice::Text => text(),
            Voice::Json => serde_json::to_string_pretty(view)? + "\n",
        };
        Ok(output::print(&said)?)
    }
}

/// A directory that is not there, or a file where a directory should be.
fn is_nothing_there(error: &StoreError) -> bool {
    let mut cause: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(now) = cause {
        if let Some(io) = now.downcast_ref::<io::Error>() {
            return error.kind == StoreErrorKind::Misconfigured && io.kind() == ErrorKind::NotFound;
        }
        cause = now.source();
    }
    false
}
