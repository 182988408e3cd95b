//! Key management: list, add, remove, rotate, export.

use bytes::Bytes;
use std::sync::Arc;
use zeroize::Zeroizing;

use super::Repository;
use super::error::RepositoryError;
use super::format::keyring::KeyringBytes;
use super::format::slot::{KeySlot, SlotKind};
use super::ids::SlotId;
use super::keyring::Keyring;
use super::secret::{KeyBytes, Secret};
use super::slots::{NewSlot, make, reseal, unlock};
use super::{list_all, names};
use crate::base::clock::Timestamp;
use crate::store::Store;

/// What anyone may know of a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotSummary {
    /// Its name.
    pub id: SlotId,
    /// "passphrase", "key file" or "paper".
    pub kind: &'static str,
    /// What its owner calls it.
    pub label: String,
    /// When it was made.
    pub created: Timestamp,
    /// True for the slot that opened the repository just now.
    pub in_use: bool,
}

impl Repository {
    /// All key slots that can be read.
    pub fn key_slots(&self) -> Result<Vec<SlotSummary>, RepositoryError> {
        let slots = self.own_slots()?;
        Ok(slots.into_iter().map(|slot| self.summary(&slot)).collect())
    }

    /// Adds a way to unlock the repository.
    pub fn add_key(&self, new: &NewSlot) -> Result<SlotSummary, RepositoryError> {
        let slot = make(new, &self.ring, self.environment.clock.now(), self.environment.entropy.as_ref())?;
        put_slot(self.store.as_ref(), &self.ring, &slot)?;
        Ok(self.summary(&slot))
    }

    /// Makes a key for paper, adds a slot for it, and returns the digits to write down.
    pub fn export_key(&self, label: &str) -> Result<(SlotSummary, Zeroizing<String>), RepositoryError> {
        let mut key = Zeroizing::new([0; 32]);
        self.environment.entropy.fill(&mut *key)?;
        let key = KeyBytes(key);
        let text = key.to_text();
        let new = NewSlot { secret: Secret::Key(key), kind: SlotKind::Paper, label: label.to_owned() };
        Ok((self.add_key(&new)?, text))
    }

    /// Removes a slot, named by its id or an unambiguous beginning of it. The last one stays.
    ///
    /// Whoever could open the slot may have kept the keys of the present epoch: rotate afterwards.
    pub fn remove_key(&self, selector: &str) -> Result<SlotSummary, RepositoryError> {
        let slots = self.own_slots()?;
        let mut matching = slots.iter().filter(|slot| slot.id.to_string().starts_with(selector) && !selector.is_empty());
        let (Some(slot), None) = (matching.next(), matching.next()) else {
            return Err(RepositoryError::NoSuchSlot { slot: selector.to_owned() });
        };
        if slots.len() == 1 {
            return Err(RepositoryError::LastSlot { slot: slot.id.to_string() });
        }
        self.store.delete(&names::slot(slot.id))?;
        Ok(self.summary(slot))
    }

    /// Gives new objects a new key. Old ones keep theirs, which every slot still knows: no data is rewritten.
    ///
    /// First every slot learns the new key, then every slot is told to use it; cut short at any point, all slots open everything,
    /// and the next rotation finishes the work. Returns the new epoch.
    pub fn rotate_key(&mut self) -> Result<u16, RepositoryError> {
        let entropy = self.environment.entropy.as_ref();
        let slots = self.own_slots()?;
        let ring = if self.ring.newest() > self.ring.active() {
            self.ring.bytes().clone()
        } else {
            Keyring::with_new_epoch(self.ring.bytes(), entropy)?
        };
        let known = Keyring::new(ring.clone())?;
        for slot in &slots {
            put_slot(self.store.as_ref(), &known, &reseal(slot, &known, entropy)?)?;
        }
        let mut ring = ring;
        ring.active = known.newest();
        let active = Keyring::new(ring)?;
        for slot in &slots {
            put_slot(self.store.as_ref(), &active, &reseal(slot, &active, entropy)?)?;
        }
        self.ring = Arc::new(active);
        Ok(self.ring.active())
    }

    fn summary(&self, slot: &KeySlot) -> SlotSummary {
        let kind = match slot.kind {
            SlotKind::Passphrase(_) => "passphrase",
            SlotKind::KeyFile => "key file",
            SlotKind::Paper => "paper",
        };
        SlotSummary { id: slot.id, kind, label: slot.label.clone(), created: slot.created, in_use: slot.id == self.slot }
    }

    /// The slots, each proven to have been written by somebody who had the keys. A forged slot would receive the keyring at the
    /// next rotation.
    fn own_slots(&self) -> Result<Vec<KeySlot>, RepositoryError> {
        let mut slots = Vec::new();
        for (slot, seal, epoch) in read_slots(self.store.as_ref())?.readable {
            // A slot that missed a finished rotation can only be the work of someone who was shut out by it.
            let expected = self.ring.slot_seal(epoch, &slot.sealed_part()).ok().filter(|_| epoch >= self.ring.active());
            if expected != Some(seal) {
                let object = names::slot(slot.id);
                return Err(RepositoryError::damaged(
                    object,
                    "its seal is wrong: it was not made with this repository's keys; delete it",
                ));
            }
            slots.push(slot);
        }
        Ok(slots)
    }
}

/// The slots in a store.
pub(crate) struct SlotListing {
    /// Slot, its seal, and the newest epoch it knows.
    pub(crate) readable: Vec<(KeySlot, [u8; 32], u16)>,
    /// What is wrong with the others.
    pub(crate) damaged: Vec<RepositoryError>,
}

/// Reads every slot.
pub(crate) fn read_slots(store: &dyn Store) -> Result<SlotListing, RepositoryError> {
    let mut listing = SlotListing { readable: Vec::new(), damaged: Vec::new() };
    for entry in list_all(store, names::SLOTS)? {
        let bytes = match store.get(&entry.key) {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() => continue,
            Err(error) => return Err(error.into()),
        };
        match KeySlot::parse(&bytes) {
            Ok((slot, seal)) if names::slot(slot.id) == entry.key => {
                let epoch = slot.signers.iter().map(|(epoch, _)| *epoch).max().unwrap_or_default();
                listing.readable.push((slot, seal, epoch));
            }
            Ok(_) => listing.damaged.push(RepositoryError::damaged(&entry.key, "it belongs under another name")),
            Err(error) => listing.damaged.push(RepositoryError::from_format(&entry.key, error)),
        }
    }
    Ok(listing)
}

/// Tries the secret on every slot.
pub(super) fn unlock_any(store: &dyn Store, secret: &Secret) -> Result<(SlotId, KeyringBytes), RepositoryError> {
    let listing = read_slots(store)?;
    if listing.readable.is_empty() {
        return Err(match listing.damaged.into_iter().next() {
            Some(error @ RepositoryError::TooNew { .. }) => error,
            Some(error) => RepositoryError::NoSlots { reason: error.to_string() },
            None => RepositoryError::NoSlots { reason: "there are none".to_owned() },
        });
    }
    for (slot, ..) in &listing.readable {
        if let Some(ring) = unlock(slot, secret) {
            return Ok((slot.id, ring));
        }
    }
    Err(RepositoryError::WrongKey { slots: listing.readable.len() })
}

/// Writes a slot under the newest epoch's seal.
pub(super) fn put_slot(store: &dyn Store, ring: &Keyring, slot: &KeySlot) -> Result<(), RepositoryError> {
    let seal = ring.slot_seal(ring.newest(), &slot.sealed_part())?;
    Ok(store.put(&names::slot(slot.id), Bytes::from(slot.encode(seal)))?)
}
