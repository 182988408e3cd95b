//! What fuzzing has found worth keeping, laid over its base images again: every answer ends, and keeps the promises of the room.
//!
//! Here checksums count, so that most inputs over images with checksums end early; those over images without reach as far as they
//! reach a fuzzer. `make fuzz` goes on from the same inputs.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::thread;

use icecore::testkit::exercise::Seen;
use icecore::testkit::fuzz_target::FuzzTarget;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name)
}

fn load(target: &str) -> FuzzTarget {
    FuzzTarget::load(&folder("bases"), target).unwrap_or_else(|error| panic!("{target}: {error}"))
}

fn targets() -> Vec<String> {
    let files = fs::read_dir(folder("fuzz_targets")).unwrap();
    let mut names: Vec<_> = files.map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

fn kept(target: &str) -> Vec<Vec<u8>> {
    let text = fs::read_to_string(folder("corpus").join(format!("{target}.hex"))).unwrap();
    text.lines().map(bytes_of).collect()
}

fn bytes_of(line: &str) -> Vec<u8> {
    let digits = line.as_bytes().as_chunks::<2>().0;
    digits.iter().map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// The inputs of a target that break a promise.
fn broken(target: &str) -> Vec<String> {
    let loaded = load(target);
    let mut broken = Vec::new();
    for input in kept(target) {
        if catch_unwind(AssertUnwindSafe(|| loaded.run(&input))).is_err() {
            broken.push(format!("{target}: {}", input.iter().map(|byte| format!("{byte:02x}")).collect::<String>()));
        }
    }
    broken
}

#[test]
fn every_kept_input_ends_and_keeps_the_promises() {
    let broken: Vec<String> = thread::scope(|scope| {
        let runs: Vec<_> = targets().into_iter().map(|target| scope.spawn(move || broken(&target))).collect();
        runs.into_iter().flat_map(|run| run.join().unwrap()).collect()
    });
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_target_is_built_and_has_kept_inputs() {
    let manifest = fs::read_to_string(folder("Cargo.toml")).unwrap();
    let targets = targets();
    assert_eq!(manifest.matches("[[bin]]").count(), targets.len());
    for target in targets {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{target}.rs\"")), "{target}");
        let code = fs::read_to_string(folder("fuzz_targets").join(format!("{target}.rs"))).unwrap();
        assert!(code.contains(&format!("run(\"{target}\", input)")), "{target}");
        assert!(kept(&target).len() > 4, "{target}");
    }
}

/// What an unchanged base shows at least.
#[test]
fn the_base_images_hold_what_their_targets_are_about() {
    let mut missing = Vec::new();
    let mut check = |target: &str, base: u8, expected: Seen| {
        let seen = load(target).run(&[base]);
        let enough = seen.inodes >= expected.inodes
            && seen.names >= expected.names
            && seen.segments >= expected.segments
            && seen.attributes >= expected.attributes
            && seen.links >= expected.links;
        if !(seen.opened && enough) {
            missing.push(format!("{target} {base}: {seen:?}"));
        }
    };
    let files = Seen { inodes: 80, names: 140, segments: 50, attributes: 9, links: 2, ..Seen::default() };
    // What only the journal or the log knows is among them.
    let replayed = Seen { names: 150, attributes: 12, links: 3, ..files };
    let extents = Seen { segments: 200, ..files };
    check("ext_image", 0, extents);
    check("ext_image", 1, extents);
    check("ext_image", 2, files);
    check("ext_image", 3, replayed);
    check("ext_image", 4, replayed);
    check("ext_image", 5, Seen { names: 170, ..files });
    check("xfs_image", 0, extents);
    check("xfs_image", 1, Seen { attributes: 0, segments: 4, names: 120, ..files });
    check("xfs_image", 2, replayed);
    // Attributes and links of the largest and of the first inodes only.
    let found = Seen { inodes: 120, links: 1, ..files };
    check("ext_wreck", 0, Seen { segments: 200, ..found });
    check("ext_wreck", 2, found);
    check("ext_wreck", 4, Seen { names: 150, attributes: 12, ..found });
    check("xfs_wreck", 0, Seen { segments: 200, ..found });
    check("xfs_wreck", 1, Seen { segments: 4, names: 120, attributes: 0, ..found });
    check("xfs_wreck", 2, found);
    check("partition_table", 0, Seen { inodes: 2, ..Seen::default() });
    check("partition_table", 1, Seen { inodes: 3, ..Seen::default() });
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}
