//! Checks without keys: checksums and signatures of every object, for machines that may not read the data.

use std::ops::ControlFlow;

use super::error::RepositoryError;
use super::format::config::Config;
use super::format::pack::{parse_pack, slot_bytes};
use super::format::slot::KeySlot;
use super::{keys, list_all, names, sealed};
use crate::base::cancel::Cancel;
use crate::base::progress::{Progress, Step};
use crate::store::{ObjectEntry, ObjectKey, Store, StoreError};

/// Public signing keys by epoch.
type Signers = [(u16, [u8; 32])];

/// What a scrub found.
#[derive(Debug, Default)]
pub struct ScrubReport {
    /// Objects read.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What is wrong, one line an object.
    pub problems: Vec<String>,
    /// Objects that are no part of a repository.
    pub strangers: Vec<String>,
}

/// Reads every object in `store` and verifies what can be verified without a key.
///
/// The signing keys are taken from the key slots: whoever can write slots without being noticed can also sign. With a key, `check`
/// closes that gap.
pub fn scrub(store: &dyn Store, progress: &dyn Progress, cancel: &Cancel) -> Result<ScrubReport, RepositoryError> {
    let mut report = ScrubReport::default();
    super::read_config(store)?;
    let mut signers: Vec<(u16, [u8; 32])> =
        keys::read_slots(store)?.readable.into_iter().flat_map(|(slot, ..)| slot.signers).collect();
    signers.sort_unstable();
    signers.dedup();
    let mut total = 0;
    store.list("", &mut |entry| {
        total += entry.size;
        ControlFlow::Continue(())
    })?;
    progress.begin("scrubbing", total);
    // Problems are collected as they come; an object deleted meanwhile is no problem.
    let mut failed = None;
    store.list("", &mut |entry| {
        if cancel.is_cancelled() {
            failed = Some(RepositoryError::Cancelled);
            return ControlFlow::Break(());
        }
        match scrub_object(store, &signers, &entry) {
            Ok(None) => report.strangers.push(entry.key.to_string()),
            Ok(Some(problem)) => {
                report.objects += 1;
                report.bytes += entry.size;
                report.problems.extend(problem);
            }
            Err(error) if error.is_not_found() => {}
            Err(error) => {
                failed = Some(error.into());
                return ControlFlow::Break(());
            }
        }
        progress.step(Step { done_bytes: entry.size, new_bytes: 0 });
        ControlFlow::Continue(())
    })?;
    progress.finish();
    failed.map_or(Ok(report), Err)
}

/// `None` for an object that is none of ours; otherwise what is wrong with it, if anything.
fn scrub_object(store: &dyn Store, signers: &Signers, entry: &ObjectEntry) -> Result<Option<Option<String>>, StoreError> {
    let key = &entry.key;
    let verify: fn(&Signers, &ObjectKey, &[u8]) -> Result<(), RepositoryError> = match first_segment(key) {
        "config" => |_, key, bytes| from_format(key, Config::parse(bytes).map(|_| ())),
        "keys" => |_, key, bytes| verify_slot(key, bytes),
        "packs" => |_, key, bytes| verify_pack(key, bytes),
        "points" | "verdicts" | "leases" | "condemned" => |signers, key, bytes| sealed::verify(signers, key, bytes).map(|_| ()),
        _ => return Ok(None),
    };
    let bytes = store.get(key)?;
    Ok(Some(verify(signers, key, &bytes).err().map(|error| error.to_string())))
}

/// Shows every small sealed object but the points to `visit`, with what is wrong with it.
pub(super) fn scrub_small(
    store: &dyn Store,
    signers: &Signers,
    visit: &mut dyn FnMut(&ObjectKey, Option<RepositoryError>),
) -> Result<(), RepositoryError> {
    for prefix in [names::VERDICTS, names::LEASES, names::CONDEMNED] {
        for entry in list_all(store, prefix)? {
            let bytes = match store.get(&entry.key) {
                Ok(bytes) => bytes,
                Err(error) if error.is_not_found() => continue,
                Err(error) => return Err(error.into()),
            };
            visit(&entry.key, sealed::verify(signers, &entry.key, &bytes).err());
        }
    }
    Ok(())
}

fn verify_slot(key: &ObjectKey, bytes: &[u8]) -> Result<(), RepositoryError> {
    let (slot, _) = KeySlot::parse(bytes).map_err(|error| RepositoryError::from_format(key, error))?;
    if names::slot(slot.id) == *key { Ok(()) } else { Err(RepositoryError::damaged(key, "it belongs under another name")) }
}

fn verify_pack(key: &ObjectKey, bytes: &[u8]) -> Result<(), RepositoryError> {
    let (header, slots) = parse_pack(bytes).map_err(|error| RepositoryError::from_format(key, error))?;
    if names::pack(header.id) != *key {
        return Err(RepositoryError::damaged(key, "it belongs under another name"));
    }
    for (number, slot) in slots.iter().enumerate().filter(|(_, slot)| slot.is_live()) {
        if let Err(error) = slot_bytes(bytes, slot) {
            return Err(RepositoryError::damaged(key, format!("slot {number}: {error}")));
        }
    }
    Ok(())
}

fn first_segment(key: &ObjectKey) -> &str {
    key.as_str().split('/').next().unwrap_or_default()
}

fn from_format(key: &ObjectKey, result: Result<(), super::format::FormatError>) -> Result<(), RepositoryError> {
    result.map_err(|error| RepositoryError::from_format(key, error))
}
