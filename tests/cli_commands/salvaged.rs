//! Files out of volumes that no longer mount: what is told apart, what is named, and what earlier points give back.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use icecore::base::extent::Extent;
use icecore::filesystem::{self, Filesystem, Links, Source, resolve};
use icecore::testkit;
use icecore::testkit::image::Image;
use icecore::testkit::tree::populate;
use icecore::testkit::volume::MemoryVolume;
use serde_json::Value;

use crate::files::ext4;
use crate::tree_facts::{Exactness, facts, same};
use crate::world::{Run, World, change, damage, files_below, noise};

const MIB: u64 = 1 << 20;
const EXACT: Exactness = Exactness { holes: true, sockets: true };

fn family(mount: &Path) {
    fs::write(mount.join("plain"), "plain words\n").unwrap();
    fs::create_dir_all(mount.join("home/deep/down")).unwrap();
    fs::write(mount.join("home/two"), noise(2 << 20, 2)).unwrap();
    fs::write(mount.join("home/deep/down/one"), noise(70_000, 1)).unwrap();
    fs::hard_link(mount.join("home/two"), mount.join("home/again")).unwrap();
    symlink("home/two", mount.join("link")).unwrap();
    fs::create_dir(mount.join("many")).unwrap();
    for index in 0..300 {
        fs::write(mount.join(format!("many/file-{index:04}")), noise(100 + index, index as u64)).unwrap();
    }
}

/// A volume, and where things lie on it.
struct Volume {
    image: Image,
    intact: Box<dyn Filesystem>,
}

impl Volume {
    fn new() -> Option<Self> {
        // Two groups, so that there is a copy of the superblock.
        let image = ext4(160 * MIB, family)?;
        let intact = opened(image.path());
        Some(Self { image, intact })
    }

    fn text(&self) -> &str {
        self.image.path().to_str().unwrap()
    }

    fn place(&self, path: &[u8]) -> Extent {
        let inode = resolve(self.intact.as_ref(), path, Links::Keep).unwrap();
        self.intact.inode_location(inode.number).unwrap()
    }

    fn wipe(&self, extent: Extent) {
        change(self.image.path(), extent.offset, &vec![0; extent.length as usize]);
    }

    fn wipe_superblock(&self) {
        self.wipe(Extent::new(1024, 1024));
    }
}

fn opened(image: &Path) -> Box<dyn Filesystem> {
    filesystem::open(Arc::new(MemoryVolume::new(fs::read(image).unwrap()))).unwrap()
}

/// Where the bytes of a file begin in an image.
pub fn content_of(image: &Path, path: &[u8]) -> u64 {
    let intact = opened(image);
    let inode = resolve(intact.as_ref(), path, Links::Keep).unwrap();
    match intact.map(&inode, Extent::new(0, 1)).unwrap()[0].source {
        Source::Disk(at) => at,
        ref other => panic!("{other:?}"),
    }
}

/// Paths below a directory, from it on.
fn paths(root: &Path) -> Vec<String> {
    let mut paths: Vec<String> =
        files_below(root).iter().map(|path| path.strip_prefix(root).unwrap().to_str().unwrap().to_owned()).collect();
    paths.sort();
    paths
}

/// The directory that is filled keeps its own attributes.
#[track_caller]
fn same_but_root(mut theirs: BTreeMap<PathBuf, String>, mut ours: BTreeMap<PathBuf, String>) {
    for facts in [&mut theirs, &mut ours] {
        facts.retain(|path, _| path.components().count() > 0);
    }
    same(&theirs, &ours);
}

fn hits(report: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    report["hit"].as_array().unwrap().iter().map(|hit| (text(&hit["path"]), text(&hit["confidence"]))).collect()
}

#[test]
fn a_sound_volume_passes_the_check_and_is_salvaged_as_it_is() {
    let Some(volume) = Volume::new() else { return };
    let world = World::new();
    let checked = world.run(&["check-volume", volume.text()]).exits(0);
    assert!(checked.out.contains("all metadata agrees"), "{checked:#?}");
    let theirs = facts(volume.image.mount("ro").unwrap().point(), EXACT);
    let target = ext4(96 * MIB, |_| {}).unwrap();
    let mounted = target.mount("").unwrap();
    let to = mounted.point().join("out");
    let report = world.run(&["salvage", volume.text(), "--to", to.to_str().unwrap(), "--json"]).exits(0).json();
    assert_eq!(report["findings"].as_array().unwrap().len(), 0, "{report:#}");
    same_but_root(theirs, facts(&to, EXACT));
}

/// Where an entry of a directory stands in an image: the first bytes that look like it.
fn entry_of(bytes: &[u8], inode: u64, name: &str) -> usize {
    let number = u32::try_from(inode).unwrap().to_le_bytes();
    let looks_like =
        |window: &[u8]| window.starts_with(&number) && window[6] == name.len() as u8 && window[8..].starts_with(name.as_bytes());
    bytes.windows(8 + name.len()).step_by(4).position(looks_like).unwrap() * 4
}

#[test]
fn without_checksums_other_witnesses_tell_what_a_flipped_bit_changed() {
    let made = Image::make(64 * MIB, "mke2fs", &["-q", "-F", "-t", "ext2", "-b", "1024"]);
    let Ok(image) = made.inspect_err(|error| testkit::skip(&error.to_string())) else { return };
    let Ok(mounted) = image.mount("").inspect_err(|error| testkit::skip(&error.to_string())) else { return };
    family(mounted.point());
    fs::write(mounted.point().join("own"), noise(3000, 8)).unwrap();
    drop(mounted);
    let intact = opened(image.path());
    let inode = |path: &[u8]| resolve(intact.as_ref(), path, Links::Keep).unwrap().number;
    let pointers = |path: &[u8]| intact.inode_location(inode(path)).unwrap().offset as usize + 40;
    let mut bytes = fs::read(image.path()).unwrap();
    // A map that leads to one block twice, and one that leads into a table of inodes.
    let (twice, own) = (pointers(b"/home/deep/down/one"), pointers(b"/own"));
    bytes.copy_within(twice..twice + 4, twice + 4);
    let table = u32::try_from(intact.inode_location(inode(b"/plain")).unwrap().offset / 1024).unwrap();
    bytes[own + 4..own + 8].copy_from_slice(&table.to_le_bytes());
    // A name that leads to the inode of another, and some that are called otherwise.
    let swapped = inode(b"/many/file-0100").0;
    let at = entry_of(&bytes, swapped, "file-0100");
    bytes[at..at + 4].copy_from_slice(&u32::try_from(inode(b"/many/file-0101").0).unwrap().to_le_bytes());
    let renamed: Vec<(u64, String)> = (200..212)
        .map(|index| format!("file-{index:04}"))
        .map(|name| (inode(format!("/many/{name}").as_bytes()).0, name))
        .collect();
    for (number, name) in &renamed {
        let at = entry_of(&bytes, *number, name);
        bytes[at + 8] ^= 1;
    }
    fs::write(image.path(), bytes).unwrap();
    let world = World::new();
    let run = world.run(&["salvage", image.path().to_str().unwrap(), "--to", "out"]).exits(3);
    for path in ["home/deep/down/one", "own", "many/file-0100", "many/file-0101"] {
        assert!(says_doubtful(&run, path), "{path}: {run:#?}");
    }
    assert!(!says_doubtful(&run, "many/file-0102"), "{run:#?}");
    assert_eq!(fs::read(world.path(&format!("out/lost+found/#{swapped}"))).unwrap(), noise(200, 100));
    // A hash leads to the right block by chance, too: one name in as many as the directory has blocks.
    let noticed = renamed.iter().filter(|(number, _)| world.path(&format!("out/lost+found/#{number}")).exists()).count();
    let shown = renamed.iter().filter(|(_, name)| world.path(&format!("out/many/g{}", &name[1..])).exists()).count();
    assert!(noticed >= 8 && noticed + shown == renamed.len(), "{noticed} {shown} {run:#?}");
}

/// Files of which the inodes account for more than their content: maps of sparse files, and space behind the end.
fn accounts(mount: &Path) {
    populate(mount, 11).unwrap();
    let sparse = fs::File::create(mount.join("accounted-sparse")).unwrap();
    let far = fs::File::create(mount.join("accounted-far")).unwrap();
    for index in 0..600_u64 {
        sparse.write_all_at(&noise(4096, index), index * 8192).unwrap();
    }
    for index in 1..40_u64 {
        far.write_all_at(b"far", index << 26).unwrap();
    }
    fs::write(mount.join("accounted-reserved"), "short\n").unwrap();
    let reserve = ["--keep-size", "--length", "10M"];
    // Only maps of extents can reserve.
    let reserved = mount.join("accounted-reserved");
    let _refused_by_ext2 = Command::new("fallocate").args(reserve).arg(reserved).stderr(Stdio::null()).status().unwrap();
}

#[test]
fn a_sound_volume_without_checksums_passes_the_check() {
    let world = World::new();
    for arguments in [&["-t", "ext2", "-b", "1024"][..], &["-t", "ext3"], &["-t", "ext4", "-O", "^metadata_csum"]] {
        let made = Image::make(160 * MIB, "mke2fs", &[&["-q", "-F"], arguments].concat());
        let Ok(image) = made.inspect_err(|error| testkit::skip(&error.to_string())) else { return };
        let Ok(mounted) = image.mount("").inspect_err(|error| testkit::skip(&error.to_string())) else { return };
        accounts(mounted.point());
        drop(mounted);
        let checked = world.run(&["check-volume", image.path().to_str().unwrap()]).exits(0);
        assert!(checked.out.contains("all metadata agrees"), "{arguments:?}: {checked:#?}");
    }
}

#[test]
fn without_superblock_descriptors_and_root_every_file_is_at_its_path() {
    let Some(volume) = Volume::new() else { return };
    let world = World::new();
    let theirs = facts(volume.image.mount("ro").unwrap().point(), EXACT);
    volume.wipe_superblock();
    volume.wipe(Extent::new(4096, 4096));
    volume.wipe(volume.place(b"/"));
    world.run(&["ls", volume.text()]).exits(1);
    let target = ext4(96 * MIB, |_| {}).unwrap();
    let mounted = target.mount("").unwrap();
    let to = mounted.point().join("out");
    world.run(&["salvage", volume.text(), "--to", to.to_str().unwrap()]).exits(3);
    let ours = facts(&to, EXACT);
    same_but_root(theirs, ours);
}

#[test]
fn a_file_that_lacks_bytes_is_kept_apart_with_the_list_of_its_holes() {
    let Some(volume) = Volume::new() else { return };
    let world = World::new();
    // The image ends in the middle of a file.
    let at = content_of(volume.image.path(), b"/home/two");
    let end = (at + MIB) / 4096 * 4096;
    let ours = fs::read(volume.image.path()).unwrap();
    fs::File::options().write(true).open(volume.image.path()).unwrap().set_len(end).unwrap();
    let run = world.run(&["salvage", volume.text(), "--to", "out"]).exits(3);
    assert!(run.err.contains("home/two") || run.err.contains("home/again"), "{run:#?}");
    let out = world.path("out");
    assert!(!out.join("home/two").exists() && !out.join("home/again").exists());
    let kept: Vec<String> = paths(&out).into_iter().filter(|path| path.starts_with("lost+found/partial/")).collect();
    let list = kept.iter().find(|path| path.ends_with(".json") && path.contains("-two") || path.contains("-again.json")).unwrap();
    let holes: Value = serde_json::from_slice(&fs::read(out.join(list)).unwrap()).unwrap();
    assert_eq!(holes["size_bytes"], 2 << 20);
    assert_eq!(holes["missing"][0]["offset_bytes"], end - at);
    assert_eq!(holes["missing"][0]["length_bytes"], (2 << 20) - (end - at));
    let content = fs::read(out.join(list.strip_suffix(".json").unwrap())).unwrap();
    assert_eq!(content.len(), 2 << 20);
    assert_eq!(content[..(end - at) as usize], ours[at as usize..end as usize]);
}

#[test]
fn a_single_flipped_bit_of_metadata_is_put_right_and_said() {
    let Some(volume) = Volume::new() else { return };
    let world = World::new();
    let at = volume.place(b"/plain").offset + 5;
    let byte = fs::read(volume.image.path()).unwrap()[at as usize];
    change(volume.image.path(), at, &[byte ^ 1]);
    let checked = world.run(&["check-volume", volume.text()]).exits(3).says("a flipped bit was put right: inode");
    assert!(checked.out.contains("DAMAGED"), "{checked:#?}");
    world.run(&["salvage", volume.text(), "--to", "out"]).exits(3);
    assert_eq!(fs::read(world.path("out/plain")).unwrap(), b"plain words\n");
}

#[test]
fn what_is_damaged_is_named_with_the_files_that_it_hits() {
    let Some(volume) = Volume::new() else { return };
    let world = World::new();
    volume.wipe(Extent::new(volume.place(b"/plain").offset, 64));
    let report = world.run(&["check-volume", volume.text(), "--json"]).exits(3).json();
    assert_eq!(report["sound"], false);
    // The journal still has an older copy of the inode, and nobody knows whether it was the last.
    assert_eq!(hits(&report), BTreeMap::from([("plain".to_owned(), "doubtful".to_owned())]));
    let run = world.run(&["salvage", volume.text(), "--to", "out"]).exits(3);
    assert!(says_doubtful(&run, "plain"), "{run:#?}");
}

/// True when a run names a file as doubtful, for people.
fn says_doubtful(run: &Run, path: &str) -> bool {
    run.err.lines().any(|line| line.contains("doubtful") && line.contains(path))
}

#[test]
fn a_doubtful_file_is_named_although_others_came_from_an_earlier_point() {
    let Some(volume) = Volume::new() else { return };
    let world = World::new();
    world.backup(volume.text(), &["--volume", "disk"]).exits(0);
    {
        let mounted = volume.image.mount("").unwrap();
        fs::write(mounted.point().join("plain"), "newer than the point\n").unwrap();
    }
    volume.wipe(Extent::new(volume.place(b"/plain").offset, 64));
    // Bytes of another file cannot be read: the image ends before them, and the point has them.
    let end = content_of(volume.image.path(), b"/home/two") + MIB;
    fs::File::options().write(true).open(volume.image.path()).unwrap().set_len(end).unwrap();
    let repository = world.text("repository");
    let run = world.run(&["salvage", volume.text(), "--history", &repository, "--to", "out"]).exits(3);
    assert_eq!(fs::read(world.path("out/home/two")).unwrap(), noise(2 << 20, 2));
    assert!(says_doubtful(&run, "plain"), "{run:#?}");
}

#[test]
fn an_earlier_point_gives_back_what_is_lost_and_says_so() {
    let Some(volume) = Volume::new() else { return };
    let world = World::new();
    world.backup(volume.text(), &["--volume", "disk"]).exits(0);
    let theirs = facts(volume.image.mount("ro").unwrap().point(), EXACT);
    // Superblock, descriptors, bitmaps and the inodes of the first groups.
    volume.wipe(Extent::new(0, MIB));
    let repository = world.text("repository");
    let target = ext4(96 * MIB, |_| {}).unwrap();
    let mounted = target.mount("").unwrap();
    let to = mounted.point().join("out");
    let arguments = ["salvage", volume.text(), "--history", &repository, "--to", to.to_str().unwrap(), "--report", "report"];
    world.run(&arguments).exits(3);
    same_but_root(theirs, facts(&to, EXACT));
    let report = fs::read_to_string(world.path("report")).unwrap();
    let line: Value =
        report.lines().map(|line| serde_json::from_str(line).unwrap()).find(|line: &Value| line["path"] == "plain").unwrap();
    assert_eq!(line["from_point"], world.ids()[0].as_str());
}

#[test]
fn a_volume_without_any_superblock_left_is_read_by_that_of_an_earlier_point() {
    // One group: there is no copy, and the first MiB has the root directory and the only table of inodes.
    let Some(image) = ext4(48 * MIB, family) else { return };
    let text = image.path().to_str().unwrap();
    let world = World::new();
    world.backup(text, &["--volume", "disk"]).exits(0);
    let other = ext4(48 * MIB, |mount| fs::write(mount.join("other"), noise(9000, 5)).unwrap()).unwrap();
    world.backup(other.path().to_str().unwrap(), &["--volume", "other"]).exits(0);
    let theirs = facts(image.mount("ro").unwrap().point(), EXACT);
    change(image.path(), 0, &vec![0; MIB as usize]);
    let repository = world.text("repository");
    let target = ext4(96 * MIB, |_| {}).unwrap();
    let mounted = target.mount("").unwrap();
    let to = mounted.point().join("out");
    world
        .run(&["salvage", text, "--history", &repository, "--to", to.to_str().unwrap()])
        .exits(3)
        .says(&format!("that of point {} is used", world.ids()[0]));
    same_but_root(theirs, facts(&to, EXACT));
    change(other.path(), 0, &vec![0; 40 << 20]);
    world.run(&["salvage", other.path().to_str().unwrap(), "--history", &repository, "--list"]).exits(1);
}

#[test]
fn an_xfs_volume_of_which_only_content_is_left_comes_back_by_an_earlier_point() {
    let made = Image::make(320 * MIB, "mkfs.xfs", &["-q"]).and_then(|image| {
        family(image.mount("")?.point());
        Ok(image)
    });
    let Ok(image) = made.inspect_err(|error| testkit::skip(&error.to_string())) else { return };
    let text = image.path().to_str().unwrap();
    let world = World::new();
    world.backup(text, &["--volume", "disk"]).exits(0);
    let theirs = facts(image.mount("ro,norecovery").unwrap().point(), EXACT);
    // Everything but the content of files is gone.
    let intact = opened(image.path());
    let mut bytes = vec![0; 320 << 20];
    let before = fs::read(image.path()).unwrap();
    let mut keep = |path: &str| {
        let inode = resolve(intact.as_ref(), path.as_bytes(), Links::Keep).unwrap();
        for segment in intact.map(&inode, Extent::new(0, inode.size)).unwrap() {
            if let Source::Disk(at) = segment.source {
                let range = at as usize..(at + segment.extent.length) as usize;
                bytes[range.clone()].copy_from_slice(&before[range]);
            }
        }
    };
    keep("/plain");
    keep("/home/two");
    keep("/home/deep/down/one");
    (0..300).for_each(|index| keep(&format!("/many/file-{index:04}")));
    fs::write(image.path(), &bytes).unwrap();
    world.run(&["salvage", text, "--list"]).exits(1);
    let target = ext4(96 * MIB, |_| {}).unwrap();
    let mounted = target.mount("").unwrap();
    let to = mounted.point().join("out");
    let repository = world.text("repository");
    let run = world.run(&["salvage", text, "--history", &repository, "--to", to.to_str().unwrap()]).exits(3);
    run.says(&format!("that of point {} is used", world.ids()[0]));
    same_but_root(theirs, facts(&to, EXACT));
}

#[test]
fn a_point_of_a_damaged_volume_is_salvaged_like_the_volume() {
    let Some(volume) = Volume::new() else { return };
    let world = World::new();
    world.backup(volume.text(), &["--volume", "disk"]).exits(0);
    volume.wipe_superblock();
    volume.wipe(volume.place(b"/home"));
    world.backup(volume.text(), &["--volume", "disk"]).exits(0);
    let repository = world.text("repository");
    world.run(&["salvage", "disk@latest", "--to", "out", "--history", &repository]).exits(3);
    assert_eq!(fs::read(world.path("out/home/two")).unwrap(), noise(2 << 20, 2));
    assert_eq!(fs::read(world.path("out/home/deep/down/one")).unwrap(), noise(70_000, 1));
}

#[test]
fn a_list_goes_on_where_it_was_left() {
    let Some(volume) = Volume::new() else { return };
    let world = World::new();
    volume.wipe_superblock();
    let whole = world.run(&["salvage", volume.text(), "--list"]).exits(3).out;
    let lines: Vec<&str> = whole.lines().collect();
    assert_eq!(lines.len(), 310, "{whole}");
    let path = lines[100].split_whitespace().nth(2).unwrap();
    let rest = world.run(&["salvage", volume.text(), "--list", "--after", path]).exits(3).out;
    assert_eq!(rest.lines().collect::<Vec<_>>(), lines[101..]);
}

#[test]
fn only_what_matches_is_taken_out() {
    let Some(volume) = Volume::new() else { return };
    let world = World::new();
    volume.wipe_superblock();
    world.run(&["salvage", volume.text(), "--to", "out", "--path", "file-00[01]?"]).exits(3);
    let expected: Vec<String> = (0..20).map(|index| format!("many/file-{index:04}")).collect();
    assert_eq!(paths(&world.path("out")), expected);
    world.run(&["salvage", volume.text(), "--to", "other", "--path", "no-such-*"]).exits(2).says("nothing that was found matches");
}

#[test]
fn a_volume_without_any_file_system_is_refused_with_its_reason() {
    let world = World::new();
    fs::write(world.path("noise"), noise(4 << 20, 3)).unwrap();
    world.run(&["salvage", "noise", "--list"]).exits(1).says("without a known signature");
    fs::write(world.path("zeros"), vec![0; 4 << 20]).unwrap();
    world.run(&["check-volume", "zeros"]).exits(1).says("nothing but zeros");
    world.run(&["salvage", "zeros:/etc", "--list"]).exits(2).says("--path");
}

#[test]
fn data_that_cannot_be_read_comes_from_an_earlier_point_that_has_the_same_file() {
    let Some(volume) = Volume::new() else { return };
    let world = World::new();
    let other = world.text("other");
    world.run(&["init", &other]).exits(0);
    world.run(&["backup", volume.text(), "--volume", "disk", "--repo", &other]).exits(0);
    // The same volume in a repository of its own, of which a pack is damaged: its content cannot be had whole.
    world.backup(volume.text(), &["--volume", "disk"]).exits(0);
    for pack in files_below(&world.path("repository/packs")) {
        damage(&pack);
    }
    world.run(&["salvage", "disk@latest", "--to", "without"]).exits(3);
    let run = world.run(&["salvage", "disk@latest", "--to", "with", "--history", &other, "--json"]);
    let lost = |root: &str| (0..300).filter(|index| !world.path(&format!("{root}/many/file-{index:04}")).exists()).count();
    let held = |root: &str, name: &str, content: &[u8]| {
        fs::read(world.path(&format!("{root}/{name}"))).is_ok_and(|found| found == content)
    };
    let whole = |root: &str| held(root, "home/two", &noise(2 << 20, 2)) && held(root, "home/deep/down/one", &noise(70_000, 1));
    assert!(!whole("without") || lost("without") > 0, "nothing was damaged");
    assert!(whole("with") && lost("with") == 0, "{run:#?}");
}
