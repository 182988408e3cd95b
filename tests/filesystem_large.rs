//! Large and scattered trees against the kernel's mount: a PostgreSQL cluster, and directories of very many names.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests may fail loudly; tests are read by their names"
)]

use std::fs::{self, File};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use icecore::filesystem::{self, FileKind, Filesystem, Layout, Links, resolve};
use icecore::testkit;
use icecore::testkit::differential::compare;
use icecore::testkit::image::{FileSource, Image};

#[path = "filesystem_large/cluster.rs"]
mod cluster;

use cluster::Cluster;

const MIB: u64 = 1 << 20;
/// Below it a walk takes seconds; a million is for those who wait.
const MANY: usize = 100_000;
const VERY_MANY: usize = 1_000_000;

fn open(image: &Image) -> Box<dyn Filesystem> {
    filesystem::open(Arc::new(FileSource::open(image.path()).unwrap())).unwrap()
}

/// Makes, fills and unmounts a file system; `None` says why that cannot be done here.
fn filled(size: u64, program: &str, arguments: &[&str], fill: impl FnOnce(&Path)) -> Option<Image> {
    let made = Image::make(size, program, arguments).and_then(|image| {
        let mounted = image.mount("")?;
        fill(mounted.point());
        drop(mounted);
        Ok(image)
    });
    made.inspect_err(|error| testkit::skip(&error.to_string())).ok()
}

#[track_caller]
fn assert_equal(image: &Image, options: &str) {
    let ours = open(image);
    let mounted = image.mount(options).unwrap();
    let differences = compare(mounted.point(), &*ours);
    drop(mounted);
    assert!(differences.is_empty(), "we differ from the kernel:\n  {}", differences.join("\n  "));
}

/// In how many pieces each file of a tree lies, the most scattered first.
fn pieces(filesystem: &dyn Filesystem, folder: &Path, path: &Path) -> Vec<u64> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder.join(path)).unwrap() {
        let below = path.join(entry.unwrap().file_name());
        let inode = resolve(filesystem, below.to_str().unwrap().as_bytes(), Links::Keep).unwrap();
        match inode.kind {
            FileKind::Directory => found.extend(pieces(filesystem, folder, &below)),
            FileKind::Regular => found.push(Layout::of(filesystem, &inode).unwrap().extents),
            _ => {}
        }
    }
    found.sort_by(|a, b| b.cmp(a));
    found
}

/// A cluster that grew in free space of small pieces reads back as the kernel shows it.
#[track_caller]
fn check_cluster(program: &str, arguments: &[&str], options: &str) {
    let Some(cluster) = Cluster::find() else {
        return testkit::skip("initdb and pgbench (package postgresql) are not there");
    };
    let Some(image) = filled(768 * MIB, program, arguments, |mount| cluster.fill(mount)) else { return };
    let ours = open(&image);
    let mounted = image.mount(options).unwrap();
    let found = pieces(&*ours, mounted.point(), Path::new("pg"));
    drop(mounted);
    println!("{program}: {} files of the cluster, the most scattered in {:?} pieces", found.len(), &found[..5]);
    assert!(found.len() > 900 && found[0] > 100, "this cluster is not scattered: {:?}", &found[..5]);
    assert_equal(&image, options);
}

#[test]
fn a_scattered_postgresql_cluster_on_ext4_is_shown_as_the_kernel_shows_it() {
    check_cluster("mkfs.ext4", &["-q", "-F", "-m", "0"], "ro");
}

#[test]
fn a_scattered_postgresql_cluster_on_xfs_is_shown_as_the_kernel_shows_it() {
    check_cluster("mkfs.xfs", &["-q", "-f"], "ro");
}

/// Empty files in one directory. Every hundredth is removed again, so that directory blocks have gaps.
fn many_names(mount: &Path, count: usize) {
    let folder = mount.join("many");
    fs::create_dir(&folder).unwrap();
    let path = |number: usize| folder.join(format!("{number:07} one of very many names"));
    (0..count).for_each(|number| drop(File::create(path(number)).unwrap()));
    (0..count).step_by(100).for_each(|number| fs::remove_file(path(number)).unwrap());
}

#[track_caller]
fn check_many(count: usize, size: u64, program: &str, arguments: &[&str]) {
    let Some(image) = filled(size, program, arguments, |mount| many_names(mount, count)) else { return };
    let ours = open(&image);
    let folder = resolve(&*ours, b"many", Links::Keep).unwrap();
    let mut names = 0;
    ours.list(&folder, &mut |_| {
        names += 1;
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(names, count - count / 100);
    assert_equal(&image, "ro");
}

/// Blocks of 1 KiB give a directory of this size an index of three levels, which only `large_dir` allows.
fn check_many_on_ext4(count: usize, size: u64) {
    let inodes = (count + 1000).to_string();
    check_many(count, size, "mkfs.ext4", &["-q", "-F", "-m", "0", "-b", "1024", "-O", "large_dir", "-N", &inodes]);
}

#[test]
fn a_directory_of_many_names_is_shown_as_the_kernel_shows_it() {
    check_many_on_ext4(MANY, 256 * MIB);
    check_many(MANY, 400 * MIB, "mkfs.xfs", &["-q", "-f"]);
}

#[test]
#[ignore = "makes a million files twice"]
fn soak_a_directory_of_a_million_names_on_ext4_is_shown_as_the_kernel_shows_it() {
    check_many_on_ext4(VERY_MANY, 1024 * MIB);
}

#[test]
#[ignore = "makes a million files twice"]
fn soak_a_directory_of_a_million_names_on_xfs_is_shown_as_the_kernel_shows_it() {
    check_many(VERY_MANY, 2048 * MIB, "mkfs.xfs", &["-q", "-f"]);
}
