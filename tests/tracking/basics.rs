//! Adding, listing and removing disks; and the first proofs on a quiet disk.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;

use icecore::base::extent::Extent;
use icecore::testkit::loop_device::LoopDevice;
use icecore::tracking::Tracker;

use crate::rig::{CHUNK_BYTES, Rig, Studio, exact, unknown};

const SIZE: u64 = 64 << 20;

fn write(device: &Path, offset: u64, length: usize) {
    let file = OpenOptions::new().write(true).open(device).unwrap();
    file.write_all_at(&vec![0x5a; length], offset).unwrap();
    file.sync_all().unwrap();
}

#[test]
fn what_is_written_between_two_cuts_is_reported_and_nothing_else() {
    let Some(rig) = Rig::new() else { return };
    let studio = Studio::new(512 << 20);
    let device = LoopDevice::attach(&studio.image("disk", SIZE)).unwrap();
    let token = rig.begin(device.path());
    write(device.path(), 1 << 20, 4096);
    write(device.path(), (8 << 20) - 4096, 3 * CHUNK_BYTES as usize);
    let cut = rig.epoch(device.path(), token, || {});
    let chunk = u64::from(CHUNK_BYTES);
    assert_eq!(exact(&cut).written.as_slice(), [Extent::new(1 << 20, chunk), Extent::new((8 << 20) - chunk, 4 * chunk)]);
    assert!(exact(&cut).discarded.is_empty());
    let next = rig.epoch(device.path(), cut.token.unwrap(), || {});
    assert!(exact(&next).written.is_empty(), "{next:?}");
    let stale = rig.epoch(device.path(), token, || {});
    assert!(unknown(&stale).contains("the token is not that of the last cut"));
    let removed = Tracker::open(&rig.settings).unwrap().unwrap();
    assert_eq!(removed.list().unwrap().len(), 1);
    removed.remove(device.path()).unwrap();
    assert!(Tracker::open(&rig.settings).unwrap().is_none());
}
