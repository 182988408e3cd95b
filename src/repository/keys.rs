//! Key management: list, add, remove, rotate, export.

use bytes::Bytes;
use std::sync::Arc;
use zeroize::Zeroizing;

use super::Repository;
use super::error::RepositoryError;
use super::format::keyring::KeyringBytes;
use super::format::slot::{KeySlot, SlotKind};
use super::ids::{RepositoryId, SlotId};
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
        let sorted = self.sorted_slots()?;
        sorted.refuse_strangers()?;
        Ok(sorted.own.iter().chain(&sorted.newer).map(|slot| self.summary(slot)).collect())
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

    /// Removes a slot, named by its id or an unambiguous beginning of it. The last one stays. A stranger's may always go.
    ///
    /// Whoever could open the slot may have kept the keys of the present epoch: rotate afterwards.
    pub fn remove_key(&self, selector: &str) -> Result<SlotSummary, RepositoryError> {
        let SortedSlots { own, newer, strangers } = self.sorted_slots()?;
        let mut matching = own.iter().chain(&newer).chain(&strangers);
        let mut matching = matching.by_ref().filter(|slot| slot.id.to_string().starts_with(selector) && !selector.is_empty());
        let (Some(slot), None) = (matching.next(), matching.next()) else {
            return Err(RepositoryError::NoSuchSlot { slot: selector.to_owned() });
        };
        if own.len() + newer.len() == 1 && !strangers.contains(slot) {
            return Err(RepositoryError::LastSlot { slot: slot.id.to_string() });
        }
        self.store.delete(&names::slot(slot.id))?;
        Ok(self.summary(slot))
    }

    /// Gives new objects a new key. Old ones keep theirs, which every slot still knows: no data is rewritten.
    ///
    /// First every slot learns the new key, then every slot is told to use it; cut short at any point, all slots open everything,
    /// and the next rotation finishes the work. The slot in use learns first, so that whoever began can also finish. Returns the
    /// new epoch.
    pub fn rotate_key(&mut self) -> Result<u16, RepositoryError> {
        let entropy = self.environment.entropy.as_ref();
        let slots = self.slots_to_rotate()?;
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

    /// All slots, the one in use first, or why they cannot be given a new key.
    fn slots_to_rotate(&self) -> Result<Vec<KeySlot>, RepositoryError> {
        let mut sorted = self.sorted_slots()?;
        sorted.refuse_strangers()?;
        if let Some(newer) = sorted.newer.first() {
            let what = format!(
                "a key rotation was begun with another key; finish it with the key of slot {}, or remove that slot",
                newer.id
            );
            return Err(RepositoryError::Busy { what });
        }
        sorted.own.sort_by_key(|slot| slot.id != self.slot);
        Ok(sorted.own)
    }

    /// The slots by who wrote them. A forged slot would receive the keyring at the next rotation.
    fn sorted_slots(&self) -> Result<SortedSlots, RepositoryError> {
        let mut sorted = SortedSlots { own: Vec::new(), newer: Vec::new(), strangers: Vec::new() };
        for (slot, seal, epoch) in read_slots(self.store.as_ref())?.readable {
            // A slot that missed a finished rotation can only be the work of someone who was shut out by it.
            let expected = self.ring.slot_seal(epoch, &slot.sealed_part()).ok().filter(|_| epoch >= self.ring.active());
            match expected {
                _ if epoch > self.ring.newest() => sorted.newer.push(slot),
                Some(expected) if expected == seal => sorted.own.push(slot),
                _ => sorted.strangers.push(slot),
            }
        }
        Ok(sorted)
    }

    /// What is wrong with the slots in the store.
    pub(super) fn slot_problems(&self) -> Result<Vec<RepositoryError>, RepositoryError> {
        let damaged = read_slots(self.store.as_ref())?.damaged;
        let strangers = self.sorted_slots()?.strangers;
        Ok(damaged.into_iter().chain(strangers.iter().map(stranger)).collect())
    }

    /// Removes what an `init` left that died before its config was there. Only for the one whose config has just come to be.
    pub(super) fn remove_strangers(&self) -> Result<(), RepositoryError> {
        for slot in self.sorted_slots()?.strangers {
            self.store.delete(&names::slot(slot.id))?;
        }
        Ok(())
    }
}

/// Slots by who wrote them.
struct SortedSlots {
    /// Proven to have been written by somebody who had the keys.
    own: Vec<KeySlot>,
    /// They know a key that this ring does not: a rotation was begun through another slot. Nothing can be proven of them.
    newer: Vec<KeySlot>,
    /// Not made with this repository's keys.
    strangers: Vec<KeySlot>,
}

impl SortedSlots {
    fn refuse_strangers(&self) -> Result<(), RepositoryError> {
        self.strangers.first().map_or(Ok(()), |slot| Err(stranger(slot)))
    }
}

fn stranger(slot: &KeySlot) -> RepositoryError {
    let reason = format!("it was not made with this repository's keys; remove it: icecore key remove {}", slot.id);
    RepositoryError::damaged(names::slot(slot.id), reason)
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

/// Tries the secret on every slot. One that holds another repository's keys, left by an `init` that was cut short or put there by a
/// stranger, is taken only if there is no better.
pub(super) fn unlock_any(
    store: &dyn Store,
    secret: &Secret,
    repository: RepositoryId,
) -> Result<(SlotId, KeyringBytes), RepositoryError> {
    let listing = read_slots(store)?;
    if listing.readable.is_empty() {
        return Err(match listing.damaged.into_iter().next() {
            Some(error @ RepositoryError::TooNew { .. }) => error,
            Some(error) => RepositoryError::NoSlots { reason: error.to_string() },
            None => RepositoryError::NoSlots { reason: "there are none".to_owned() },
        });
    }
    let mut foreign = None;
    for (slot, ..) in &listing.readable {
        match unlock(slot, secret) {
            Some(ring) if ring.repository == repository => return Ok((slot.id, ring)),
            Some(ring) => foreign = Some((slot.id, ring)),
            None => {}
        }
    }
    foreign.ok_or(RepositoryError::WrongKey { slots: listing.readable.len() })
}

/// Writes a slot under the newest epoch's seal.
pub(super) fn put_slot(store: &dyn Store, ring: &Keyring, slot: &KeySlot) -> Result<(), RepositoryError> {
    let seal = ring.slot_seal(ring.newest(), &slot.sealed_part())?;
    Ok(store.put(&names::slot(slot.id), Bytes::from(slot.encode(seal)))?)
}
