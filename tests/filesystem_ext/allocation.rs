//! What is called free is free: its bytes can be anything, and the file system stays what it is.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use icecore::base::extent::{Extent, ExtentSet};
use icecore::testkit::differential::compare;
use icecore::testkit::image::{Image, run};
use nix::sys::statvfs::statvfs;

use crate::{MIB, filled, none, open};

/// Overwrites ranges of an image.
pub(crate) fn fill_with_words(image: &Path, ranges: &ExtentSet) {
    let words: Vec<u8> = b"nobody reads this. ".iter().copied().cycle().take(1 << 20).collect();
    let file = File::options().write(true).open(image).unwrap();
    for piece in ranges.as_slice().iter().flat_map(|extent| extent.cut(1 << 20)) {
        file.write_all_at(&words[..usize::try_from(piece.length).unwrap()], piece.offset).unwrap();
    }
}

/// Exactly what the kernel counts as free is free, and `e2fsck` does not miss it.
#[track_caller]
fn check(arguments: &[&str]) {
    let Some(image) = filled(96 * MIB, "mkfs.ext4", arguments, 5) else { return };
    let allocation = open(image.path()).allocation();
    assert_eq!(allocation.doubts, []);
    fill_with_words(image.path(), &allocation.free);
    run(Command::new("e2fsck").args(["-f", "-n"]).arg(image.path())).unwrap();
    let ours = open(image.path());
    let mounted = image.mount("ro").unwrap();
    none(&compare(mounted.point(), &*ours));
    let counted = statvfs(mounted.point()).unwrap();
    assert_eq!(allocation.free.bytes(), counted.blocks_free() * counted.fragment_size());
    drop(mounted);
}

#[test]
fn free_blocks_are_those_that_the_kernel_counts() {
    check(&["-b", "4096"]);
    check(&["-b", "1024", "-O", "meta_bg,^resize_inode"]);
    check(&["-O", "bigalloc", "-C", "16384"]);
    check(&["-O", "^metadata_csum,^uninit_bg,^flex_bg,^has_journal", "-b", "1024"]);
    check(&["-O", "^metadata_csum,uninit_bg,^flex_bg,^sparse_super,^resize_inode", "-b", "1024", "-g", "1024"]);
}

fn plain(arguments: &[&str]) -> Image {
    Image::make(64 * MIB, "mkfs.ext4", &[&["-q", "-F", "-b", "1024"], arguments].concat()).unwrap()
}

fn debugfs(image: &Image, request: &str) {
    run(Command::new("debugfs").args(["-w", "-R", request]).arg(image.path())).unwrap();
}

fn flip(image: &Image, at: u64) {
    let file = File::options().read(true).write(true).open(image.path()).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

/// The byte where the block bitmap of a group lies, as `debugfs` says.
fn block_bitmap(image: &Image, group: u32) -> u64 {
    let output = Command::new("dumpe2fs").arg(image.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let section = text.split(&format!("Group {group}:")).nth(1).unwrap();
    let after = section.split("Block bitmap at ").nth(1).unwrap();
    after.split(|letter: char| !letter.is_ascii_digit()).next().unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn a_group_whose_bitmap_is_damaged_is_read_in_full() {
    for features in ["metadata_csum", "^metadata_csum"] {
        let image = plain(&["-O", features]);
        let whole = open(image.path()).allocation();
        assert_eq!(whole.doubts, []);
        flip(&image, block_bitmap(&image, 0) + 1000);
        let allocation = open(image.path()).allocation();
        let group = Extent::new(1024, 8192 * 1024);
        assert_eq!(allocation.doubts.iter().map(|doubt| doubt.extent).collect::<Vec<_>>(), [group], "{:?}", allocation.doubts);
        assert_eq!(allocation.free, whole.free.difference(&group.into()));
    }
}

#[test]
fn a_volume_that_wants_a_check_is_read_in_full() {
    let doubtful = |image: &Image, expected: &str| {
        let ours = open(image.path());
        let allocation = ours.allocation();
        let size = ours.volume().size();
        assert!(allocation.free.is_empty());
        assert_eq!(allocation.doubts.len(), 1);
        assert_eq!(allocation.doubts[0].extent, Extent::new(0, size));
        assert!(allocation.doubts[0].reason.contains(expected), "{}", allocation.doubts[0].reason);
    };
    let image = plain(&[]);
    debugfs(&image, "set_super_value state 3");
    doubtful(&image, "errors");
    let image = plain(&["-O", "^has_journal"]);
    debugfs(&image, "set_super_value state 0");
    doubtful(&image, "not unmounted");
    let image = plain(&[]);
    debugfs(&image, "set_super_value feature_ro_compat 0x800046b");
    doubtful(&image, "FEATURE_R27");
    let image = plain(&[]);
    File::options().write(true).open(image.path()).unwrap().set_len(63 * MIB).unwrap();
    doubtful(&image, "longer than its device");
    let image = plain(&[]);
    debugfs(&image, "set_bg 3 checksum 7");
    doubtful(&image, "descriptor");
}

#[test]
fn what_lies_behind_the_file_system_is_never_free() {
    let image = plain(&[]);
    let size = fs::metadata(image.path()).unwrap().len();
    File::options().write(true).open(image.path()).unwrap().set_len(size + 10 * MIB).unwrap();
    let ours = open(image.path());
    assert_eq!(ours.identity().size, size);
    assert!(!ours.allocation().free.intersects(&Extent::new(size, u64::MAX)));
}
