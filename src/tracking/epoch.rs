//! An epoch: exchange the maps, carry, flush; the caller cuts; collect the marks and judge.
//!
//! ```text
//!      R exchange   C carry   F flush        T the caller's cut        A answer
//! ────────┼───────────┼─────────┼───────────────────┼──────────────────────┼─────►
//!  old generation │ new generation: kept whole, for the next delta begins here
//!  delta = old ∪ new as it is at A
//! ```
//! A write that is in this cut and not in the one before took effect between the two. If it was issued after the R before, it is in old
//! or new. If it was issued earlier, it was on its way at the C before and carried, or it had ended and F made it part of that cut.
//!
//! Before R the record says "open". A process that dies from there on leaves both maps pinned, and whoever comes next unites them:
//! the delta since the last finished cut only grows. The old map goes when the answer is on disk.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::bitmap::{Bitmap, Grid, Marks};
use super::carry::carry;
use super::disk::Disk;
use super::error::TrackingError;
use super::layout::Flags;
use super::places::remove_file;
use super::programs::attachments;
use super::record::{Base, Phase, Record};
use super::token::ChainToken;
use super::tracker::{Tracker, boot, flush};
use super::verdict::{Doubt, Seen, judge};
use super::witness::{self, Counts, Witness};
use crate::base::clock::{Clock, SystemClock};
use crate::base::extent::Extent;

/// While the counts of the tracker and the kernel do not agree, others get so much time to finish counting.
const PAUSE: Duration = Duration::from_millis(1);

/// What changed between two cuts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeAnswer {
    /// These chunks, and no others.
    Exact(Marks),
    /// It is not known; compare everything.
    Unknown {
        /// Why.
        reason: Doubt,
        /// What was marked all the same: where to look first, never a list to rely on.
        hint: Marks,
        /// The answer before this one may have been short, too: what was made from it should be verified.
        doubts_previous: bool,
    },
}

/// The end of an epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// What changed since the cut whose token was given.
    pub answer: ChangeAnswer,
    /// Names this cut for the next epoch; `None` when nothing can be proven from it.
    pub token: Option<ChainToken>,
    /// Size of the disk.
    pub size_bytes: u64,
    /// Size of a chunk.
    pub chunk_bytes: u32,
}

/// An open epoch. Take the cut, then call [`Epoch::end`]. If it is dropped instead, the marks go on to the next epoch.
#[derive(Debug)]
pub struct Epoch<'a> {
    tracker: &'a Tracker,
    device: PathBuf,
    diskseq: u64,
    presented: Option<ChainToken>,
    record: Record,
    old: Bitmap,
    new: Bitmap,
    size_at_begin: u64,
    is_carried: bool,
    _held: File,
}

impl Tracker {
    /// Opens an epoch of `device`: from when this returns, the caller may cut. `token` is that of the last cut that has a backup.
    pub fn begin_epoch(&mut self, device: &Path, token: Option<ChainToken>) -> Result<Epoch<'_>, TrackingError> {
        let (diskseq, index) = self.find(device)?;
        let held = self.places.lock_disk(diskseq)?;
        let (mut record, old) = self.recover(device, diskseq, index)?;
        let disk = Disk::look(device)?;
        let generation = old.generation();
        record.phase = Phase::Open(generation);
        record.save(&self.places.record(diskseq))?;
        let new = self.exchange(&disk, &record, &old)?;
        let flights = self.places.flights_pin(diskseq);
        let is_carried = self.skips_carry() || carry(&self.maps, &flights, index, disk.regime, generation, &new)?;
        flush(device)?;
        Ok(Epoch {
            tracker: self,
            device: device.to_path_buf(),
            diskseq,
            presented: token,
            record,
            old,
            new,
            size_at_begin: disk.size_bytes,
            is_carried,
            _held: held,
        })
    }

    /// On return no program marks the old map any more: the kernel waits for those that run while it exchanges a map in a map.
    fn exchange(&mut self, disk: &Disk, record: &Record, old: &Bitmap) -> Result<Bitmap, TrackingError> {
        let generation = old.generation() + 1;
        let pin = self.places.bitmap_pin(disk.diskseq, generation);
        let grid = Grid { size_bytes: disk.size_bytes, chunk_bytes: record.chunk_bytes };
        let new = Bitmap::create(&pin, generation, grid)?;
        let set = self.maps.bitmaps.set(record.index, new.map(), 0);
        set.map_err(|error| TrackingError::bpf("exchange the bitmap for", &pin, error))?;
        if old.flags().contains(Flags::FAILED) {
            new.raise(Flags::FAILED_BEFORE);
        }
        Ok(new)
    }

    /// Brings a disk into a state in which one generation holds everything since its last finished cut.
    fn recover(&self, device: &Path, diskseq: u64, index: u32) -> Result<(Record, Bitmap), TrackingError> {
        let path = self.places.record(diskseq);
        let not_tracked = || TrackingError::NotTracked { path: device.to_path_buf() };
        let mut record = Record::load(&path)?.ok_or_else(not_tracked)?;
        let current =
            self.current(diskseq, index)?.ok_or(TrackingError::Damaged { path: path.clone(), why: "its bitmap is gone" })?;
        let generation = current.generation();
        match record.phase {
            Phase::Open(old) | Phase::Idle(old) if old == generation => {}
            // The maps were exchanged, but no answer was given.
            Phase::Open(old) if old + 1 == generation => match Bitmap::open(&self.places.bitmap_pin(diskseq, old)) {
                Ok(old) => current.merge(&old),
                Err(_) => record.base = None,
            },
            // Somebody else has been at work.
            Phase::Open(_) | Phase::Idle(_) => record.base = None,
        }
        record.phase = Phase::Idle(generation);
        record.save(&path)?;
        self.unpin_others(diskseq, generation)?;
        Ok((record, current))
    }

    fn unpin_others(&self, diskseq: u64, generation: u64) -> Result<(), TrackingError> {
        let others = self.places.pinned_generations(diskseq).into_iter().filter(|other| *other != generation);
        others.into_iter().try_for_each(|other| remove_file(&self.places.bitmap_pin(diskseq, other)))
    }

    /// Compares the counts until they agree with those of the last cut, or it is sure that they do not.
    fn witness(&self, disk: &Disk, record: &Record) -> Witness {
        let Some(counter) = disk.counter() else { return Witness::Silent };
        let clock = SystemClock::new();
        let counts = Counts {
            kernel: || counter.sectors(),
            ours: || self.maps.counted_sectors(record.index).ok(),
            pause: || clock.sleep(PAUSE),
        };
        counts.compare(|now| record.base.as_ref().is_some_and(|base| witness::holds(disk.regime, base.witness, now)))
    }

    #[cfg(any(test, feature = "testkit"))]
    fn skips_carry(&self) -> bool {
        self.faults.no_carry
    }

    #[cfg(not(any(test, feature = "testkit")))]
    fn skips_carry(&self) -> bool {
        false
    }
}

impl Epoch<'_> {
    /// Answers, once the cut is known to be past. A failure leaves the epoch open, as if it had been dropped.
    pub fn end(self) -> Result<Cut, TrackingError> {
        let disk = Disk::look(&self.device)?;
        if disk.diskseq != self.diskseq {
            return Err(TrackingError::NotTracked { path: self.device.clone() });
        }
        let seen = self.look(&disk)?;
        let hint = self.marks(disk.size_bytes);
        let verdict = judge(self.presented.as_ref(), self.record.base.as_ref(), &seen);
        let answer = match verdict {
            Ok(()) => ChangeAnswer::Exact(self.with_tail(hint, disk.size_bytes)),
            Err(reason) => ChangeAnswer::Unknown { reason, hint, doubts_previous: seen.flags.contains(Flags::HEALED) },
        };
        let base = self.next_base(seen, &answer);
        let token = base.as_ref().map(|base| base.token);
        self.finish(base)?;
        Ok(Cut { answer, token, size_bytes: disk.size_bytes, chunk_bytes: self.record.chunk_bytes })
    }

    fn look(&self, disk: &Disk) -> Result<Seen, TrackingError> {
        let tracker = self.tracker;
        let here = ChainToken {
            boot: boot()?,
            tracker: tracker.maps.identity()?,
            diskseq: disk.diskseq,
            generation: self.new.generation(),
            size_bytes: disk.size_bytes,
            chunk_bytes: self.record.chunk_bytes,
            digest: [0; 32],
        };
        Ok(Seen {
            here,
            size_at_begin: self.size_at_begin,
            regime: disk.regime,
            flags: self.old.flags().union(self.new.flags()),
            programs: attachments(&tracker.places.pins(), disk.regime),
            witness: tracker.witness(disk, &self.record),
            is_carried: self.is_carried,
        })
    }

    /// Old and new together.
    fn marks(&self, size_bytes: u64) -> Marks {
        let old = self.old.marks(size_bytes);
        if self.skips_overlap() {
            return old;
        }
        let new = self.new.marks(size_bytes);
        Marks { written: old.written.union(&new.written), discarded: old.discarded.union(&new.discarded) }
    }

    /// What the disk has grown by holds what nobody knows.
    fn with_tail(&self, mut marks: Marks, size_bytes: u64) -> Marks {
        let before = self.record.base.as_ref().map_or(0, |base| base.token.size_bytes);
        marks.written.insert(Extent::between(before, size_bytes));
        marks
    }

    /// `None` when nothing could be proven from this cut.
    fn next_base(&self, seen: Seen, answer: &ChangeAnswer) -> Option<Base> {
        let is_sound = seen.is_carried && seen.here.size_bytes == seen.size_at_begin && seen.programs.iter().all(Option::is_some);
        let token = ChainToken { digest: digest(answer), ..seen.here };
        is_sound.then_some(Base { token, programs: seen.programs, witness: seen.witness })
    }

    /// The old map goes last, when the record does not need it any more.
    fn finish(&self, base: Option<Base>) -> Result<(), TrackingError> {
        let record = Record { phase: Phase::Idle(self.new.generation()), base, ..self.record.clone() };
        record.save(&self.tracker.places.record(self.diskseq))?;
        self.tracker.unpin_others(self.diskseq, self.new.generation())
    }

    #[cfg(any(test, feature = "testkit"))]
    fn skips_overlap(&self) -> bool {
        self.tracker.faults.no_overlap
    }

    #[cfg(not(any(test, feature = "testkit")))]
    fn skips_overlap(&self) -> bool {
        false
    }
}

/// Binds a token to the answer that it came with.
fn digest(answer: &ChangeAnswer) -> [u8; 32] {
    let (is_exact, marks) = match answer {
        ChangeAnswer::Exact(marks) => (true, marks),
        ChangeAnswer::Unknown { hint, .. } => (false, hint),
    };
    let mut hasher = blake3::Hasher::new_derive_key("icecore v1 change answer");
    hasher.update(&[u8::from(is_exact)]);
    for set in [&marks.written, &marks.discarded] {
        hasher.update(&(set.count() as u64).to_le_bytes());
        for extent in set {
            hasher.update(&extent.offset.to_le_bytes()).update(&extent.length.to_le_bytes());
        }
    }
    *hasher.finalize().as_bytes()
}
