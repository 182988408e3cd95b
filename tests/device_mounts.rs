//! Real mounts: a source that changes is refused, a target in use is never touched.
#![allow(missing_docs, reason = "tests are read by their names")]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use icecore::device::{self, DeviceError, Mounted, SourceOptions, Target, TargetOptions};
use icecore::testkit;
use icecore::testkit::loop_device::LoopDevice;
use tempfile::TempDir;

const SIZE: u64 = 64 * 1024 * 1024;

/// A mounted filesystem on a loop device over an image; unmounted when dropped.
struct Mounting {
    point: PathBuf,
    device: LoopDevice,
    image: PathBuf,
    _folder: TempDir,
}

impl Mounting {
    fn new(options: &str) -> Option<Self> {
        let folder = TempDir::new().ok()?;
        let (image, point) = (folder.path().join("image"), folder.path().join("mount point"));
        File::create(&image).and_then(|file| file.set_len(SIZE)).ok()?;
        fs::create_dir(&point).ok()?;
        run("mkfs.ext4", &["-q", "-F", text(&image)])?;
        let device = LoopDevice::attach(&image).ok()?;
        run("mount", &["-t", "ext4", "-o", options, text(device.path()), text(&point)])?;
        Some(Self { point, device, image, _folder: folder })
    }
}

impl Drop for Mounting {
    fn drop(&mut self) {
        run("umount", &[text(&self.point)]);
    }
}

fn run(program: &str, arguments: &[&str]) -> Option<()> {
    Command::new(program).args(arguments).status().ok()?.success().then_some(())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_source_mounted_read_write_is_refused_unless_live() {
    let Some(mounting) = Mounting::new("rw") else { return testkit::skip("cannot mount a loop device") };
    for path in [mounting.device.path(), &mounting.image] {
        let refused = device::open(path, &SourceOptions::default());
        let Err(DeviceError::MountedReadWrite { mount_point, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(mount_point, mounting.point);
        let live = device::open(path, &SourceOptions { live: true }).unwrap();
        assert_eq!(*live.mounted(), Mounted::ReadWrite(mounting.point.clone()));
    }
}

#[test]
fn a_source_mounted_read_only_is_opened() {
    let Some(mounting) = Mounting::new("ro") else { return testkit::skip("cannot mount a loop device") };
    for path in [mounting.device.path(), &mounting.image] {
        let source = device::open(path, &SourceOptions::default()).unwrap();
        assert_eq!(*source.mounted(), Mounted::ReadOnly(mounting.point.clone()));
    }
}

#[test]
fn a_mounted_target_is_refused_even_by_force_and_even_read_only() {
    for options in ["rw", "ro"] {
        let Some(mounting) = Mounting::new(options) else { return testkit::skip("cannot mount a loop device") };
        for path in [mounting.device.path(), &mounting.image] {
            let refused = Target::open(path, &TargetOptions { size: SIZE, force: true, create: true });
            assert!(matches!(refused, Err(DeviceError::TargetMounted { .. })), "{options}: {refused:?}");
        }
    }
}

/// The four entries of a partition table and its mark: one Linux partition from sector 2048 to the end.
fn partition_table() -> [u8; 66] {
    let mut table = [0; 66];
    table[4] = 0x83;
    table[8..12].copy_from_slice(&2048_u32.to_le_bytes());
    table[12..16].copy_from_slice(&((SIZE / 512) as u32 - 2048).to_le_bytes());
    table[64..].copy_from_slice(&[0x55, 0xAA]);
    table
}

#[test]
fn a_disk_whose_partition_is_mounted_counts_as_mounted() {
    let folder = TempDir::new().unwrap();
    let (image, point) = (folder.path().join("image"), folder.path().join("point"));
    File::create(&image).unwrap().set_len(SIZE).unwrap();
    fs::create_dir(&point).unwrap();
    File::options().write(true).open(&image).unwrap().write_all_at(&partition_table(), 446).unwrap();
    let Ok(disk) = LoopDevice::attach_with(&image, &["--partscan"]) else { return testkit::skip("no loop devices") };
    let partition = PathBuf::from(format!("{}p1", text(disk.path())));
    if !partition.exists() {
        return testkit::skip("the kernel makes no partitions on loop devices here");
    }
    run("mkfs.ext4", &["-q", "-F", text(&partition)]).unwrap();
    run("mount", &["-t", "ext4", text(&partition), text(&point)]).unwrap();
    let refused = device::open(disk.path(), &SourceOptions::default());
    let refused_target = Target::open(disk.path(), &TargetOptions { size: 1, force: true, create: false });
    run("umount", &[text(&point)]).unwrap();
    assert!(matches!(refused, Err(DeviceError::MountedReadWrite { .. })), "{refused:?}");
    assert!(matches!(refused_target, Err(DeviceError::TargetMounted { .. })), "{refused_target:?}");
}

#[test]
fn what_is_neither_device_nor_file_is_refused() {
    for path in ["/tmp", "/dev/null"] {
        let refused = device::open(Path::new(path), &SourceOptions::default());
        assert!(matches!(refused, Err(DeviceError::WrongKind { .. })), "{path}: {refused:?}");
    }
    let absent = device::open(Path::new("/tmp/there is no such thing"), &SourceOptions::default());
    assert!(matches!(absent, Err(DeviceError::Os { act: "open", .. })), "{absent:?}");
}
