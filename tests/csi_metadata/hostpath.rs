//! The real csi-driver-host-path, when the variable names its binary: real snapshots, compared with what was written.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use icecore::base::cancel::Cancel;
use icecore::base::clock::SystemClock;
use icecore::base::extent::{Extent, ExtentSet};
use icecore::rpc::snapshot_metadata::{
    Address, BlockStyle, Course, Credentials, Limits, Metadata, MetadataError, Question, SnapshotMetadata,
};
use icecore::testkit::dice::{Dice, each_seed};

mod driver;

use driver::Driver;

const SIZE: u64 = 8 << 20;
/// The driver's own.
const BLOCK: u64 = 4096;
const STYLES: [(&str, BlockStyle); 2] = [("FIXED_LENGTH", BlockStyle::Fixed), ("VARIABLE_LENGTH", BlockStyle::Variable)];

fn ask(driver: &Driver, question: &Question, device_bytes: u64) -> Result<Metadata, MetadataError> {
    let credentials = Credentials::Driver { secrets: BTreeMap::new() };
    let address = Address::parse(&driver.address()).unwrap();
    let client = SnapshotMetadata::new(&address, None, credentials, Limits::default(), Arc::new(SystemClock::new())).unwrap();
    client.ask(question, device_bytes, &Cancel::new())
}

fn changed(driver: &Driver, base: &str, target: &str) -> Result<Metadata, MetadataError> {
    ask(driver, &Question::Changed { base: base.to_owned(), target: target.to_owned() }, SIZE)
}

fn allocated(driver: &Driver, snapshot: &str) -> Result<Metadata, MetadataError> {
    ask(driver, &Question::Allocated { snapshot: snapshot.to_owned() }, SIZE)
}

/// Blocks in which the two differ.
fn differing(old: &[u8], new: &[u8]) -> ExtentSet {
    let pairs = old.chunks(BLOCK as usize).zip(new.chunks(BLOCK as usize)).zip(0u64..);
    pairs.filter(|((old, new), _)| old != new).map(|(_, number)| Extent::new(number * BLOCK, BLOCK)).collect()
}

#[test]
fn a_real_driver_tells_exactly_what_was_written() {
    for (flag, style) in STYLES {
        let Some(driver) = Driver::start(flag) else { return };
        let volume = driver.create_volume(SIZE, true);
        let zeros = vec![0; SIZE as usize];
        let empty = driver.snapshot(&volume, "empty");
        each_seed(0..4, |seed| {
            let dice = Dice::new(seed);
            let old = fs::read(driver.backing(&volume)).unwrap();
            let before = driver.snapshot(&volume, &format!("before-{seed}"));
            // The very last block is among them, and runs of more than one message.
            for _ in 0..600 {
                driver.write(&volume, dice.below(SIZE / 512) * 512, &[seed as u8 + 1; 512]);
            }
            driver.write(&volume, SIZE - 1, &[seed as u8 + 1]);
            let after = driver.snapshot(&volume, &format!("after-{seed}"));
            let new = fs::read(driver.backing(&volume)).unwrap();
            let told = changed(&driver, &before, &after).unwrap();
            assert_eq!(told, Metadata { extents: differing(&old, &new), capacity: SIZE, style: Some(style) }, "{flag}");
            assert_eq!(allocated(&driver, &after).unwrap().extents, differing(&zeros, &new), "{flag}");
        });
        let nothing = Metadata { extents: ExtentSet::new(), capacity: SIZE, style: None };
        assert_eq!(allocated(&driver, &empty).unwrap(), nothing);
        let same = driver.snapshot(&volume, "same");
        let again = driver.snapshot(&volume, "again");
        assert_eq!(changed(&driver, &same, &again).unwrap(), nothing);
    }
}

#[test]
fn what_a_real_driver_cannot_tell_is_not_known() {
    let Some(driver) = Driver::start("FIXED_LENGTH") else { return };
    let (volume, other) = (driver.create_volume(SIZE, true), driver.create_volume(SIZE, true));
    driver.write(&volume, 0, b"data");
    let (base, target) = (driver.snapshot(&volume, "base"), driver.snapshot(&volume, "target"));
    let stranger = driver.snapshot(&other, "stranger");
    let files = driver.create_volume(SIZE, false);
    let of_files = driver.snapshot(&files, "files");
    for (error, code) in [
        (changed(&driver, "nobody", &target).unwrap_err(), "NOT_FOUND"),
        (changed(&driver, &base, "nobody").unwrap_err(), "NOT_FOUND"),
        (changed(&driver, &stranger, &target).unwrap_err(), "INVALID_ARGUMENT"),
        (allocated(&driver, &of_files).unwrap_err(), "INVALID_ARGUMENT"),
    ] {
        assert!(error.to_string().contains(code), "{error}");
        assert_eq!(error.course(), Course::ReadAll, "{error}");
    }
    let asked = ask(&driver, &Question::Allocated { snapshot: target }, SIZE + 512);
    assert_eq!(asked, Err(MetadataError::OtherSize { capacity: SIZE as i64, device: SIZE + 512 }));
}
