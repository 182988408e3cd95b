//! Thin pools: what changed between two snapshots of a volume stands in the pool's metadata, to the block.
//!
//! ```text
//!   dmsetup table ─► pool, device ─► hold a snapshot of the metadata ─► thin_dump: this device, and that of the newest point
//!                                                                      └ thin_delta: in what they differ
//! ```
//! A snapshot can be counted from as long as it is there and nobody has written to it: the name that a point keeps says when it was
//! made and all that it maps, and both must be the same still (`thin/dump.rs` says why that is enough).

mod cut_name;
mod delta;
mod device;
mod dump;
mod element;
mod error;
mod hold;
mod program;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::Path;

use self::cut_name::CutName;
use self::delta::{Delta, Sides};
use self::device::{Pool, ThinDevice};
use self::dump::{Dump, DumpedDevice};
use self::error::ThinError;
use self::hold::Hold;
use self::program::{Program, Runner};
use super::source::{Answer, ChangeSource, SourceError};
use crate::base::cancel::Cancel;
use crate::base::clock::Clock;
use crate::base::extent::{Extent, ExtentSet};
use crate::repository::format::changes::Rung;

/// What a thin pool says of a device, and of what the newest point was made from.
#[derive(Debug)]
pub struct ThinChanges {
    base: Option<String>,
    cut_name: Result<String, String>,
    answer: Answer,
}

impl ThinChanges {
    /// Asks the pool of `device`, of which `size_bytes` are backed up. `base` is what the newest point calls its own cut.
    pub fn ask(
        device: &Path,
        size_bytes: u64,
        base: Option<&str>,
        clock: &dyn Clock,
        cancel: &Cancel,
    ) -> Result<Self, SourceError> {
        let asked = Self::known(&Runner { clock, cancel }, device, size_bytes, base);
        asked.or_else(|error| match error {
            ThinError::NotThin { .. } => Err(SourceError::Refused(error.to_string())),
            ThinError::Stopped => Err(SourceError::Stopped),
            _ => {
                let (base, reason) = (base.map(str::to_owned), error.to_string());
                Ok(Self { base, cut_name: Err(reason.clone()), answer: Answer::Unknown { reason } })
            }
        })
    }

    /// Why the next backup will not be able to count from this one, if so.
    #[must_use]
    pub fn why_nameless(&self) -> Option<&str> {
        self.cut_name.as_ref().err().map(String::as_str)
    }

    fn known(runner: &Runner<'_>, path: &Path, size_bytes: u64, base: Option<&str>) -> Result<Self, ThinError> {
        let device = ThinDevice::look(runner, path)?;
        device.pool.is_well(runner)?;
        // What waits in the page cache to be written is not mapped yet.
        let synced = File::open(path).and_then(|file| file.sync_all());
        synced.map_err(|source| ThinError::Os { act: "sync", path: path.to_path_buf(), source })?;
        let hold = Hold::take(runner, &device.pool)?;
        let metadata = Metadata { runner, pool: &device.pool };
        let now = metadata.dump(device.id)?.ok_or_else(|| Program::ThinDump.strange(format!("no device {}", device.id)))?;
        let cut_name = CutName::of(&device, &now).map(|name| name.to_string());
        let answer = base.map_or_else(|| Ok(nothing_to_count_from()), |base| metadata.changes(base, &device, &now, size_bytes));
        hold.release()?;
        let answer = answer.or_else(|error| match error {
            ThinError::Stopped => Err(error),
            _ => Ok(Answer::Unknown { reason: error.to_string() }),
        })?;
        Ok(Self { base: base.map(str::to_owned), cut_name, answer })
    }
}

fn nothing_to_count_from() -> Answer {
    Answer::Unknown { reason: "the newest point was not made from a thin snapshot that can be counted from".to_owned() }
}

/// A held snapshot of the metadata of a pool.
#[derive(Debug)]
struct Metadata<'a> {
    runner: &'a Runner<'a>,
    pool: &'a Pool,
}

impl Metadata<'_> {
    fn dump(&self, id: u64) -> Result<Option<DumpedDevice>, ThinError> {
        let (mut dump, id) = (Dump::of(id), id.to_string());
        let arguments = ["--metadata-snap", "--dev-id", &id, "--format", "xml"].map(str::as_ref);
        self.runner
            .lines(Program::ThinDump, &[&arguments, &[self.pool.metadata.as_os_str()][..]].concat(), |line| dump.line(line))?;
        dump.end()
    }

    fn changes(&self, base: &str, device: &ThinDevice, now: &DumpedDevice, size_bytes: u64) -> Result<Answer, ThinError> {
        let unreadable = || ThinError::Base(format!("the newest point calls its cut {base:?}, which cannot be read"));
        let base = CutName::parse(base).ok_or_else(unreadable)?;
        let before = self.dump(base.id)?;
        base.check(before.as_ref(), device)?;
        let Some(before) = before else { return Ok(nothing_to_count_from()) };
        if device.has_external_origin {
            return Err(ThinError::Base("what the device does not hold is read from outside of the pool".to_owned()));
        }
        let ranges = self.delta(&before, now)?.intersection(&Extent::new(0, size_bytes).into());
        let (pool, old, new) = (&self.pool.name, before.id, now.id);
        let proof = format!("thin devices {old} and {new} of pool {pool} share the rest, and {old} was never written to");
        Ok(Answer::Exact { ranges, proof })
    }

    fn delta(&self, before: &DumpedDevice, now: &DumpedDevice) -> Result<ExtentSet, ThinError> {
        let block_bytes = self.pool.block_bytes;
        let sides = Sides {
            left: before.id,
            right: now.id,
            left_blocks: before.mapped_blocks,
            right_blocks: now.mapped_blocks,
            block_bytes,
        };
        let (mut delta, left, right) = (Delta::between(sides), before.id.to_string(), now.id.to_string());
        let arguments = ["--metadata-snap", "--snap1", &left, "--snap2", &right].map(str::as_ref);
        let arguments = [&arguments, &[self.pool.metadata.as_os_str()][..]].concat();
        self.runner.lines(Program::ThinDelta, &arguments, |line| delta.line(line))?;
        delta.end()
    }
}

impl ChangeSource for ThinChanges {
    fn rung(&self) -> Rung {
        Rung::ThinMetadata
    }

    fn counts_from(&self) -> Option<&str> {
        // Without a name nothing is counted, and the answer says so.
        self.base.as_deref()
    }

    fn cut_name(&self) -> Option<&str> {
        self.cut_name.as_deref().ok()
    }

    fn changes(&mut self) -> Result<Answer, SourceError> {
        Ok(self.answer.clone())
    }
}
