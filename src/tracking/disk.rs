//! The whole disk behind a device: its number that is never used again, its size, and how its writes can be seen.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::sys::stat::{major, minor};

use super::error::TrackingError;
use super::layout::Regime;

const SECTOR_BYTES: u64 = 512;
/// Where the kernel shows every block device by name.
const BLOCK_DEVICES: &str = "/sys/class/block";
/// Bio disks whose driver neither hands a bio on to another disk nor lets it be re-mapped without a write.
const BIO_DRIVERS: &[&str] = &["zram", "ram"];
/// Before this, the page cache writes to such disks without a bio (`rw_page`).
const NO_RW_PAGE: (u32, u32) = (6, 3);
/// Seventeen numbers of at most twenty digits.
const LONGEST_STAT: usize = 512;

/// What is known of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Disk {
    /// As the kernel calls it, such as `vda`.
    pub(super) name: String,
    /// Its folder under `/sys`.
    folder: PathBuf,
    pub(super) diskseq: u64,
    pub(super) size_bytes: u64,
    pub(super) regime: Regime,
    /// Tags of each hardware queue, and how many such queues; none where there are no requests.
    pub(super) tags: u32,
    pub(super) queues: u32,
}

impl Disk {
    /// Looks at the disk that `device` names, and refuses one whose writes cannot all be seen.
    pub(super) fn look(device: &Path) -> Result<Self, TrackingError> {
        let disk = Self::find(device)?;
        match disk.unfit() {
            Some(reason) => Err(TrackingError::unfit(device, reason)),
            None => Ok(disk),
        }
    }

    fn find(device: &Path) -> Result<Self, TrackingError> {
        let metadata = fs::metadata(device).map_err(|error| TrackingError::os("look at", device, error))?;
        if !metadata.file_type().is_block_device() {
            return Err(TrackingError::unfit(device, "it is no block device"));
        }
        let number = metadata.rdev();
        let link = PathBuf::from(format!("/sys/dev/block/{}:{}", major(number), minor(number)));
        let folder = fs::canonicalize(&link).map_err(|error| TrackingError::os("look at", &link, error))?;
        Self::read(device, folder)
    }

    fn read(device: &Path, folder: PathBuf) -> Result<Self, TrackingError> {
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if folder.join("partition").exists() {
            let disk = folder.parent().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or("above it");
            return Err(TrackingError::unfit(device, format!("it is a partition; track the whole disk /dev/{disk}")));
        }
        let diskseq = read_number(&folder, "diskseq");
        let diskseq = diskseq.ok_or_else(|| TrackingError::unfit(device, "the kernel does not number disks (needs Linux 5.15)"))?;
        let size_bytes = read_number(&folder, "size").unwrap_or(0).saturating_mul(SECTOR_BYTES);
        let (tags, queues) = read_queues(&folder.join("mq"));
        let regime = if queues > 0 { Regime::Requests } else { Regime::Bios };
        Ok(Self { name, folder, diskseq, size_bytes, regime, tags, queues })
    }

    /// Why not all of its writes can be seen, if so.
    fn unfit(&self) -> Option<String> {
        let attribute = |name: &str| read_text(&self.folder.join("queue").join(name));
        let is = |name: &str, value: &str| attribute(name).as_deref() == Some(value);
        let driver = self.name.trim_end_matches(|c: char| c.is_ascii_digit());
        let reason = if driver == "dm-" || driver == "md" {
            "what lies under it can be exchanged without a write; track the disk below"
        } else if self.regime == Regime::Bios && !BIO_DRIVERS.contains(&driver) {
            "its driver has no request queue and is not known to keep its bios to itself"
        } else if self.regime == Regime::Bios && kernel_version().is_none_or(|version| version < NO_RW_PAGE) {
            "before Linux 6.3 it is written in ways that cannot be seen"
        } else if is("dax", "1") {
            "it can be written as memory (DAX), which cannot be seen"
        } else if attribute("zoned").is_some_and(|model| model != "none") {
            "it has zones"
        } else if self.regime == Regime::Requests && !is("iostats", "1") {
            "its counters are off, so nothing would show that writes were missed; write 1 to its queue/iostats"
        } else {
            return None;
        };
        Some(reason.to_owned())
    }

    /// The kernel's own count of what is written; `None` when it does not count.
    pub(super) fn counter(&self) -> Option<Counter> {
        // Bios are counted by their drivers, whatever is said there.
        let counts = self.regime == Regime::Bios || read_text(&self.folder.join("queue/iostats")).as_deref() == Some("1");
        let stat = File::open(self.folder.join("stat")).ok().filter(|_| counts)?;
        Some(Counter { stat, regime: self.regime })
    }
}

/// An open `stat` of a disk: both counts must be read within microseconds of each other.
#[derive(Debug)]
pub(super) struct Counter {
    stat: File,
    regime: Regime,
}

impl Counter {
    /// Sectors written, and discarded where requests are counted, since the disk came to be.
    pub(super) fn sectors(&self) -> Option<u64> {
        let mut text = [0; LONGEST_STAT];
        let length = self.stat.read_at(&mut text, 0).ok()?;
        parse_stat(str::from_utf8(text.get(..length)?).ok()?, self.regime)
    }
}

/// Fields of `Documentation/block/stat.rst`: the seventh counts sectors written, the fourteenth sectors discarded.
fn parse_stat(text: &str, regime: Regime) -> Option<u64> {
    let fields: Vec<u64> = text.split_whitespace().map(|field| field.parse().ok()).collect::<Option<_>>()?;
    let written = *fields.get(6)?;
    match regime {
        Regime::Requests => Some(written.wrapping_add(*fields.get(13)?)),
        // zram counts no discards.
        Regime::Bios => Some(written),
    }
}

fn read_queues(folder: &Path) -> (u32, u32) {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    entries.fold((0, 0), |(tags, queues), entry| {
        let number: Option<u32> = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let here = read_number(&entry.path(), "nr_tags").and_then(|tags| u32::try_from(tags).ok()).unwrap_or(0);
        (tags.max(here), queues.max(number.map_or(0, |number| number.saturating_add(1))))
    })
}

fn read_text(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn read_number(folder: &Path, name: &str) -> Option<u64> {
    read_text(&folder.join(name))?.parse().ok()
}

/// Names and numbers of all disks that are there now.
pub(super) fn present() -> Result<Vec<(String, u64)>, TrackingError> {
    let folder = Path::new(BLOCK_DEVICES);
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|error| TrackingError::os("list", folder, error))?,
    };
    let disks = entries.filter_map(Result::ok).filter(|entry| !entry.path().join("partition").exists());
    Ok(disks.filter_map(|entry| Some((entry.file_name().into_string().ok()?, read_number(&entry.path(), "diskseq")?))).collect())
}

fn kernel_version() -> Option<(u32, u32)> {
    parse_version(&read_text(Path::new("/proc/sys/kernel/osrelease"))?)
}

fn parse_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_counters_are_read_by_regime() {
        let stat = "  10 1 2048 5 7 0 64 3 2 11 12 4 0 99 1 6 2\n";
        assert_eq!(parse_stat(stat, Regime::Requests), Some(64 + 99));
        assert_eq!(parse_stat(stat, Regime::Bios), Some(64));
        assert_eq!(parse_stat("1 2 3 4 5 6 7", Regime::Bios), Some(7));
        assert_eq!(parse_stat("1 2 3 4 5 6 7", Regime::Requests), None);
        assert_eq!(parse_stat("", Regime::Bios), None);
    }

    #[test]
    fn kernel_versions_are_compared_by_number() {
        for (release, expected) in
            [("6.18.44", Some((6, 18))), ("5.15.0-1-amd64", Some((5, 15))), ("6.3-rc1", Some((6, 3))), ("x", None), ("6", None)]
        {
            assert_eq!(parse_version(release), expected, "{release}");
        }
    }

    #[test]
    fn what_is_no_disk_is_refused() {
        for path in ["/dev/null", "/tmp"] {
            assert!(matches!(Disk::look(Path::new(path)), Err(TrackingError::Unfit { .. })), "{path}");
        }
        assert!(matches!(Disk::look(Path::new("/dev/absent")), Err(TrackingError::Os { .. })));
    }
}
