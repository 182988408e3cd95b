//! What a salvage found, in numbers.

use super::error::SalvageError;
use super::evidence::NameProof;
use super::finds::Finds;
use crate::filesystem::Proof;

/// Numbers of the whole volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Inodes that are there, directories included.
    pub inodes: u64,
    /// Directories among them, those made up included.
    pub directories: u64,
    /// Directories of which the inode is lost.
    pub made_up: u64,
    /// Directories of which names are lost.
    pub broken_directories: u64,
    /// Files and directories without a name.
    pub adrift: u64,
    /// Files that lack bytes.
    pub partial: u64,
    /// Files that something contradicts, or that are older than what was lost.
    pub doubtful: u64,
    /// Inodes that cannot be read; not all of them were in use.
    pub lost_inodes: u64,
    /// Names that lead to nothing any more.
    pub lost_names: u64,
    /// Files and directories that are taken from earlier points.
    pub from_past: u64,
    /// Directory blocks that were found without their directories.
    pub stray_blocks: u64,
}

/// Counts it all.
pub(super) fn of(finds: &Finds) -> Result<Summary, SalvageError> {
    Ok(Summary {
        inodes: finds.count("SELECT count(*) FROM inode")?,
        directories: finds.count("SELECT count(*) FROM inode WHERE directory")?,
        made_up: finds.count("SELECT count(*) FROM inode WHERE made_up")?,
        broken_directories: finds.count("SELECT count(*) FROM inode WHERE NOT whole")?,
        adrift: finds.count(&format!("SELECT count(*) FROM name WHERE proof = {}", NameProof::None.number()))?,
        partial: finds.count("SELECT count(*) FROM inode WHERE missing > 0")?,
        doubtful: finds
            .count(&format!("SELECT count(*) FROM inode WHERE doubt IS NOT NULL OR proof = {}", Proof::OlderCopy as i64))?,
        lost_inodes: finds.count("SELECT coalesce(sum(after - first), 0) FROM lost")?,
        lost_names: finds.count("SELECT count(*) FROM name WHERE NOT EXISTS (SELECT 1 FROM inode WHERE number = name.inode)")?,
        from_past: finds.count("SELECT count(*) FROM inode WHERE past IS NOT NULL")?,
        stray_blocks: finds.count("SELECT count(*) FROM stray")?,
    })
}
