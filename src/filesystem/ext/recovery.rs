//! From the source to the view: the journal is found, replayed in memory, and everything is read again through it.

use std::sync::Arc;

use super::checksum::inode_seed;
use super::features::compat;
use super::journal::{FastCommits, JournalPlace, Replay, replay};
use super::record::{BODY, BODY_BYTES, Record};
use super::runs::Run;
use super::superblock::{PLACE, Superblock};
use super::volume::Volume;
use super::{extents, flags, pointers};
use crate::base::io::ReadAt;
use crate::filesystem::cache::METADATA_CACHE_BYTES;
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::fields::Fields;
use crate::filesystem::overlay::Overlaid;
use crate::filesystem::view::View;

/// The raw volume is asked for little once the view stands.
pub(super) const RAW_CACHE_BYTES: u64 = 1 << 20;
/// Pieces that a journal may lie in: one of 4 GiB in blocks of 4 KiB, no two of them together.
const MAX_RUNS: usize = 1 << 20;

/// A volume in the state that its view names.
#[derive(Debug)]
pub(super) struct Recovered {
    /// As it lies on disk.
    pub(super) raw: Volume,
    /// After replay.
    pub(super) volume: Volume,
    /// What replay put in front of the source.
    pub(super) overlaid: Option<Arc<Overlaid>>,
    pub(super) fast: FastCommits,
    pub(super) view: View,
    /// Where the journal lies: first block and count.
    pub(super) journal: Vec<(u64, u64)>,
    /// True when the kernel noted an error in the journal.
    pub(super) error_recorded: bool,
}

/// Whether the journal holds what is not in place yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// The superblock says no.
    No,
    /// The superblock says yes.
    Yes,
    /// The superblock that knew is lost. The journal's own superblock is asked.
    Unknown,
}

impl Need {
    /// What a first superblock says.
    pub(super) fn of(superblock: &Superblock) -> Self {
        if superblock.needs_recovery() { Self::Yes } else { Self::No }
    }
}

/// How a source becomes a volume, with a cache of so many bytes: raw at first, then once more through the journal.
pub(super) type Open<'a> = &'a dyn Fn(Arc<dyn ReadAt>, u64) -> Result<Volume, FilesystemError>;

/// Opens a volume and replays its journal.
pub(super) fn recover(source: &Arc<dyn ReadAt>) -> Result<Recovered, FilesystemError> {
    let raw = Volume::open(Arc::clone(source), RAW_CACHE_BYTES)?;
    let need = Need::of(&raw.superblock);
    recover_from(raw, source, need, &Volume::open)
}

/// Replays the journal of a raw volume, and opens it once more through that.
pub(super) fn recover_from(
    raw: Volume,
    source: &Arc<dyn ReadAt>,
    need: Need,
    open: Open<'_>,
) -> Result<Recovered, FilesystemError> {
    let journal = journal_runs(&raw);
    let replayed = match &journal {
        Ok(runs) if !runs.is_empty() => {
            replay(source, &JournalPlace::of(&raw.superblock, runs.clone(), need != Need::No)).map_err(|error| error.to_string())
        }
        Ok(_) => Err("it has no journal".to_owned()),
        Err(reason) => Err(reason.clone()),
    };
    let has_journal = !matches!(&journal, Ok(runs) if runs.is_empty());
    let journal = journal.unwrap_or_default();
    match replayed {
        Ok(replay) => through(raw, source, replay, journal, open),
        Err(reason) => without(raw, source, journal, stale(need, has_journal, &reason), open),
    }
}

/// The view when the journal cannot be read. That matters only if it is needed.
fn stale(need: Need, has_journal: bool, reason: &str) -> View {
    match need {
        Need::Yes => View::Stale { reason: format!("the journal is needed, but {reason}") },
        Need::Unknown if has_journal => View::Stale { reason: format!("nobody knows whether the journal is needed, for {reason}") },
        Need::No | Need::Unknown => View::Clean,
    }
}

fn without(
    raw: Volume,
    source: &Arc<dyn ReadAt>,
    journal: Vec<(u64, u64)>,
    view: View,
    open: Open<'_>,
) -> Result<Recovered, FilesystemError> {
    let volume = open(Arc::clone(source), METADATA_CACHE_BYTES)?;
    Ok(Recovered { raw, volume, overlaid: None, fast: FastCommits::default(), view, journal, error_recorded: false })
}

impl JournalPlace {
    /// The journal that lies in these blocks.
    pub(super) fn of(superblock: &Superblock, runs: Vec<(u64, u64)>, needs_recovery: bool) -> Self {
        Self {
            runs,
            block_bytes: superblock.block_bytes,
            blocks_in_filesystem: superblock.blocks,
            needs_recovery,
            superblock_feature_fast_commit: superblock.features.has_compat(compat::FAST_COMMIT),
        }
    }
}

fn through(
    raw: Volume,
    source: &Arc<dyn ReadAt>,
    replay: Replay,
    journal: Vec<(u64, u64)>,
    open: Open<'_>,
) -> Result<Recovered, FilesystemError> {
    let Replay { overlay, transactions, incomplete, fast, error_recorded } = replay;
    let changes = overlay.count() as u64;
    let view = match incomplete {
        Some(reason) => View::Stale { reason },
        None if transactions == 0 && changes == 0 && fast.is_empty() => View::Clean,
        None => View::Replayed { transactions, changes },
    };
    let overlaid = Arc::new(Overlaid::new(Arc::clone(source), overlay));
    // Replay may have brought another superblock and other descriptors.
    let volume = open(Arc::clone(&overlaid) as Arc<dyn ReadAt>, METADATA_CACHE_BYTES)?;
    Ok(Recovered { raw, volume, overlaid: Some(overlaid), fast, view, journal, error_recorded })
}

/// Where the journal lies; empty when there is none. An error says why that cannot be told.
fn journal_runs(raw: &Volume) -> Result<Vec<(u64, u64)>, String> {
    let superblock = &raw.superblock;
    if !superblock.features.has_compat(compat::HAS_JOURNAL) {
        return Ok(Vec::new());
    }
    match (superblock.journal_inode, superblock.journal_device) {
        (0, 0) => Ok(Vec::new()),
        (0, _) => Err("the journal is on another device".to_owned()),
        (number, _) => by_inode(raw, number).or_else(|error| match &superblock.journal_backup {
            Some(backup) => by_backup(raw, number, backup).map_err(|second| format!("{error}; its copy: {second}")),
            None => Err(error.to_string()),
        }),
    }
}

fn by_inode(raw: &Volume, number: u32) -> Result<Vec<(u64, u64)>, FilesystemError> {
    let place = raw.inode_place(number)?;
    let mut bytes = vec![0; usize::from(raw.superblock.inode_bytes)];
    let record = Record::new(number, &bytes, place.offset)?;
    raw.read(record.fields.object(), place.offset, &mut bytes)?;
    let record = Record::new(number, &bytes, place.offset)?;
    record.verify(&raw.superblock)?;
    if record.links()? == 0 || record.format()? != flags::REGULAR {
        return Err(record.fields.corrupt("it is no journal"));
    }
    let root = Fields::new(record.body()?, Object::Journal, place.offset + BODY as u64);
    let seed = record.has_flag(flags::EXTENTS)?.then(|| record.seed(&raw.superblock)).transpose()?;
    whole(raw, &root, seed, record.size(&raw.superblock)?)
}

/// The superblock keeps the journal's map, and its size in two words after that.
fn by_backup(raw: &Volume, number: u32, backup: &[u8; 68]) -> Result<Vec<(u64, u64)>, FilesystemError> {
    let (body, sizes) = backup.split_at(BODY_BYTES);
    let fields = Fields::new(sizes, Object::Journal, 0);
    let size = u64::from(fields.le32(4)?) | u64::from(fields.le32(0)?) << 32;
    // The inode's generation is not kept, but nobody ever gave a journal another than zero.
    let seed = extents::is_tree(body).then(|| inode_seed(raw.superblock.seed, number, 0));
    whole(raw, &Fields::new(body, Object::Journal, PLACE), seed, size)
}

/// All blocks of the journal, which has no holes. With a seed the map is a tree of extents.
fn whole(raw: &Volume, root: &Fields<'_>, seed: Option<u32>, size: u64) -> Result<Vec<(u64, u64)>, FilesystemError> {
    let blocks = (size / raw.block_bytes()).min(raw.superblock.blocks);
    let wanted = 0..blocks;
    let runs: Vec<Run> = match seed {
        Some(seed) => extents::find(raw, seed, root, &wanted, &mut |_, error| Err(error))?,
        None => pointers::find(raw, root, &wanted, &mut |_, error| Err(error))?,
    };
    let mapped: u64 = runs.iter().map(|run| run.count).sum();
    if mapped != blocks || blocks == 0 || runs.len() > MAX_RUNS || runs.iter().any(|run| run.unwritten) {
        return Err(FilesystemError::corrupt(Object::Journal, 0, format!("{mapped} of its {blocks} blocks are mapped")));
    }
    Ok(runs.iter().map(|run| (run.physical, run.count)).collect())
}
