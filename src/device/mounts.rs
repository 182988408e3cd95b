//! Is a device mounted? A pure reading of the mount table, given which devices count as the same.

use std::collections::BTreeSet;
use std::path::PathBuf;

use nix::sys::stat::makedev;

/// How a source was mounted when it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mounted {
    /// Not mounted anywhere that this process can see.
    No,
    /// Mounted, and its filesystem does not write.
    ReadOnly(PathBuf),
    /// Mounted read-write: a copy of it is crash-consistent at best.
    ReadWrite(PathBuf),
}

/// One line of the mount table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    /// The device number of its files.
    pub(super) number: u64,
    /// Where it is mounted.
    pub(super) mount_point: PathBuf,
    /// What was mounted. Filesystems over several devices show a made-up number, but name a real device here.
    pub(super) source: PathBuf,
    /// The filesystem itself writes. A read-only bind mount of a writing filesystem still counts as writing.
    pub(super) writes: bool,
}

/// Reads `/proc/<pid>/mountinfo`. Lines it does not understand are left out.
pub(super) fn parse(text: &str) -> Vec<Mount> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Mount> {
    // 36 35 98:0 /root /mount/point rw,noatime master:1 - ext4 /dev/sda1 rw,errors=continue
    let (before, after) = line.split_once(" - ")?;
    let mut before = before.split(' ').skip(2);
    let number = parse_number(before.next()?)?;
    let mount_point = before.nth(1)?;
    let mut after = after.split(' ').skip(1);
    let source = after.next()?;
    let options = after.next()?;
    Some(Mount {
        number,
        mount_point: unescape(mount_point).into(),
        source: unescape(source).into(),
        writes: options.split(',').any(|option| option == "rw"),
    })
}

/// Reads `major:minor`.
pub(super) fn parse_number(text: &str) -> Option<u64> {
    let (major, minor) = text.trim().split_once(':')?;
    Some(makedev(major.parse().ok()?, minor.parse().ok()?))
}

/// The kernel writes space, tab, newline and backslash as three octal digits.
fn unescape(text: &str) -> String {
    let mut out = text.to_owned();
    for (code, plain) in [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")] {
        out = out.replace(code, plain);
    }
    out
}

/// How any of `devices` is mounted; writing wins over reading. `number_of` tells the device number behind a path.
pub(super) fn mounted(mounts: &[Mount], devices: &BTreeSet<u64>, number_of: &dyn Fn(&Mount) -> Option<u64>) -> Mounted {
    let is_ours = |mount: &&Mount| devices.contains(&mount.number) || number_of(mount).is_some_and(|n| devices.contains(&n));
    let ours: Vec<&Mount> = mounts.iter().filter(is_ours).collect();
    match (ours.iter().find(|mount| mount.writes), ours.first()) {
        (Some(mount), _) => Mounted::ReadWrite(mount.mount_point.clone()),
        (None, Some(mount)) => Mounted::ReadOnly(mount.mount_point.clone()),
        (None, None) => Mounted::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
22 1 0:20 / /proc rw,relatime - proc proc rw
30 1 8:1 / / rw,relatime shared:1 master:2 - ext4 /dev/sda1 rw,errors=remount-ro
31 30 8:1 /sub /mnt/bind ro,relatime - ext4 /dev/sda1 rw
32 30 8:17 / /mnt/with\\040space rw - ext4 /dev/sdb1 ro,norecovery
33 30 0:45 / /mnt/many rw - btrfs /dev/sdc rw,space_cache=v2
a line of another kind
34 30 nonsense / /x rw - ext4 /dev/sdd rw
";

    fn check(devices: &[(u64, u64)], expected: &Mounted) {
        let devices = devices.iter().map(|(major, minor)| makedev(*major, *minor)).collect();
        let number_of = |mount: &Mount| (mount.source.as_os_str() == "/dev/sdc").then(|| makedev(8, 32));
        assert_eq!(mounted(&parse(TABLE), &devices, &number_of), *expected, "{devices:?}");
    }

    #[test]
    fn a_mount_is_found_by_its_number_or_by_its_source_and_writing_wins() {
        check(&[(8, 1)], &Mounted::ReadWrite("/".into()));
        check(&[(8, 17)], &Mounted::ReadOnly("/mnt/with space".into()));
        check(&[(8, 17), (8, 1)], &Mounted::ReadWrite("/".into()));
        check(&[(8, 32)], &Mounted::ReadWrite("/mnt/many".into()));
        check(&[(8, 0)], &Mounted::No);
        check(&[], &Mounted::No);
    }

    #[test]
    fn lines_of_another_kind_are_left_out() {
        assert_eq!(parse(TABLE).len(), 5);
    }

    #[test]
    fn the_filesystem_decides_whether_a_mount_writes_and_not_the_bind() {
        let bind_only: String = TABLE.lines().filter(|line| line.contains("/mnt/bind")).collect();
        assert!(parse(&bind_only)[0].writes);
    }
}
