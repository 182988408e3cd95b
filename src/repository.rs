//! Everything persisted: keys, packs, the block tree, recovery points, leases, and the collection of what nobody needs.
//!
//! ```text
//!   point (manifest) ──root──► inner node ──► ... ──► leaf ──► chunk in a frame in a pack
//!        │ previous                                    64 chunks
//!        ▼
//!   older point ──root──► shares every subtree that did not change
//! ```
//! A recovery point exists if and only if its manifest object exists; it is written last. Nothing that a manifest reaches is ever
//! changed, only collected once no manifest and no lease reaches it. `docs/format.md` describes every byte.
//!
//! The seven promises this room keeps, and where they are tested, are listed in `ARCHITECTURE.md`.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;

pub mod format;

mod catalog_pages;
mod check;
mod chunk_cache;
mod chunks;
mod coalesce;
mod codec;
mod collect;
mod compare;
mod crypt;
mod elsewhere;
mod error;
mod fetch;
mod frame;
mod gaps;
pub mod ids;
mod keyring;
mod keys;
mod leases;
mod live;
mod names;
pub mod paper;
mod points;
mod recent;
pub mod retention;
mod scrub;
mod sealed;
mod secret;
mod slots;
mod spare;
#[cfg(test)]
mod tests;
mod tree;
mod upload;
mod volume_reader;
mod window;
mod writer;

pub use catalog_pages::{CATALOG_PAGE_BYTES, CatalogPages, PageWriter, VisitPage};
pub use check::{CheckDepth, CheckReport, PointDamage};
pub use chunks::{ChunkReader, VisitChunk, VolumePiece, chunk_extent};
pub use codec::CodecError;
pub use collect::{CollectOptions, CollectReport, SAFE_WAIT, Tally};
pub use crypt::{CryptError, SystemEntropy};
pub use elsewhere::{Elsewhere, FoundElsewhere};
pub use error::RepositoryError;
pub use gaps::Gaps;
pub use keys::SlotSummary;
pub use leases::{CLOCK_SKEW, LEASE_DURATION};
pub use points::{ListedPoint, PointListing, Verdicts};
pub use scrub::{ScrubReport, scrub};
pub use secret::{KeyBytes, KeyFileError, Secret};
pub use slots::NewSlot;
pub use volume_reader::VolumeReader;
pub use window::{CutWindow, WindowCutter};
pub use writer::{EarlierChunks, FinishedVolume, PointFacts, PointWriter, WriterOptions};

use crate::base::clock::Clock;
use crate::base::entropy::Entropy;
use crate::store::{Created, ObjectEntry, ObjectKey, Store};
use fetch::FrameFetcher;
use format::config::Config;
use format::envelope::EnvelopeKind;
use format::frame::Codec;
use ids::{RepositoryId, SlotId, VolumeKey};
use keyring::Keyring;

/// Time and randomness for everything that happens in a repository.
#[derive(Debug, Clone)]
pub struct Environment {
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The random generator; it makes keys.
    pub entropy: Arc<dyn Entropy>,
}

/// What `init` may choose.
#[derive(Debug, Clone, Copy)]
pub struct InitOptions {
    /// Chunk size for volumes that do not choose their own, in bytes.
    pub chunk_bytes: u32,
    /// Packs are closed at this length, in bytes.
    pub pack_bytes: u32,
    /// How new chunks are compressed unless a backup says otherwise.
    pub codec: Codec,
}

impl Default for InitOptions {
    fn default() -> Self {
        Self { chunk_bytes: 16 << 10, pack_bytes: 16 << 20, codec: Codec::Zstd(1) }
    }
}

/// An unlocked repository.
#[derive(Debug, Clone)]
pub struct Repository {
    store: Arc<dyn Store>,
    config: Config,
    ring: Arc<Keyring>,
    slot: SlotId,
    environment: Environment,
}

impl Repository {
    /// Makes a repository with one key slot in an empty place.
    pub fn init(
        store: Arc<dyn Store>,
        environment: Environment,
        options: InitOptions,
        first: &NewSlot,
    ) -> Result<Self, RepositoryError> {
        let entropy = environment.entropy.as_ref();
        if exists(store.as_ref(), &names::config())? {
            return Err(RepositoryError::AlreadyThere { location: store.location() });
        }
        let created = environment.clock.now();
        let config = Config {
            id: RepositoryId::random(entropy)?,
            created,
            chunk_bytes: options.chunk_bytes,
            pack_bytes: options.pack_bytes,
            codec: options.codec,
        };
        let ring = Keyring::new(Keyring::generate(config.id, entropy)?)?;
        let slot = slots::make(first, &ring, created, entropy)?;
        // The slot goes first: a config without a key could never be opened, a slot without a config is only litter.
        keys::put_slot(store.as_ref(), &ring, &slot)?;
        match store.put_if_absent(&names::config(), Bytes::from(config.encode(ring.config_seal(&config))))? {
            Created::New => {
                let made = Self { store, config, ring: Arc::new(ring), slot: slot.id, environment };
                made.remove_strangers()?;
                Ok(made)
            }
            Created::AlreadyThere => {
                store.delete(&names::slot(slot.id))?;
                Err(RepositoryError::AlreadyThere { location: store.location() })
            }
        }
    }

    /// Unlocks the repository in `store`.
    pub fn open(store: Arc<dyn Store>, environment: Environment, secret: &Secret) -> Result<Self, RepositoryError> {
        let (config, seal) = read_config(store.as_ref())?;
        let (slot, ring) = keys::unlock_any(store.as_ref(), secret, config.id)?;
        let ring = Keyring::new(ring)?;
        if ring.bytes().repository != config.id || ring.config_seal(&config) != seal {
            return Err(RepositoryError::damaged("config", "its seal is wrong: somebody changed it, or it belongs elsewhere"));
        }
        Ok(Self { store, config, ring: Arc::new(ring), slot, environment })
    }

    /// Choices made at `init`.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The store beneath.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Time and randomness.
    #[must_use]
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The keyed name of a volume.
    #[must_use]
    pub fn volume_key(&self, volume: &str) -> VolumeKey {
        self.ring.volume_key(volume)
    }

    fn fetcher(&self) -> FrameFetcher {
        FrameFetcher::new(Arc::clone(&self.store), Arc::clone(&self.ring))
    }

    fn seal(&self, kind: EnvelopeKind, key: &ObjectKey, fields: Vec<u8>) -> Result<Bytes, RepositoryError> {
        sealed::seal(&self.ring, self.environment.entropy.as_ref(), kind, key, fields)
    }

    fn open_sealed(&self, kind: EnvelopeKind, key: &ObjectKey) -> Result<Vec<u8>, RepositoryError> {
        sealed::open(&self.ring, kind, key, &self.store.get(key)?)
    }
}

/// Reads `config`, which needs no key.
fn read_config(store: &dyn Store) -> Result<(Config, [u8; 32]), RepositoryError> {
    let key = names::config();
    let bytes = match store.get(&key) {
        Ok(bytes) => bytes,
        Err(error) if error.is_not_found() => {
            return Err(RepositoryError::NotARepository { location: store.location() });
        }
        Err(error) => return Err(error.into()),
    };
    Config::parse(&bytes).map_err(|error| RepositoryError::from_format(&key, error))
}

fn exists(store: &dyn Store, key: &ObjectKey) -> Result<bool, RepositoryError> {
    match store.size(key) {
        Ok(_) => Ok(true),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Everything under `prefix`. For the kinds of objects that are few: slots, leases, points, verdicts.
fn list_all(store: &dyn Store, prefix: &str) -> Result<Vec<ObjectEntry>, RepositoryError> {
    let mut entries = Vec::new();
    store.list(prefix, &mut |entry| {
        entries.push(entry);
        ControlFlow::Continue(())
    })?;
    entries.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    Ok(entries)
}
