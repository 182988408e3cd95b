//! What a cut is called that is a thin snapshot: enough to know it again, and to know that it is still what it was.

use std::fmt;

use super::device::ThinDevice;
use super::dump::DumpedDevice;
use super::error::ThinError;

const BEGINNING: &str = "thin-snapshot-1";

/// A snapshot of a pool, beyond doubt. Numbers are given to other snapshots once they are free, but the time at which one was made
/// comes once, and what an unwritten one maps never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CutName {
    pub(super) pool: String,
    pub(super) id: u64,
    pub(super) transaction: u64,
    pub(super) made: u64,
    pub(super) mapping: String,
}

impl CutName {
    /// What a later backup can count from, or why it cannot.
    pub(super) fn of(device: &ThinDevice, dumped: &DumpedDevice) -> Result<Self, String> {
        let pool = &device.pool;
        let Some(uuid) = &pool.uuid else {
            let name = &pool.name;
            return Err(format!(
                "the pool {name} has no UUID, so another could pass for it; 'dmsetup rename {name} --setuuid ...' gives it one"
            ));
        };
        if device.has_external_origin {
            return Err("what it does not hold is read from a device outside of the pool".to_owned());
        }
        if !dumped.is_unwritten {
            return Err(
                "it is no snapshot, or was written to after it was made; back up a snapshot that nobody writes to".to_owned()
            );
        }
        let DumpedDevice { id, transaction, made, mapping, .. } = dumped.clone();
        Ok(Self { pool: uuid.clone(), id, transaction, made, mapping })
    }

    /// Reads back what [`fmt::Display`] wrote.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        (words.next()? == BEGINNING).then_some(())?;
        let mut field = |name: &str| words.next()?.strip_prefix(name)?.strip_prefix('=');
        let (id, transaction, made) =
            (field("id")?.parse().ok()?, field("transaction")?.parse().ok()?, field("made")?.parse().ok()?);
        let (mapping, pool) = (field("mapping")?.to_owned(), words.collect::<Vec<_>>().join(" ").strip_prefix("pool=")?.to_owned());
        Some(Self { pool, id, transaction, made, mapping })
    }

    /// Fails unless the device that is there now is this very cut, and as it was.
    pub(super) fn check(&self, now: Option<&DumpedDevice>, device: &ThinDevice) -> Result<(), ThinError> {
        let (id, lost) = (self.id, |reason: String| Err(ThinError::Base(reason)));
        if device.pool.uuid.as_deref() != Some(self.pool.as_str()) {
            return lost(format!("the newest point was made from another pool, {}", self.pool));
        }
        let Some(now) = now else {
            return lost(format!(
                "the snapshot that the newest point was made from, thin device {id}, was deleted; keep it for the next backup"
            ));
        };
        if (now.transaction, now.made) != (self.transaction, self.made) {
            let made = "was deleted, and its number given to another; keep it for the next backup";
            return lost(format!("the snapshot that the newest point was made from, thin device {id}, {made}"));
        }
        if !now.is_unwritten || now.mapping != self.mapping {
            let written = "was written to since; make its device read-only";
            return lost(format!("the snapshot that the newest point was made from, thin device {id}, {written}"));
        }
        Ok(())
    }
}

impl fmt::Display for CutName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pool, id, transaction, made, mapping } = self;
        // The pool's name comes last: it may hold anything.
        write!(f, "{BEGINNING} id={id} transaction={transaction} made={made} mapping={mapping} pool={pool}")
    }
}
