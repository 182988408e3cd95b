//! The tracker's maps by name and type, opened from their pins.

use std::fmt;
use std::path::{Path, PathBuf};

use aya::maps::{Array, ArrayOfMaps, HashMap, Map, MapData, MapError, PerCpuArray};

use super::error::TrackingError;
use super::layout::{BioEntry, DiskEntry, Instance, LAYOUT, MAX_DISKS, Regime, Tally, early_place, places_of};

/// Names of the maps, as the object has them.
pub(super) const NAMES: &[&str] = &["disks", "bitmaps", "flights", "bios", "tallies", "early", "instance"];

/// All maps of an attached tracker.
pub(super) struct Maps {
    disks: Array<MapData, [u64; 3]>,
    pub(super) bitmaps: ArrayOfMaps<MapData>,
    /// The same map, read as the numbers of the maps in it: to open a map by number asks for more privilege than a pin does.
    bitmap_numbers: Array<MapData, u32>,
    pub(super) flights: ArrayOfMaps<MapData>,
    pub(super) bios: HashMap<MapData, u64, BioEntry>,
    tallies: PerCpuArray<MapData, Tally>,
    early: Array<MapData, u64>,
    instance: Array<MapData, Instance>,
}

/// The pin of a map.
pub(super) fn pin_of(pins: &Path, name: &str) -> PathBuf {
    pins.join(format!("map_{name}"))
}

impl fmt::Debug for Maps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Maps").finish_non_exhaustive()
    }
}

fn open<M: TryFrom<Map, Error = MapError>>(pins: &Path, name: &str, wrap: fn(MapData) -> Map) -> Result<M, TrackingError> {
    let pin = pin_of(pins, name);
    let opened = MapData::from_pin(&pin).and_then(|map| M::try_from(wrap(map)));
    opened.map_err(|error| TrackingError::bpf("open the map", &pin, error))
}

fn failed(act: &'static str) -> impl Fn(MapError) -> TrackingError {
    move |error| TrackingError::bpf(act, Path::new("the tracker's maps"), error)
}

impl Maps {
    /// Opens the pins, and refuses those of another version.
    pub(super) fn open(pins: &Path) -> Result<Self, TrackingError> {
        let instance: Array<MapData, Instance> = open(pins, "instance", Map::Array)?;
        let found = instance.get(&0, 0).map_err(failed("read"))?.first().copied().unwrap_or_default();
        if found != LAYOUT {
            return Err(TrackingError::OtherLayout { found, wanted: LAYOUT });
        }
        Ok(Self {
            disks: open(pins, "disks", Map::Array)?,
            bitmaps: open(pins, "bitmaps", Map::ArrayOfMaps)?,
            bitmap_numbers: open(pins, "bitmaps", Map::Array)?,
            flights: open(pins, "flights", Map::ArrayOfMaps)?,
            bios: open(pins, "bios", Map::HashMap)?,
            tallies: open(pins, "tallies", Map::PerCpuArray)?,
            early: open(pins, "early", Map::Array)?,
            instance,
        })
    }

    /// The tracked disks and their indices.
    pub(super) fn tracked(&self) -> Result<Vec<(DiskEntry, u32)>, TrackingError> {
        let entries = (0..MAX_DISKS).map(|index| Ok((self.entry(index)?, index)));
        entries.filter(|entry| entry.as_ref().map_or(true, |(entry, _)| entry.diskseq != 0)).collect()
    }

    fn entry(&self, index: u32) -> Result<DiskEntry, TrackingError> {
        self.disks.get(&index, 0).map(DiskEntry::parse).map_err(failed("find disks in"))
    }

    /// Where a disk lies.
    pub(super) fn index(&self, diskseq: u64) -> Result<Option<u32>, TrackingError> {
        self.first_place(diskseq, diskseq)
    }

    /// Where a disk could lie.
    pub(super) fn free_index(&self, diskseq: u64) -> Result<Option<u32>, TrackingError> {
        self.first_place(diskseq, 0)
    }

    /// The first of the places of a disk that holds `wanted`.
    fn first_place(&self, diskseq: u64, wanted: u64) -> Result<Option<u32>, TrackingError> {
        for index in places_of(diskseq) {
            if self.entry(index)?.diskseq == wanted {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// Enters a disk, its number last: programs that find the number find the rest.
    pub(super) fn enter(&mut self, index: u32, entry: DiskEntry) -> Result<(), TrackingError> {
        self.set_entry(index, DiskEntry { diskseq: 0, ..entry })?;
        self.set_entry(index, entry)
    }

    /// Empties a place.
    pub(super) fn leave(&mut self, index: u32) -> Result<(), TrackingError> {
        let entry = self.entry(index)?;
        self.set_entry(index, DiskEntry { diskseq: 0, ..entry })
    }

    fn set_entry(&mut self, index: u32, entry: DiskEntry) -> Result<(), TrackingError> {
        self.disks.set(index, entry.words(), 0).map_err(failed("enter disks into"))
    }

    /// The number of the map in which a disk is marked now.
    pub(super) fn bitmap_number(&self, index: u32) -> Result<u32, TrackingError> {
        self.bitmap_numbers.get(&index, 0).map_err(failed("read"))
    }

    /// Sectors that the programs have counted for a disk: when they were completed, and when they were issued.
    pub(super) fn counted_sectors(&self, index: u32) -> Result<Tally, TrackingError> {
        let values = self.tallies.get(&index, 0).map_err(failed("count in"))?;
        Ok(values.iter().fold([0, 0], |sum, tally| [sum[0].wrapping_add(tally[0]), sum[1].wrapping_add(tally[1])]))
    }

    pub(super) fn identity(&self) -> Result<[u8; 16], TrackingError> {
        let [_, _, high, low, ..] = self.instance()?;
        let mut out = [0; 16];
        out.iter_mut().zip(high.to_be_bytes().into_iter().chain(low.to_be_bytes())).for_each(|(to, from)| *to = from);
        Ok(out)
    }

    /// True when every write to the disk since it appeared would have been noted, and none was.
    pub(super) fn was_never_written(&self, diskseq: u64, regime: Regime) -> Result<bool, TrackingError> {
        let [_, _, _, _, newest_request_disk, newest_bio_disk] = self.instance()?;
        let newest = if regime == Regime::Requests { newest_request_disk } else { newest_bio_disk };
        let (word, bit) = early_place(diskseq);
        let noted = self.early.get(&word, 0).map_err(failed("look for early writes in"))?;
        Ok(diskseq > newest && noted & bit == 0)
    }

    /// Notes that disks up to this one may have been written while the programs of a regime were not attached.
    pub(super) fn set_newest_disk(&mut self, regime: Regime, newest: u64) -> Result<(), TrackingError> {
        let [layout, reserved, high, low, requests, bios] = self.instance()?;
        let (requests, bios) = if regime == Regime::Requests { (newest, bios) } else { (requests, newest) };
        let instance = [layout, reserved, high, low, requests, bios];
        self.instance.set(0, instance, 0).map_err(failed("write"))
    }

    fn instance(&self) -> Result<Instance, TrackingError> {
        self.instance.get(&0, 0).map_err(failed("read"))
    }
}
