//! Carrying writes that are on their way into the new generation: they were marked in the old one, and may reach the disk after the cut.

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::Ordering;

use aya::maps::MapData;

use super::bitmap::Bitmap;
use super::error::TrackingError;
use super::layout::{Flight, MAX_BIOS, Regime};
use super::maps::Maps;
use super::shared::SharedWords;

/// Marks in `new` what the driver holds from generation `upto` and before. False when not all of it could be looked at.
///
/// Writes that end meanwhile are no loss: the flush that follows makes them stable before the cut. Writes that begin meanwhile mark
/// the new generation themselves, for the maps have been exchanged.
pub(super) fn carry(
    maps: &Maps,
    flights_pin: &Path,
    index: u32,
    regime: Regime,
    upto: u64,
    new: &Bitmap,
) -> Result<bool, TrackingError> {
    let take = |flight: Flight| {
        if flight.generation <= upto {
            new.mark(flight.first, flight.last, flight.kind);
        }
    };
    match regime {
        Regime::Requests => slots(flights_pin)?.words().as_chunks::<{ Flight::WORDS }>().0.iter().for_each(|slot| {
            // A record that must be carried stands still: only its own completion, or a program that marks the new generation, touches
            // the slot. Of one that changes, any mixture of words marks too much at worst.
            let words = slot.each_ref().map(|word| word.load(Ordering::Acquire));
            Flight::parse(words).into_iter().for_each(take);
        }),
        Regime::Bios => return Ok(carry_bios(maps, index, take)),
    }
    Ok(true)
}

fn slots(pin: &Path) -> Result<SharedWords, TrackingError> {
    let failed = |error| TrackingError::bpf("open the writes on their way at", pin, error);
    let map = MapData::from_pin(pin).map_err(failed)?;
    let words = u64::from(map.info().map_err(failed)?.max_entries()) * Flight::WORDS as u64;
    SharedWords::new(map.fd().as_fd(), words).map_err(|error| TrackingError::os("map", pin, error))
}

/// An entry that stays is met in any walk, however others come and go; a walk that is thrown back too often is given up.
fn carry_bios(maps: &Maps, index: u32, take: impl Fn(Flight)) -> bool {
    const MOST_STEPS: usize = 8 * MAX_BIOS;
    let mut steps = 0;
    for entry in maps.bios.iter() {
        steps += 1;
        let Ok((_, [place, owner, generation, first, last])) = entry else { return false };
        if steps > MOST_STEPS {
            return false;
        }
        if place == u64::from(index) {
            Flight::parse([owner, generation, first, last]).into_iter().for_each(&take);
        }
    }
    true
}
