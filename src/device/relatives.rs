//! Which block devices share bytes: partitions, volumes stacked on top, loop devices over a file or device.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::mounts::{self, Mount, Mounted};

/// What lies under a loop device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Backing {
    Device(u64),
    File { filesystem: u64, inode: u64 },
}

/// One block device of this machine.
#[derive(Debug, Clone, Default)]
struct BlockDevice {
    number: u64,
    /// The disk that this is a partition of.
    disk: Option<u64>,
    /// Volumes stacked on top of it.
    holders: Vec<u64>,
    backing: Option<Backing>,
}

/// How `file`, or anything that shares bytes with it, is mounted.
pub(super) fn mounted(file: &File) -> io::Result<Mounted> {
    let metadata = file.metadata()?;
    let table = block_devices()?;
    let related = if metadata.file_type().is_block_device() {
        related_to(&table, Backing::Device(metadata.rdev()))
    } else {
        related_to(&table, Backing::File { filesystem: metadata.dev(), inode: metadata.ino() })
    };
    Ok(mounts::mounted(&mount_table()?, &related, &number_of_source))
}

/// Our own mounts, and those of process 1: in a container with the host's processes in sight, that is the host.
fn mount_table() -> io::Result<Vec<Mount>> {
    let mut mounts = mounts::parse(&fs::read_to_string("/proc/self/mountinfo")?);
    if let Ok(host) = fs::read_to_string("/proc/1/mountinfo") {
        mounts.extend(mounts::parse(&host));
    }
    Ok(mounts)
}

fn number_of_source(mount: &Mount) -> Option<u64> {
    let metadata = mount.source.is_absolute().then(|| fs::metadata(&mount.source).ok())??;
    metadata.file_type().is_block_device().then(|| metadata.rdev())
}

/// All devices whose bytes include some of `start`'s.
fn related_to(table: &[BlockDevice], start: Backing) -> BTreeSet<u64> {
    let mut found = BTreeSet::new();
    let mut to_visit = vec![start];
    // Every device enters `found` once, so this ends after as many rounds as there are devices.
    while let Some(place) = to_visit.pop() {
        if let Backing::Device(number) = place
            && !found.insert(number)
        {
            continue;
        }
        to_visit.extend(table.iter().filter(|device| sits_on(table, device, place)).map(|device| Backing::Device(device.number)));
    }
    if let Backing::Device(number) = start {
        // The disk around a partition counts itself, but not with its other partitions.
        found.extend(table.iter().filter(|device| device.number == number).filter_map(|device| device.disk));
    }
    found
}

fn sits_on(table: &[BlockDevice], device: &BlockDevice, below: Backing) -> bool {
    let Backing::Device(number) = below else { return device.backing == Some(below) };
    let holds = || table.iter().any(|b| b.number == number && b.holders.contains(&device.number));
    device.disk == Some(number) || device.backing == Some(below) || holds()
}

fn block_devices() -> io::Result<Vec<BlockDevice>> {
    let entries = fs::read_dir("/sys/class/block")?;
    // A device may vanish between the listing and the look; then it holds nothing of ours.
    Ok(entries.filter_map(|entry| read_device(&entry.ok()?.path())).collect())
}

fn read_device(folder: &Path) -> Option<BlockDevice> {
    let number = read_number(folder)?;
    let disk = if folder.join("partition").exists() { read_number(fs::canonicalize(folder).ok()?.parent()?) } else { None };
    let holders = fs::read_dir(folder.join("holders")).into_iter().flatten();
    let holders = holders.filter_map(|holder| read_number(&holder.ok()?.path())).collect();
    Some(BlockDevice { number, disk, holders, backing: read_backing(folder) })
}

fn read_number(folder: &Path) -> Option<u64> {
    mounts::parse_number(&fs::read_to_string(folder.join("dev")).ok()?)
}

fn read_backing(folder: &Path) -> Option<Backing> {
    let path = fs::read_to_string(folder.join("loop/backing_file")).ok()?;
    let metadata = fs::metadata(path.strip_suffix('\n').unwrap_or(&path)).ok()?;
    Some(if metadata.file_type().is_block_device() {
        Backing::Device(metadata.rdev())
    } else {
        Backing::File { filesystem: metadata.dev(), inode: metadata.ino() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: Backing = Backing::File { filesystem: 99, inode: 5 };

    /// Disk 10 with partitions 11 and 12; volume 20 on 12; loop 30 over the image with partition 31; loop 40 over partition 11.
    fn machine() -> Vec<BlockDevice> {
        let device = |number| BlockDevice { number, ..BlockDevice::default() };
        vec![
            device(10),
            BlockDevice { disk: Some(10), ..device(11) },
            BlockDevice { disk: Some(10), holders: vec![20], ..device(12) },
            device(20),
            BlockDevice { backing: Some(IMAGE), ..device(30) },
            BlockDevice { disk: Some(30), ..device(31) },
            BlockDevice { backing: Some(Backing::Device(11)), ..device(40) },
        ]
    }

    #[test]
    fn everything_that_shares_bytes_is_related_and_nothing_else_is() {
        for (start, expected) in [
            (Backing::Device(10), &[10, 11, 12, 20, 40][..]),
            (Backing::Device(11), &[10, 11, 40]),
            (Backing::Device(12), &[10, 12, 20]),
            (Backing::Device(20), &[20]),
            (IMAGE, &[30, 31]),
            (Backing::File { filesystem: 99, inode: 6 }, &[]),
        ] {
            assert_eq!(related_to(&machine(), start).into_iter().collect::<Vec<_>>(), expected, "{start:?}");
        }
    }

    #[test]
    fn a_ring_of_holders_ends() {
        let device = |number, holder| BlockDevice { number, holders: vec![holder], ..BlockDevice::default() };
        assert_eq!(related_to(&[device(1, 2), device(2, 1)], Backing::Device(1)).len(), 2);
    }
}
