//! ext2, ext3 and ext4 against a second opinion: what the kernel's mount shows, path for path and byte for byte.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests may fail loudly; tests are read by their names"
)]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use icecore::filesystem::{self, Filesystem, Kind, View};
use icecore::testkit;
use icecore::testkit::differential::{compare, compare_copy};
use icecore::testkit::image::{FileSource, Image};
use icecore::testkit::tree::populate;
use tempfile::TempDir;

#[path = "filesystem_ext/allocation.rs"]
mod allocation;
#[path = "filesystem_ext/crashed.rs"]
mod crashed;
#[path = "filesystem_ext/damaged.rs"]
mod damaged;
#[path = "filesystem_ext/hostile.rs"]
mod hostile;

const MIB: u64 = 1 << 20;

/// Opens an image as a user would.
fn open(image: &Path) -> Box<dyn Filesystem> {
    filesystem::open(Arc::new(FileSource::open(image).unwrap())).unwrap()
}

#[track_caller]
fn none(differences: &[String]) {
    assert!(differences.is_empty(), "we differ from the kernel:\n  {}", differences.join("\n  "));
}

/// Makes, fills and unmounts a file system; `None` says why that cannot be done here.
fn filled(size: u64, program: &str, arguments: &[&str], seed: u64) -> Option<Image> {
    let made = Image::make(size, program, &[&["-q", "-F", "-m", "0"], arguments].concat()).and_then(|image| {
        let mounted = image.mount("")?;
        populate(mounted.point(), seed).unwrap();
        drop(mounted);
        Ok(image)
    });
    made.inspect_err(|error| testkit::skip(&error.to_string())).ok()
}

/// What the kernel shows of a filled file system is what we show.
#[track_caller]
fn check(size: u64, program: &str, arguments: &[&str], kind: Kind) {
    let Some(image) = filled(size, program, arguments, 7) else { return };
    let ours = open(image.path());
    assert_eq!(ours.identity().kind, kind);
    assert_eq!(*ours.view(), View::Clean);
    let mounted = image.mount("ro").unwrap();
    none(&compare(mounted.point(), &*ours));
    drop(mounted);
}

#[test]
fn the_usual_ext4_is_shown_as_the_kernel_shows_it() {
    check(96 * MIB, "mkfs.ext4", &["-b", "4096"], Kind::Ext4);
}

#[test]
fn small_blocks_are_shown_as_the_kernel_shows_them() {
    check(96 * MIB, "mkfs.ext4", &["-b", "1024"], Kind::Ext4);
    check(96 * MIB, "mkfs.ext4", &["-b", "2048", "-I", "512"], Kind::Ext4);
}

#[test]
fn file_systems_without_checksums_are_shown_as_the_kernel_shows_them() {
    check(96 * MIB, "mkfs.ext4", &["-O", "^metadata_csum,^64bit,uninit_bg"], Kind::Ext4);
    check(96 * MIB, "mkfs.ext4", &["-O", "^metadata_csum,^uninit_bg,^extent,^64bit,^has_journal", "-I", "128"], Kind::Ext4);
}

#[test]
fn clusters_are_shown_as_the_kernel_shows_them() {
    check(128 * MIB, "mkfs.ext4", &["-O", "bigalloc", "-b", "4096", "-C", "16384"], Kind::Ext4);
    check(128 * MIB, "mkfs.ext4", &["-O", "bigalloc", "-b", "1024", "-C", "4096"], Kind::Ext4);
}

#[test]
fn content_inside_inodes_is_shown_as_the_kernel_shows_it() {
    check(96 * MIB, "mkfs.ext4", &["-O", "inline_data", "-b", "4096", "-I", "256"], Kind::Ext4);
    check(96 * MIB, "mkfs.ext4", &["-O", "inline_data,^metadata_csum", "-I", "1024", "-b", "1024"], Kind::Ext4);
}

#[test]
fn wide_directories_and_values_in_inodes_are_shown_as_the_kernel_shows_them() {
    check(96 * MIB, "mkfs.ext4", &["-b", "1024", "-O", "large_dir,ea_inode,metadata_csum_seed"], Kind::Ext4);
    check(96 * MIB, "mkfs.ext4", &["-O", "ea_inode,^metadata_csum,^dir_index"], Kind::Ext4);
}

#[test]
fn every_layout_of_groups_is_shown_as_the_kernel_shows_it() {
    check(96 * MIB, "mkfs.ext4", &["-b", "1024", "-O", "meta_bg,^resize_inode"], Kind::Ext4);
    check(96 * MIB, "mkfs.ext4", &["-b", "1024", "-O", "^flex_bg,^sparse_super,^resize_inode", "-g", "2048"], Kind::Ext4);
    check(96 * MIB, "mkfs.ext4", &["-O", "sparse_super2,^resize_inode,mmp,^has_journal"], Kind::Ext4);
}

#[test]
fn features_beside_the_data_do_not_disturb() {
    check(96 * MIB, "mkfs.ext4", &["-O", "fast_commit,orphan_file,stable_inodes"], Kind::Ext4);
    check(96 * MIB, "mkfs.ext4", &["-O", "verity,encrypt"], Kind::Ext4);
}

#[test]
fn ext3_and_ext2_are_shown_as_the_kernel_shows_them() {
    check(96 * MIB, "mkfs.ext3", &["-b", "4096"], Kind::Ext3);
    check(96 * MIB, "mkfs.ext3", &["-b", "1024", "-I", "128"], Kind::Ext3);
    check(96 * MIB, "mkfs.ext2", &["-b", "1024"], Kind::Ext2);
    check(96 * MIB, "mkfs.ext2", &["-b", "4096", "-r", "0"], Kind::Ext2);
}

/// File systems that this kernel cannot mount are filled by `mkfs` from a folder.
#[track_caller]
fn check_copy(arguments: &[&str]) {
    let folder = TempDir::new().unwrap();
    let tree = folder.path().join("tree");
    fs::create_dir(&tree).unwrap();
    if let Err(error) = populate(&tree, 11) {
        return testkit::skip(&error.to_string());
    }
    let all = [&["-q", "-F", "-m", "0", "-d", tree.to_str().unwrap()], arguments].concat();
    let image = Image::make(192 * MIB, "mkfs.ext4", &all).unwrap();
    none(&compare_copy(&tree, &*open(image.path())));
}

#[test]
fn what_mkfs_copied_from_a_folder_is_there() {
    check_copy(&["-b", "65536"]);
    check_copy(&["-O", "project,quota,ea_inode", "-b", "4096"]);
    check_copy(&["-O", "casefold,ea_inode", "-b", "4096"]);
}
