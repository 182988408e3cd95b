//! Symbolic links: the target in the inode, or in blocks of its own.

use super::fork::Fork;
use super::remote;
use super::run::Run;
use crate::filesystem::error::FilesystemError;

/// XFS has no longer targets.
const LONGEST_BYTES: usize = 1024;

/// The target of the link in `fork`, which is `size` bytes long.
pub(super) fn target(fork: &Fork<'_>, size: u64) -> Result<Vec<u8>, FilesystemError> {
    let size = usize::try_from(size).ok().filter(|size| (1..=LONGEST_BYTES).contains(size));
    let size = size.ok_or_else(|| fork.corrupt("its target is empty, or longer than 1024 bytes"))?;
    if let Some(fields) = fork.local() {
        return Ok(fields.slice(0, size)?.to_vec());
    }
    let block_bytes = fork.geometry().block_bytes() as usize;
    let blocks = size.div_ceil(remote::room(fork, block_bytes).max(1)) as u64;
    let runs = fork.runs(0, blocks)?;
    let mut target = Vec::new();
    // One header for each run: blocks that lie together were written together.
    for run in &runs {
        append(fork, run, blocks, size, &mut target)?;
    }
    if target.len() == size {
        return Ok(target);
    }
    Err(fork.corrupt(format!("only {} of {size} bytes have a place", target.len())))
}

fn append(fork: &Fork<'_>, run: &Run, blocks: u64, size: usize, target: &mut Vec<u8>) -> Result<(), FilesystemError> {
    let count = run.end().min(blocks).saturating_sub(run.file_block);
    let gathered = fork.gather(&[*run], run.file_block, count)?;
    let (at, bytes) = gathered.ok_or_else(|| fork.corrupt("its target has no place"))?;
    remote::append(fork, b"XSLM", (at, &bytes), size, target)
}
