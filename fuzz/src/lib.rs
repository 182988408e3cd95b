//! What all targets share: the two rooms under test, built alone, and the base images that inputs are laid over.
//!
//! `base`, `filesystem` and the files of `testkit` are links into the sources. A dependency on the whole package would build its
//! cryptography and its object stores with a fuzzer's instruments for every run, and test nothing more.
#![allow(dead_code, unused_imports, reason = "the rooms serve more callers than the targets")]

use std::path::Path;
use std::sync::OnceLock;

mod base;
mod filesystem;
mod testkit;

use testkit::fuzz_target::FuzzTarget;

/// Lays `input` over a base image of the target, and asks everything.
///
/// # Panics
/// When an answer breaks a promise: that is the finding. When the base images are missing, too.
pub fn run(target: &str, input: &[u8]) {
    static TARGET: OnceLock<FuzzTarget> = OnceLock::new();
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/bases"));
    TARGET.get_or_init(|| FuzzTarget::load(folder, target).expect("fuzz/bases holds the images of each target")).run(input);
}
