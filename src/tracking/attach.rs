//! Loading the programs, and pinning them, their maps and their links, so that they outlive this process.

use std::fs;
use std::path::Path;

use aya::maps::{Array, Map, MapData};
use aya::programs::BtfTracePoint;
use aya::{Btf, Ebpf, EbpfLoader, include_bytes_aligned};

use super::disk;
use super::error::TrackingError;
use super::layout::{Instance, LAYOUT, Regime};
use super::maps::{self, Maps};
use super::places::{Places, make_folder, remove_pins};
use super::programs::{self, HOOKS};

/// What clang made of `bpf/tracker.bpf.c`.
static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tracker.bpf.o"));
const NAMED: &str = "the tracker's programs";

/// Attaches a new tracker. All pins come to their place at once: what a crash leaves under the other name is not a tracker.
pub(super) fn attach(places: &Places, identity: [u8; 16], faults: u32) -> Result<Maps, TrackingError> {
    let (pins, place) = (places.new_pins(), places.pins());
    remove_pins(&pins)?;
    make_folder(&pins)?;
    pin_programs(&pins, faults)?;
    set_identity(&pins, identity)?;
    let mut maps = Maps::open(&pins)?;
    attach_regime(&pins, &mut maps, Regime::Requests)?;
    fs::rename(&pins, &place).map_err(|error| TrackingError::os("move the pins to", &place, error))?;
    Ok(maps)
}

/// Attaches the programs of a regime that are not attached.
pub(super) fn attach_regime(pins: &Path, maps: &mut Maps, regime: Regime) -> Result<(), TrackingError> {
    if !programs::attach_missing(pins, regime)? {
        return Ok(());
    }
    // Asked afterwards: a disk that appears in between counts as one that may have been written unseen.
    let newest = disk::present()?.into_iter().map(|(_, diskseq)| diskseq).max();
    maps.set_newest_disk(regime, newest.unwrap_or(0))
}

fn pin_programs(pins: &Path, faults: u32) -> Result<(), TrackingError> {
    let failed = |error| TrackingError::bpf("read the kernel's types for", Path::new(NAMED), error);
    let types = Btf::from_sys_fs().map_err(failed)?;
    let mut loader = EbpfLoader::new();
    loader.btf(Some(&types)).override_global("faults", &faults, true);
    let mut object = loader.load(OBJECT).map_err(|error| TrackingError::bpf("load", Path::new(NAMED), error))?;
    for name in maps::NAMES {
        let pin = maps::pin_of(pins, name);
        let map = object.map(name).ok_or_else(|| missing(name))?;
        map.pin(&pin).map_err(|error| TrackingError::bpf("pin", &pin, error))?;
    }
    HOOKS.iter().try_for_each(|hook| load_program(&mut object, *hook, &types, pins))
}

fn load_program(object: &mut Ebpf, hook: programs::Hook, types: &Btf, pins: &Path) -> Result<(), TrackingError> {
    let failed = |error| TrackingError::bpf("load the program", Path::new(hook.program), error);
    let program = object.program_mut(hook.program).ok_or_else(|| missing(hook.program))?;
    let program: &mut BtfTracePoint = program.try_into().map_err(failed)?;
    program.load(hook.tracepoint, types).map_err(failed)?;
    program.pin(hook.program_pin(pins)).map_err(|error| TrackingError::bpf("pin", Path::new(hook.program), error))
}

fn missing(name: &str) -> TrackingError {
    TrackingError::bpf("find", Path::new(name), "it is not in the object that this program was built with")
}

fn set_identity(pins: &Path, identity: [u8; 16]) -> Result<(), TrackingError> {
    let number = u128::from_be_bytes(identity);
    // Each half fits.
    let (high, low) = ((number >> 64) as u64, number as u64);
    let pin = maps::pin_of(pins, "instance");
    let failed = |error| TrackingError::bpf("write", &pin, error);
    let map = MapData::from_pin(&pin).map_err(failed)?;
    let mut map: Array<MapData, Instance> = Map::Array(map).try_into().map_err(failed)?;
    map.set(0, [LAYOUT, 0, high, low, u64::MAX, u64::MAX], 0).map_err(failed)
}
