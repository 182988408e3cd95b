//! The tracker as its callers see it: attached once for a machine, with disks that are added, listed and removed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use aya::maps::{Array, MapData};

use super::attach::{attach, attach_regime};
use super::bitmap::{Bitmap, Grid};
use super::disk::{self, Disk};
use super::error::TrackingError;
#[cfg(any(test, feature = "testkit"))]
use super::fault::Faults;
use super::layout::{DiskEntry, Flags, Flight, MAX_BIOS, Regime, SHARED_INNER};
use super::maps::Maps;
use super::places::{Places, make_folder, remove_pins};
use super::record::{Phase, Record};
use crate::base::entropy::Entropy;

/// Where a tracker lives.
#[derive(Debug, Clone)]
pub struct Settings {
    /// A BPF file system, or a folder where one will be mounted.
    pub bpffs: PathBuf,
    /// What processes remember of tracked disks. It may be lost at a reboot, for the marks are then, too.
    pub state: PathBuf,
    /// What is left out, to see that tests notice.
    #[cfg(any(test, feature = "testkit"))]
    pub faults: Faults,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            bpffs: PathBuf::from("/sys/fs/bpf"),
            state: PathBuf::from("/run/icecore/tracking"),
            #[cfg(any(test, feature = "testkit"))]
            faults: Faults::default(),
        }
    }
}

/// Chunk sizes that the programs can mark: the longest request has no more of the smallest than they look at.
const CHUNK_BYTES: RangeInclusive<u32> = 16 << 10..=16 << 20;
/// Unless somebody chooses, a disk has at most so many chunks: two bitmaps of 8 MiB each, and twice that while an epoch ends.
const USUAL_CHUNKS: u64 = 64 << 20;

fn usual_chunk(size_bytes: u64) -> u32 {
    let mut chunk = *CHUNK_BYTES.start();
    while chunk < *CHUNK_BYTES.end() && size_bytes.div_ceil(chunk.into()) > USUAL_CHUNKS {
        chunk *= 2;
    }
    chunk
}

/// An attached tracker.
#[derive(Debug)]
pub struct Tracker {
    pub(super) places: Places,
    pub(super) maps: Maps,
    #[cfg(any(test, feature = "testkit"))]
    pub(super) faults: Faults,
}

/// What adding a disk did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// False when it was tracked already.
    pub is_new: bool,
    /// No write was made to the disk between its appearance and now; the tracker was attached before it.
    pub was_never_written: bool,
    /// How its writes are seen.
    pub regime: Regime,
    /// Its size.
    pub size_bytes: u64,
    /// What its changes are told apart in.
    pub chunk_bytes: u32,
}

/// A tracked disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracked {
    /// As the kernel calls it; `None` when it is gone.
    pub name: Option<String>,
    /// The kernel's number of the disk.
    pub diskseq: u64,
    /// How its writes are seen.
    pub regime: Regime,
    /// Size of a chunk.
    pub chunk_bytes: u32,
    /// What was written since the last cut.
    pub written_bytes: u64,
    /// What was discarded since the last cut.
    pub discarded_bytes: u64,
    /// Why the next delta will not be known, if so.
    pub flags: Flags,
    /// There is a cut to go on from.
    pub has_base: bool,
}

impl Tracker {
    /// Opens the attached tracker, or attaches one. Programs that somebody detached are attached again; every chain then begins anew.
    pub fn attach(settings: &Settings, entropy: &dyn Entropy) -> Result<Self, TrackingError> {
        let places = Places::new(&settings.bpffs, &settings.state);
        let _held = places.lock()?;
        places.prepare()?;
        let mut maps = match places.pins().exists() {
            true => Maps::open(&places.pins())?,
            false => {
                let mut identity = [0; 16];
                entropy.fill(&mut identity)?;
                attach(&places, identity, kernel_faults(settings))?
            }
        };
        repair(&places, &mut maps)?;
        Ok(Self::new(settings, places, maps))
    }

    /// Opens the attached tracker; `None` when none is attached.
    pub fn open(settings: &Settings) -> Result<Option<Self>, TrackingError> {
        let places = Places::new(&settings.bpffs, &settings.state);
        if !places.pins().exists() {
            return Ok(None);
        }
        let _held = places.lock()?;
        let mut maps = Maps::open(&places.pins())?;
        repair(&places, &mut maps)?;
        Ok(Some(Self::new(settings, places, maps)))
    }

    fn new(_settings: &Settings, places: Places, maps: Maps) -> Self {
        Self {
            places,
            maps,
            #[cfg(any(test, feature = "testkit"))]
            faults: _settings.faults,
        }
    }

    /// Removes every trace of a tracker, whatever version attached it.
    pub fn detach(settings: &Settings) -> Result<(), TrackingError> {
        let places = Places::new(&settings.bpffs, &settings.state);
        let _held = places.lock()?;
        for diskseq in places.pinned_disks() {
            let _epoch = places.lock_disk(diskseq)?;
            places.forget_disk(diskseq)?;
        }
        remove_pins(&places.pins())
    }

    /// Begins to track the whole disk `device`; without a chunk size, in the smallest chunks of which it has not too many. To add it
    /// again changes nothing.
    pub fn add(&mut self, device: &Path, chunk_bytes: Option<u32>) -> Result<Added, TrackingError> {
        if let Some(bytes) = chunk_bytes.filter(|bytes| !CHUNK_BYTES.contains(bytes) || !bytes.is_power_of_two()) {
            return Err(TrackingError::ChunkBytes { bytes });
        }
        let _held = self.places.lock()?;
        let disk = Disk::look(device)?;
        attach_regime(&self.places.pins(), &mut self.maps, disk.regime)?;
        self.forget_the_gone()?;
        let was_never_written = self.maps.was_never_written(disk.diskseq, disk.regime)?;
        let is_new = self.maps.index(disk.diskseq)?.is_none();
        let record = if is_new { None } else { Record::load(&self.places.record(disk.diskseq))? };
        let known = record.map(|record| record.chunk_bytes);
        let wanted = chunk_bytes.or(known).unwrap_or_else(|| usual_chunk(disk.size_bytes));
        if is_new {
            self.adopt(&disk, wanted)?;
        } else if let Some(found) = known.filter(|found| *found != wanted) {
            return Err(TrackingError::OtherChunks { path: device.to_path_buf(), chunk_bytes: found.into() });
        }
        Ok(Added {
            is_new,
            was_never_written: is_new && was_never_written,
            regime: disk.regime,
            size_bytes: disk.size_bytes,
            chunk_bytes: wanted,
        })
    }

    /// The programs find the disk last, when everything that they need is there.
    fn adopt(&mut self, disk: &Disk, chunk_bytes: u32) -> Result<(), TrackingError> {
        let _epoch = self.places.lock_disk(disk.diskseq)?;
        let index = self.maps.free_index(disk.diskseq)?.ok_or(TrackingError::Full)?;
        self.places.forget_disk(disk.diskseq)?;
        make_folder(&self.places.disk_pins(disk.diskseq))?;
        let grid = Grid { size_bytes: disk.size_bytes, chunk_bytes };
        let bitmap = Bitmap::create(&self.places.bitmap_pin(disk.diskseq, 1), 1, grid)?;
        let flights = make_flights(&self.places.flights_pin(disk.diskseq), disk)?;
        let failed = |error| TrackingError::bpf("enter into the maps", Path::new(&disk.name), error);
        self.maps.bitmaps.set(index, bitmap.map(), 0).map_err(failed)?;
        self.maps.flights.set(index, &flights, 0).map_err(failed)?;
        let record = Record { index, regime: disk.regime, chunk_bytes, phase: Phase::Idle(1), base: None };
        record.save(&self.places.record(disk.diskseq))?;
        let (regime, tags, queues) = (disk.regime.number(), disk.tags, disk.queues);
        self.maps.enter(index, DiskEntry { diskseq: disk.diskseq, regime, tags, queues })
    }

    /// Disks that were detached from the machine never come back under their number. Pins without an entry are left from a crash.
    fn forget_the_gone(&mut self) -> Result<(), TrackingError> {
        let present: BTreeSet<u64> = disk::present()?.into_iter().map(|(_, diskseq)| diskseq).collect();
        let tracked: BTreeSet<u64> = self.maps.tracked()?.into_iter().map(|(entry, _)| entry.diskseq).collect();
        for diskseq in tracked.difference(&present) {
            self.forget(*diskseq)?;
            self.places.forget_gone_disk(*diskseq)?;
        }
        let without_entry = self.places.pinned_disks().into_iter().filter(|diskseq| !tracked.contains(diskseq));
        without_entry.into_iter().try_for_each(|diskseq| self.places.forget_disk(diskseq))
    }

    /// Stops tracking a disk. When it was the last, nothing of the tracker is left.
    pub fn remove(mut self, device: &Path) -> Result<(), TrackingError> {
        let _held = self.places.lock()?;
        let (diskseq, _) = self.find(device)?;
        let _epoch = self.places.lock_disk(diskseq)?;
        self.forget(diskseq)?;
        if self.maps.tracked()?.is_empty() { remove_pins(&self.places.pins()) } else { Ok(()) }
    }

    fn forget(&mut self, diskseq: u64) -> Result<(), TrackingError> {
        if let Some(index) = self.maps.index(diskseq)? {
            self.maps.leave(index)?;
            self.forget_bios(index);
        }
        self.places.forget_disk(diskseq)
    }

    /// The place may be another disk's soon, and should not inherit bios. If one stays, the heir carries too much, never too little.
    fn forget_bios(&mut self, index: u32) {
        let entries = self.maps.bios.iter().take(MAX_BIOS).filter_map(Result::ok);
        let of_disk: Vec<u64> = entries.filter(|(_, [place, ..])| *place == u64::from(index)).map(|(bio, _)| bio).collect();
        for bio in of_disk {
            let _may_have_ended = self.maps.bios.remove(&bio);
        }
    }

    /// All tracked disks, as the kernel numbers them.
    pub fn list(&self) -> Result<Vec<Tracked>, TrackingError> {
        let names: BTreeMap<u64, String> = disk::present()?.into_iter().map(|(name, diskseq)| (diskseq, name)).collect();
        let mut tracked = self.maps.tracked()?;
        tracked.sort_unstable_by_key(|(entry, _)| entry.diskseq);
        let describe = |(DiskEntry { diskseq, .. }, index)| self.describe(diskseq, index, names.get(&diskseq).cloned());
        tracked.into_iter().map(describe).collect()
    }

    fn describe(&self, diskseq: u64, index: u32, name: Option<String>) -> Result<Tracked, TrackingError> {
        let path = self.places.record(diskseq);
        let record = Record::load(&path)?.ok_or(TrackingError::Damaged { path, why: "it is missing" })?;
        let marked = self.current(diskseq, index)?;
        let marks = marked.as_ref().map(|bitmap| bitmap.marks(u64::MAX)).unwrap_or_default();
        Ok(Tracked {
            name,
            diskseq,
            regime: record.regime,
            chunk_bytes: record.chunk_bytes,
            written_bytes: marks.written.bytes(),
            discarded_bytes: marks.discarded.bytes(),
            flags: marked.map(|bitmap| bitmap.flags()).unwrap_or_default(),
            has_base: record.base.is_some(),
        })
    }

    /// The tracked disk that `device` is, and its place.
    pub(super) fn find(&self, device: &Path) -> Result<(u64, u32), TrackingError> {
        let disk = Disk::look(device)?;
        let index = self.maps.index(disk.diskseq)?;
        Ok((disk.diskseq, index.ok_or_else(|| TrackingError::NotTracked { path: device.to_path_buf() })?))
    }

    /// The map in which the programs mark a disk now.
    pub(super) fn current(&self, diskseq: u64, index: u32) -> Result<Option<Bitmap>, TrackingError> {
        let number = self.maps.bitmap_number(index)?;
        for generation in self.places.pinned_generations(diskseq) {
            let bitmap = Bitmap::open(&self.places.bitmap_pin(diskseq, generation))?;
            if bitmap.number()? == number {
                return Ok(Some(bitmap));
            }
        }
        Ok(None)
    }
}

/// Requests are always watched, bios where a disk needs it.
fn repair(places: &Places, maps: &mut Maps) -> Result<(), TrackingError> {
    let needs_bios = maps.tracked()?.iter().any(|(entry, _)| entry.regime == Regime::Bios.number());
    attach_regime(&places.pins(), maps, Regime::Requests)?;
    if needs_bios { attach_regime(&places.pins(), maps, Regime::Bios) } else { Ok(()) }
}

/// A slot for each tag of each hardware queue; the kernel makes no empty map.
fn make_flights(pin: &Path, disk: &Disk) -> Result<MapData, TrackingError> {
    /// More than any driver has: 4096 queues of 4096 tags take half a GiB.
    const MOST_SLOTS: u32 = 1 << 24;
    let failed = |error| TrackingError::bpf("make the slots", pin, error);
    let slots = disk.tags.saturating_mul(disk.queues).clamp(1, MOST_SLOTS);
    let map = Array::<MapData, [u64; Flight::WORDS]>::create(slots, SHARED_INNER).map_err(failed)?;
    map.pin(pin).map_err(|error| TrackingError::bpf("pin the slots", pin, error))?;
    MapData::from_pin(pin).map_err(failed)
}

/// The kernel's random name for this life of the machine.
pub(super) fn boot() -> Result<[u8; 16], TrackingError> {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    let text = fs::read_to_string(path).map_err(|error| TrackingError::os("read", path, error))?;
    let digits: String = text.trim().chars().filter(|c| *c != '-').collect();
    let number = u128::from_str_radix(&digits, 16);
    number.map(u128::to_be_bytes).map_err(|_| TrackingError::Damaged { path: path.to_path_buf(), why: "it is no identifier" })
}

/// Makes what has been written stable, as far as the disk can: what has ended must not enter it after the cut.
pub(super) fn flush(device: &Path) -> Result<(), TrackingError> {
    let failed = |error| TrackingError::os("flush", device, error);
    File::open(device).map_err(failed)?.sync_all().map_err(failed)
}

#[cfg(any(test, feature = "testkit"))]
fn kernel_faults(settings: &Settings) -> u32 {
    settings.faults.in_kernel
}

#[cfg(not(any(test, feature = "testkit")))]
fn kernel_faults(_settings: &Settings) -> u32 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_grow_with_the_disk_so_that_its_bitmaps_do_not() {
        for (size_bytes, expected) in [(0, 16), (1 << 40, 16), ((1 << 40) + 1, 32), (16 << 40, 256), (u64::MAX, 16 << 10)] {
            assert_eq!(usual_chunk(size_bytes), expected << 10, "{size_bytes}");
        }
    }
}
