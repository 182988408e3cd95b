//! A look at a few blocks: whether the inodes of a group lie there.

use super::super::record::{BODY, Record};
use super::super::volume::Volume;
use super::super::{extents, flags, pointers};
use super::entries::Entries;
use super::make_sense;
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::fields::Fields;

/// Blocks of a table that are looked at: at its beginning, where most inodes are, and as many elsewhere.
const PROBED_BLOCKS: u64 = 8;

/// What speaks for a table, and against it.
#[derive(Debug, Default)]
struct Votes {
    /// Inodes whose number fits: by their checksum, or by the first block of a directory.
    fitting: u64,
    /// Those whose number does not fit.
    misfits: u64,
    /// Inodes that make sense, whatever their number.
    likely: u64,
    /// Bytes that are no inode.
    noise: u64,
}

/// Whether a table lies somewhere. Later ones are surer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Likelihood {
    /// Something else does.
    No,
    /// Nothing lies there, as in a table that was never used.
    Open,
    /// Inodes do; of which group, they do not say.
    Likely,
    /// Inodes of this group do.
    Proven,
}

/// Whether inodes of this group lie where its table is said to be.
pub(super) fn probe(volume: &Volume, group: u32, table: u64) -> Likelihood {
    let superblock = &volume.superblock;
    let per_block = superblock.block_bytes / u32::from(superblock.inode_bytes);
    let first = group.saturating_mul(superblock.inodes_per_group).saturating_add(1);
    let mut votes = Votes::default();
    let blocks = superblock.inode_table_blocks();
    let elsewhere = (1..=PROBED_BLOCKS).map(|part| part * blocks / (PROBED_BLOCKS + 1)).filter(|block| *block >= PROBED_BLOCKS);
    for block in (0..PROBED_BLOCKS.min(blocks)).chain(elsewhere) {
        let Ok(bytes) = volume.block(Object::Group(group), table.saturating_add(block)) else { continue };
        let numbers = (first.saturating_add(block as u32 * per_block)..).zip(bytes.chunks(usize::from(superblock.inode_bytes)));
        for (number, bytes) in numbers {
            // What cannot be looked at says nothing.
            let _nothing_said = votes.hear(volume, number, bytes);
        }
    }
    votes.verdict()
}

impl Votes {
    fn hear(&mut self, volume: &Volume, number: u32, bytes: &[u8]) -> Result<(), FilesystemError> {
        let record = Record::new(number, bytes, 0)?;
        if record.is_blank() {
            return Ok(());
        }
        if volume.superblock.has_inode_checksums() {
            let counts = if record.verify(&volume.superblock).is_ok() { &mut self.fitting } else { &mut self.noise };
            *counts += 1;
            return Ok(());
        }
        if record.links()? == 0 {
            return Ok(());
        }
        if record.verify(&volume.superblock).and_then(|()| make_sense(&record, volume)).is_err() {
            self.noise += 1;
            return Ok(());
        }
        match own_number(volume, &record)? {
            Some(own) if own == u64::from(number) => self.fitting += 1,
            Some(_) => self.misfits += 1,
            None => self.likely += 1,
        }
        Ok(())
    }

    /// Blocks that were overwritten do not speak against the table that they lie in.
    fn verdict(&self) -> Likelihood {
        match self {
            Self { fitting, misfits, .. } if fitting > misfits => Likelihood::Proven,
            Self { misfits: 1.., .. } => Likelihood::No,
            Self { likely: 1.., .. } => Likelihood::Likely,
            Self { noise: 1.., .. } => Likelihood::No,
            _ => Likelihood::Open,
        }
    }
}

/// The number that a directory says it has.
fn own_number(volume: &Volume, record: &Record<'_>) -> Result<Option<u64>, FilesystemError> {
    if record.format()? != flags::DIRECTORY || record.has_flag(flags::INLINE_DATA)? {
        return Ok(None);
    }
    let root = Fields::new(record.body()?, record.fields.object(), record.at + BODY as u64);
    let strict = &mut |_, error| Err(error);
    let runs = match record.has_flag(flags::EXTENTS)? {
        true => extents::find(volume, 0, &root, &(0..1), strict)?,
        false => pointers::find(volume, &root, &(0..1), strict)?,
    };
    let Some(run) = runs.first() else { return Ok(None) };
    let bytes = volume.block(record.fields.object(), run.physical)?;
    Ok(Entries::read(&bytes, 0..bytes.len(), &volume.superblock).own.map(|own| own.0))
}
