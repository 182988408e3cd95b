//! Real mounts: a source that changes is refused, a target in use is never touched.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests may fail loudly; tests are read by their names"
)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use icecore::device::{self, DeviceError, Mounted, SourceOptions, Target, TargetOptions};
use icecore::testkit;
use icecore::testkit::image::unmount;
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
        let _left_mounted = unmount(&self.point);
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

#[test]
fn a_device_under_a_mounted_device_counts_as_mounted() {
    let folder = TempDir::new().unwrap();
    let (image, point) = (folder.path().join("image"), folder.path().join("point"));
    File::create(&image).unwrap().set_len(SIZE).unwrap();
    fs::create_dir(&point).unwrap();
    run("mkfs.ext4", &["-q", "-F", text(&image)]).unwrap();
    let Ok(below) = LoopDevice::attach(&image) else { return testkit::skip("no loop devices") };
    let above = LoopDevice::attach(below.path()).unwrap();
    run("mount", &["-t", "ext4", text(above.path()), text(&point)]).unwrap();
    let refused = [below.path(), &image].map(|path| device::open(path, &SourceOptions::default()));
    let refused_target = Target::open(below.path(), &TargetOptions { size: 1, force: true, create: false });
    unmount(&point).unwrap();
    for refused in refused {
        assert!(matches!(refused, Err(DeviceError::MountedReadWrite { .. })), "{refused:?}");
    }
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
