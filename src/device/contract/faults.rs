//! The contract under faults: what is read again, what is lost, and what is an error.

use std::ops::ControlFlow;

use nix::libc;
use tempfile::TempDir;

use super::super::{Fault, FaultScript, SourceOptions, open};
use super::{KIB, ODD_SIZE, WINDOW, engines, image, mix, read_and_check, ready, stamped, whole};
use crate::base::extent::{Extent, ExtentSet};
use crate::base::io::{BulkRead, IoError};

/// Reads the whole image under `faults`, and expects exactly `unreadable` to be lost.
fn check_faults(faults: &FaultScript, unreadable: &[Extent]) {
    let folder = TempDir::new().unwrap();
    let path = image(folder.path(), ODD_SIZE);
    for (name, options) in engines() {
        let mut reader = ready(&path, options).with_faults(faults.clone());
        let plan = whole(&reader);
        let lost = read_and_check(&mut reader, &plan, stamped(ODD_SIZE), &format!("{name}, {faults:?}"));
        assert_eq!(lost.as_slice(), unreadable, "{name}, {faults:?}");
    }
}

#[test]
fn short_and_interrupted_reads_are_finished_and_nothing_is_lost() {
    let faults = [
        Fault::Short(0),
        Fault::Short(1),
        Fault::Short(4095),
        Fault::Short(4096),
        Fault::Short(9000),
        Fault::Errno(libc::EINTR),
        Fault::Errno(libc::EAGAIN),
        Fault::Errno(libc::EIO),
        Fault::Errno(libc::EINVAL),
    ];
    for fault in faults {
        check_faults(&FaultScript { at: [(0, fault), (2, fault)].into(), ..FaultScript::default() }, &[]);
    }
}

#[test]
fn many_random_faults_in_one_run_lose_nothing() {
    for seed in 0..4 {
        let fault = |number| match mix(seed ^ number) % 5 {
            0 => Some((number, Fault::Short((mix(number) % (300 * KIB)) as usize))),
            1 => Some((number, Fault::Errno(libc::EINTR))),
            _ => None,
        };
        println!("seed {seed}");
        check_faults(&FaultScript { at: (0..20).filter_map(fault).collect(), ..FaultScript::default() }, &[]);
    }
}

#[test]
fn exactly_the_bad_blocks_are_unreadable() {
    let folder = TempDir::new().unwrap();
    let block = u64::from(open(&image(folder.path(), 1), &SourceOptions::default()).unwrap().geometry().logical_block);
    let bad: ExtentSet =
        [Extent::new(0, block), Extent::new(WINDOW - block, 2 * block), Extent::new(10 * block, 1)].into_iter().collect();
    let expected = bad.align_outward(block, ODD_SIZE);
    check_faults(&FaultScript { bad, ..FaultScript::default() }, expected.as_slice());
}

#[test]
fn a_whole_bad_window_ends_and_is_unreadable() {
    let bad = ExtentSet::from(Extent::new(WINDOW, WINDOW));
    check_faults(&FaultScript { bad: bad.clone(), ..FaultScript::default() }, bad.as_slice());
}

#[test]
fn a_source_that_ends_early_is_unreadable_from_there() {
    for end in [0, 1, 4096, WINDOW - 1, WINDOW, WINDOW + 4097, ODD_SIZE - 1] {
        check_faults(&FaultScript { ends_at: Some(end), ..FaultScript::default() }, &[Extent::between(end, ODD_SIZE)]);
    }
}

#[test]
fn a_fault_of_our_own_is_an_error_and_not_unreadable_data() {
    let folder = TempDir::new().unwrap();
    let path = image(folder.path(), ODD_SIZE);
    for (name, options) in engines() {
        let faults = FaultScript { at: [(1, Fault::Errno(libc::EBADF))].into(), ..FaultScript::default() };
        let mut reader = ready(&path, options).with_faults(faults);
        let homes = reader.pool().at_home();
        let outcome = reader.read(&mut whole(&reader).into_iter(), &mut |_| ControlFlow::Continue(()));
        // With windows so long that two reads suffice, the fault still hits the second.
        assert!(matches!(outcome, Err(IoError::Os { act: "read", .. })), "{name}: {outcome:?}");
        assert_eq!(reader.pool().at_home(), homes, "{name}");
    }
}

#[test]
fn an_engine_that_breaks_with_reads_under_way_gives_all_memory_back() {
    let folder = TempDir::new().unwrap();
    let path = image(folder.path(), ODD_SIZE);
    for (name, options) in engines() {
        let mut reader = ready(&path, options).with_faults(FaultScript { breaks_at: Some(0), ..FaultScript::default() });
        let homes = reader.pool().at_home();
        let outcome = reader.read(&mut whole(&reader).into_iter(), &mut |_| ControlFlow::Continue(()));
        assert!(matches!(outcome, Err(IoError::Os { .. })), "{name}: {outcome:?}");
        assert_eq!(reader.pool().at_home(), homes, "{name}");
        let mut reader = reader.with_faults(FaultScript::default());
        let plan = whole(&reader);
        assert!(read_and_check(&mut reader, &plan, stamped(ODD_SIZE), name).is_empty());
    }
}
