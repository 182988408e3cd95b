//! Where a file has data, asked of its filesystem.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use crate::base::extent::Extent;

/// Runs of data that are told apart; behind the last one everything counts as data.
pub const MAX_RUNS: usize = 65_536;

/// The runs of data among the first `size` bytes; `None` if there is no hole among them.
pub(super) fn runs_of_data(file: impl AsFd, size: u64) -> io::Result<Option<Vec<Extent>>> {
    let mut runs = Vec::new();
    let mut at = 0;
    while at < size {
        let start = match seek(&file, SeekFrom::Data(at)) {
            // No data behind.
            Err(Errno::NXIO) => break,
            // A file system that knows no holes.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(None),
            start => start?,
        };
        let end = if runs.len() + 1 < MAX_RUNS { seek(&file, SeekFrom::Hole(start))? } else { size };
        let run = Extent::between(start, end.min(size));
        if run.is_empty() {
            break;
        }
        at = run.end();
        runs.push(run);
    }
    Ok((runs != [Extent::new(0, size)]).then_some(runs))
}
