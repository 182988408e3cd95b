//! The disk's own counters, through which others on the same block device can be noticed.

use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::stat::{major, minor};

use super::pacing::DiskCounters;

/// A look costs some ten microseconds; a neighbour is noticed within this.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Counters are in sectors of this length whatever the device's blocks.
const SECTOR_BYTES: u64 = 512;

/// Looks at the counters of one block device now and then.
#[derive(Debug)]
pub(super) struct NeighbourWatch {
    path: PathBuf,
    next: Duration,
}

impl NeighbourWatch {
    /// A watch over `file`, if it is a block device whose counters can be read. The disk beneath an image file also counts what we
    /// store there ourselves, so it says nothing.
    pub(super) fn over(file: &File) -> Option<Self> {
        let meta = file.metadata().ok().filter(|meta| meta.file_type().is_block_device())?;
        let path = PathBuf::from(format!("/sys/dev/block/{}:{}/stat", major(meta.rdev()), minor(meta.rdev())));
        let watch = Self { path, next: Duration::ZERO };
        watch.read().map(|_| watch)
    }

    /// The counters, when it is time to look again.
    pub(super) fn look(&mut self, now: Duration) -> Option<DiskCounters> {
        if now < self.next {
            return None;
        }
        self.next = now + LOOK_EVERY;
        self.read()
    }

    fn read(&self) -> Option<DiskCounters> {
        parse(&fs::read_to_string(&self.path).ok()?)
    }
}

/// Reads the fields of `Documentation/block/stat.rst`: read I/Os, merges, sectors, ticks, then the same for writes, in flight, two
/// times, the same for discards, and flushes. Old kernels have eleven fields.
fn parse(text: &str) -> Option<DiskCounters> {
    let fields: Vec<u64> = text.split_whitespace().map(|field| field.parse().ok()).collect::<Option<_>>()?;
    let field = |index: usize| fields.get(index).copied();
    let later = |index: usize| field(index).unwrap_or(0);
    Some(DiskCounters {
        read_bytes: field(2)?.saturating_mul(SECTOR_BYTES),
        writes: field(4)?.saturating_add(later(11)).saturating_add(later(15)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counters_of_old_and_new_kernels_are_read() {
        let new = "  10 1 2048 5 7 0 64 3 2 11 12 4 0 99 1 6 2\n";
        assert_eq!(parse(new), Some(DiskCounters { read_bytes: 2048 * 512, writes: 7 + 4 + 6 }));
        assert_eq!(parse("10 1 2048 5 7 0 64 3 2 11 12"), Some(DiskCounters { read_bytes: 2048 * 512, writes: 7 }));
        assert_eq!(parse("10 1"), None);
        assert_eq!(parse("10 1 x 5 7"), None);
    }
}
