//! Which pool a thin device belongs to, and what it is called there, as device-mapper says.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::sys::stat::{major, minor};

use super::error::ThinError;
use super::program::{Program, Runner};

const SECTOR_BYTES: u64 = 512;

/// A device number, as device-mapper writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DeviceNumber {
    major: u64,
    minor: u64,
}

impl DeviceNumber {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once(':')?;
        Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }

    fn of(device: &Path) -> Result<Self, ThinError> {
        let failed = |source| ThinError::Os { act: "look at", path: device.to_path_buf(), source };
        let metadata = fs::metadata(device).map_err(failed)?;
        if !metadata.file_type().is_block_device() {
            return Err(not_thin(device, "it is no block device"));
        }
        Ok(Self { major: major(metadata.rdev()), minor: minor(metadata.rdev()) })
    }

    /// What the kernel says of it.
    fn attribute(self, name: &str) -> Option<String> {
        let path = format!("/sys/dev/block/{}:{}/{name}", self.major, self.minor);
        fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
    }

    /// Arguments by which `dmsetup` knows a device, whatever its name looks like.
    pub(super) fn arguments(self) -> [String; 4] {
        ["-j".to_owned(), self.major.to_string(), "-m".to_owned(), self.minor.to_string()]
    }
}

/// A pool, which holds the blocks of many thin devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pool {
    pub(super) number: DeviceNumber,
    pub(super) name: String,
    /// Given by whoever made the pool, and never to another.
    pub(super) uuid: Option<String>,
    /// The device with its metadata.
    pub(super) metadata: PathBuf,
    pub(super) block_bytes: u64,
}

/// A device whose blocks a pool holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ThinDevice {
    pub(super) pool: Pool,
    /// Its number within the pool.
    pub(super) id: u64,
    /// What it does not map is read from another device.
    pub(super) has_external_origin: bool,
}

impl ThinDevice {
    /// Looks at the device.
    pub(super) fn look(runner: &Runner<'_>, device: &Path) -> Result<Self, ThinError> {
        let number = DeviceNumber::of(device)?;
        if number.attribute("dm/name").is_none() {
            return Err(not_thin(device, "it does not belong to device-mapper"));
        }
        let table = table(runner, number)?;
        let (kind, words) = target(&table).ok_or_else(|| not_thin(device, "it is put together of several devices"))?;
        if kind != "thin" {
            return Err(not_thin(device, &format!("device-mapper calls it {kind}")));
        }
        let strange = || Program::Dmsetup.strange(table.trim());
        let pool = words.first().and_then(|word| DeviceNumber::parse(word)).ok_or_else(strange)?;
        let id = words.get(1).and_then(|word| word.parse().ok()).ok_or_else(strange)?;
        Ok(Self { pool: Pool::look(runner, pool)?, id, has_external_origin: words.len() > 2 })
    }
}

impl Pool {
    fn look(runner: &Runner<'_>, number: DeviceNumber) -> Result<Self, ThinError> {
        let table = table(runner, number)?;
        let strange = || Program::Dmsetup.strange(table.trim());
        let (_, words) = target(&table).filter(|(kind, _)| *kind == "thin-pool").ok_or_else(strange)?;
        let metadata = words.first().and_then(|word| DeviceNumber::parse(word)).ok_or_else(strange)?;
        let sectors: Option<u64> = words.get(2).and_then(|word| word.parse().ok());
        let block_bytes = sectors.and_then(|sectors| sectors.checked_mul(SECTOR_BYTES)).filter(|bytes| *bytes > 0);
        Ok(Self {
            number,
            name: number.attribute("dm/name").filter(|name| !name.is_empty()).ok_or_else(strange)?,
            uuid: number.attribute("dm/uuid").filter(|uuid| !uuid.is_empty()),
            metadata: node(metadata).ok_or_else(strange)?,
            block_bytes: block_bytes.ok_or_else(strange)?,
        })
    }

    /// Fails unless the pool can be asked for a snapshot of its metadata.
    pub(super) fn is_well(&self, runner: &Runner<'_>) -> Result<(), ThinError> {
        let status = runner.text(Program::Dmsetup, &arguments("status", self.number))?;
        match (target(&status), held(&status)) {
            (Some(("thin-pool", words)), None) => {
                let state = words.first().copied().unwrap_or("in an unknown state");
                Err(ThinError::Unwell { pool: self.name.clone(), state: state.to_owned() })
            }
            (Some(("thin-pool", _)), Some(false)) => Ok(()),
            (Some(("thin-pool", _)), Some(true)) => Err(ThinError::Held { pool: self.name.clone() }),
            _ => Err(Program::Dmsetup.strange(status.trim())),
        }
    }
}

/// Whether somebody holds a snapshot of the metadata; `None` where a pool says nothing but that it has failed.
fn held(status: &str) -> Option<bool> {
    let (_, words) = target(status)?;
    words.get(3).map(|root| *root != "-")
}

fn arguments(command: &str, number: DeviceNumber) -> Vec<String> {
    [&[command.to_owned()], &number.arguments()[..]].concat()
}

fn table(runner: &Runner<'_>, number: DeviceNumber) -> Result<String, ThinError> {
    runner.text(Program::Dmsetup, &arguments("table", number))
}

/// The one target that makes up all of a device, and its words.
fn target(text: &str) -> Option<(&str, Vec<&str>)> {
    let mut lines = text.lines();
    let mut words = lines.next()?.split_whitespace();
    let (start, _sectors, kind) = (words.next()?, words.next()?, words.next()?);
    (start == "0" && lines.next().is_none()).then(|| (kind, words.collect()))
}

/// The node of a device, which the kernel makes itself; others are made by programs that may be absent.
fn node(number: DeviceNumber) -> Option<PathBuf> {
    let event = number.attribute("uevent")?;
    let name = event.lines().find_map(|line| line.strip_prefix("DEVNAME="))?;
    let path = Path::new("/dev").join(name);
    (DeviceNumber::of(&path).ok() == Some(number)).then_some(path)
}

fn not_thin(device: &Path, reason: &str) -> ThinError {
    ThinError::NotThin { path: device.to_path_buf(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_one_target_from_its_beginning() {
        assert_eq!(target("0 2048 thin 253:2 7\n"), Some(("thin", vec!["253:2", "7"])));
        assert_eq!(target("0 2048 error \n"), Some(("error", vec![])));
        for text in ["", "0 2048", "8 2048 thin 253:2 7", "0 8 thin 253:2 7\n8 8 thin 253:2 8\n"] {
            assert_eq!(target(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_pool_says_whether_its_metadata_snapshot_is_held() {
        let well = "0 204800 thin-pool 0 13/1024 25/1600 - rw discard_passdown queue_if_no_space - 1024 \n";
        for (status, expected) in [
            (well.to_owned(), Some(false)),
            (well.replace("/1600 -", "/1600 11"), Some(true)),
            ("0 204800 thin-pool Fail".to_owned(), None),
        ] {
            assert_eq!(held(&status), expected, "{status}");
        }
    }

    #[test]
    fn device_numbers_are_two_numbers() {
        assert_eq!(DeviceNumber::parse("253:16"), Some(DeviceNumber { major: 253, minor: 16 }));
        for text in ["", "253", "253:", ":1", "a:1", "1:2:3", "/dev/sda"] {
            assert_eq!(DeviceNumber::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_no_thin_device_is_refused() {
        for path in ["/dev/null", "/tmp"] {
            assert!(matches!(DeviceNumber::of(Path::new(path)), Err(ThinError::NotThin { .. })), "{path}");
        }
    }
}
