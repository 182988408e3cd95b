//! Damaged repositories, file by file: what is whole, what is named, and what came from other points; held against the kernel's mount.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use icecore::testkit;
use icecore::testkit::image::{Image, Mounted};
use serde_json::Value;

use crate::world::{World, damage, files_below, noise};

const MIB: u64 = 1 << 20;
const FILES: u64 = 24;
const FILE_BYTES: usize = 500_000;

/// An image of small blocks, so that chunks begin and end anywhere in files: whole files, a hard link, two files that were written in
/// turns, a tree, and free space full of a deleted file's bytes.
fn filled(size: u64, mkfs: &[&str]) -> Option<Image> {
    let made = Image::make(size, mkfs[0], &mkfs[1..]).and_then(|image| {
        let mounted = image.mount("")?;
        let root = mounted.point();
        fs::create_dir_all(root.join("deep/er"))?;
        for number in 0..FILES {
            fs::write(path_of(root, number), content(number))?;
        }
        fs::write(root.join("large"), noise(3_000_000, 97))?;
        fs::hard_link(path_of(root, 0), root.join("deep/again"))?;
        let mut turns = ["one", "two"].map(|name| File::create(root.join(name)).unwrap());
        for piece in noise(400_000, 99).chunks(3000) {
            for file in &mut turns {
                file.write_all(piece)?;
                file.sync_data()?;
            }
        }
        drop(turns);
        fs::write(root.join("gone"), noise(6 << 20, 98))?;
        File::open(root.join("gone"))?.sync_all()?;
        fs::remove_file(root.join("gone"))?;
        drop(mounted);
        Ok(image)
    });
    made.inspect_err(|error| testkit::skip(&error.to_string())).ok()
}

fn path_of(root: &Path, number: u64) -> PathBuf {
    root.join(if number.is_multiple_of(2) { format!("file-{number:02}") } else { format!("deep/er/file-{number:02}") })
}

fn content(number: u64) -> Vec<u8> {
    noise(FILE_BYTES + 777 * number as usize, number)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Every regular file below a folder, by its path with a slash before it.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let path_in = |path: &Path| format!("/{}", path.strip_prefix(folder).unwrap().display());
    files_below(folder).into_iter().map(|path| (path_in(&path), fs::read(path).unwrap())).collect()
}

type Missing = BTreeMap<String, Vec<(usize, usize)>>;

/// The missing ranges of each finding, by path below `prefix`.
fn missing(findings: &Value, prefix: &str) -> Missing {
    let range = |extent: &Value| {
        let number = |name: &str| usize::try_from(extent[name].as_u64().unwrap()).unwrap();
        (number("offset_bytes"), number("length_bytes"))
    };
    let one = |finding: &Value| {
        let path = finding["path"].as_str().unwrap().strip_prefix(prefix).unwrap().to_owned();
        (path, finding["missing"].as_array().unwrap().iter().map(range).collect())
    };
    findings.as_array().unwrap().iter().map(one).collect()
}

/// The paths below `prefix` of findings of one kind.
fn paths(findings: &Value, prefix: &str, kind: &str) -> BTreeSet<String> {
    let of_kind = findings.as_array().unwrap().iter().filter(|finding| finding["kind"] == kind);
    of_kind.map(|finding| finding["path"].as_str().unwrap().strip_prefix(prefix).unwrap().to_owned()).collect()
}

/// Outside of its missing ranges each file is right, and within them it is zeros, which no file holds so many of.
#[track_caller]
fn exact(wanted: &BTreeMap<String, Vec<u8>>, found: &BTreeMap<String, Vec<u8>>, missing: &Missing) {
    assert!(missing.keys().all(|path| wanted.contains_key(path)), "{missing:?}");
    for (path, wanted) in wanted {
        let mut expected = wanted.clone();
        for (offset, length) in missing.get(path).into_iter().flatten() {
            expected[*offset..offset + length].fill(0);
        }
        assert!(found[path] == expected, "{path} with {:?}", missing.get(path));
    }
}

struct Scene {
    world: World,
    image: Image,
    wanted: BTreeMap<String, Vec<u8>>,
}

impl Scene {
    fn new(size: u64, mkfs: &[&str], more: &[&str]) -> Option<Self> {
        let image = filled(size, mkfs)?;
        let world = World::new();
        world.backup(text(image.path()), &[&["--volume", "disk", "--codec", "none"], more].concat()).exits(0);
        let wanted = contents(image.mount("ro").unwrap().point());
        Some(Self { world, image, wanted })
    }

    fn packs(&self) -> Vec<PathBuf> {
        let mut packs = files_below(&self.world.path("repository/packs"));
        packs.sort_by_key(|path| (fs::metadata(path).unwrap().len(), path.clone()));
        packs
    }

    /// Packs that hold nothing but content of files, with the names of those: damage in each of them loses bytes, and still everything
    /// is found by name.
    fn content_packs(&self) -> Vec<(PathBuf, Missing)> {
        let content = |pack: PathBuf| {
            let whole = fs::read(&pack).unwrap();
            fs::remove_file(&pack).unwrap();
            let run = self.world.run(&["restore", "disk@latest", "--to", "probe", "--degraded", "--json"]);
            fs::write(&pack, whole).unwrap();
            drop(fs::remove_file(self.world.path("probe")));
            let files = (run.code == 3).then(|| run.json()["files"][0].clone())?;
            let named = missing(&files["findings"], "");
            (files["structure_bytes"] == 0 && files["free_bytes"] == 0 && !named.is_empty()).then_some((pack, named))
        };
        self.packs().into_iter().filter_map(content).collect()
    }

    fn restore(&self) -> Value {
        drop(fs::remove_file(self.world.path("target")));
        self.world.run(&["restore", "disk@latest", "--to", "target", "--degraded", "--json"]).exits(3).json()
    }

    fn mounted(&self, name: &str) -> BTreeMap<String, Vec<u8>> {
        let point = self.world.path("mounted");
        fs::create_dir_all(&point).unwrap();
        contents(Mounted::new(&self.world.path(name), point, "ro").unwrap().point())
    }

    fn copied(&self) -> (Missing, BTreeMap<String, Vec<u8>>) {
        drop(fs::remove_dir_all(self.world.path("out")));
        let report = self.world.run(&["cp", "disk@latest:/", "out", "--partial", "--json"]).exits(3).json();
        (missing(&report["findings"], "out"), contents(&self.world.path("out")))
    }
}

const SMALL_BLOCKS: &[&str] = &["mkfs.ext4", "-q", "-F", "-m", "0", "-b", "1024"];
const XFS: &[&str] = &["mkfs.xfs", "-q", "-f", "-b", "size=1024"];

/// Damages several packs in several ways and holds three answers against each other and against the kernel: the files that a restore
/// names, the files that a copy names, and what the restored file system holds.
fn three_answers_agree(size: u64, mkfs: &[&str], catalog: &str) {
    let Some(scene) = Scene::new(size, mkfs, &["--catalog", catalog]) else { return };
    let packs = scene.content_packs();
    assert!(packs.len() > 8, "{} packs hold only content", packs.len());
    // A large file loses its first, third and fifth part, each in another way; whatever else is hit, the file with two names is.
    let (mut of_large, others): (Vec<_>, Vec<_>) = packs.into_iter().partition(|(_, named)| named.contains_key("/large"));
    of_large.sort_by_key(|(_, named)| named["/large"][0].0);
    fs::remove_file(&of_large[0].0).unwrap();
    OpenOptions::new().write(true).open(&of_large[2].0).unwrap().set_len(100_000).unwrap();
    damage(&of_large[4].0);
    for (number, (pack, named)) in others.iter().enumerate() {
        if number % 2 == 0 || named.contains_key("/deep/again") {
            damage(pack);
        }
    }
    let report = scene.restore();
    let files = &report["files"][0];
    assert_eq!(files["known_by"], if catalog == "auto" { "catalog" } else { "walk" }, "{files:#}");
    assert_eq!((files["doubt"].clone(), files["structure_bytes"].as_u64()), (Value::Null, Some(0)), "{files:#}");
    let named = missing(&files["findings"], "");
    exact(&scene.wanted, &scene.mounted("target"), &named);
    let (copied, found) = scene.copied();
    exact(&scene.wanted, &found, &copied);
    assert_eq!(named, copied);
    assert_eq!(named["/file-00"], named["/deep/again"], "a file has two names");
    assert!(named["/large"].len() > 1, "a file is hit in several places: {named:?}");
    let odd = |(offset, length): &(usize, usize)| offset % 4096 != 0 || length % 4096 != 0;
    assert!(named.values().flatten().any(odd), "some range is no multiple of 4096: {named:?}");
    let lost = named.keys().next().unwrap();
    let whole = scene.world.run(&["restore", "disk@latest", "--to", "another", "--degraded"]).exits(3);
    assert!(whole.err.contains(&format!("partial: {lost} (bytes ")) && whole.out.contains("see above"), "{whole:#?}");
    let cat = scene.world.command(&["cat", &format!("disk@latest:{lost}")]).output().unwrap();
    assert_eq!((cat.status.code(), cat.stdout.len()), (Some(3), named[lost][0].0), "cat ends where the first gap begins");
}

#[test]
fn files_that_lack_bytes_are_named_to_the_byte_by_the_catalog() {
    three_answers_agree(48 * MIB, SMALL_BLOCKS, "auto");
}

#[test]
fn files_that_lack_bytes_are_named_to_the_byte_by_a_walk() {
    three_answers_agree(48 * MIB, SMALL_BLOCKS, "off");
}

#[test]
fn the_same_holds_for_xfs() {
    three_answers_agree(320 * MIB, XFS, "auto");
}

#[test]
fn a_full_backup_heals_files_of_the_older_point_and_that_is_said() {
    let Some(scene) = Scene::new(48 * MIB, SMALL_BLOCKS, &[]) else { return };
    let packs = scene.content_packs();
    packs.iter().take(6).for_each(|(pack, _)| damage(pack));
    let (lost, _) = scene.copied();
    let old = scene.world.ids().remove(0);
    // An increment heals nothing. What is written now is lost in the old point.
    let image = scene.image.path();
    scene.world.backup(text(image), &["--volume", "disk", "--codec", "none"]).exits(0);
    assert_eq!(scene.copied().0, lost);
    // In the middle of a long range, so that no other file has a part in the chunk that changes.
    let ranges = lost.iter().flat_map(|(path, ranges)| ranges.iter().map(move |range| (path, *range)));
    let (changed, (offset, length)) = ranges.max_by_key(|(_, (_, length))| *length).unwrap();
    assert!(length > 80_000);
    let mounted = scene.image.mount("").unwrap();
    let file = OpenOptions::new().write(true).open(mounted.point().join(&changed[1..])).unwrap();
    file.write_all_at(&noise(1000, 55), (offset + length / 2) as u64).unwrap();
    file.sync_all().unwrap();
    drop((file, mounted));
    scene.world.backup(text(image), &["--volume", "disk", "--codec", "none", "--full"]).exits(0);
    let healer = scene.world.ids().pop().unwrap();

    let place = |path: &str| format!("{old}:{path}");
    let said = format!("came from point {}", &healer[..8]);
    for path in lost.keys().filter(|path| scene.wanted[*path] != scene.wanted[changed]) {
        let cat = scene.world.command(&["cat", &place(path)]).output().unwrap();
        assert_eq!(cat.status.code(), Some(0), "{path}");
        assert!(cat.stdout == scene.wanted[path] && String::from_utf8(cat.stderr).unwrap().contains(&said), "{path}");
        let run = scene.world.run(&["cp", &place(path), "healed", "--force", "--json"]).exits(0).says(&said);
        let found = &run.json()["found_elsewhere"];
        assert!(found["found_bytes"].as_u64().unwrap() > 0 && found["points"][0] == *healer, "{found:#}");
        assert!(fs::read(scene.world.path("healed")).unwrap() == scene.wanted[path], "{path}");
        fs::remove_file(scene.world.path("healed")).unwrap();
    }
    let report = scene.world.run(&["cp", &place("/"), "rest", "--partial", "--json"]).exits(3).says(&said).json();
    let left = missing(&report["findings"], "rest");
    // One file, but it may have two names.
    assert!(left.contains_key(changed) && left.keys().all(|path| scene.wanted[path] == scene.wanted[changed]), "{left:?}");
    exact(&scene.wanted, &contents(&scene.world.path("rest")), &left);
    let deep = scene.world.run(&["check", "--deep", "--json"]).exits(3).json();
    let of_old = deep["damage"].as_array().unwrap().iter().find(|damage| damage["point"] == *old).unwrap();
    let (all, held) = (of_old["lost_bytes"].as_u64().unwrap(), of_old["held_elsewhere_bytes"].as_u64().unwrap());
    assert!(held > 0 && held < all, "{held} of {all}");
    let words = scene.world.run(&["check", "--deep"]).exits(3).out;
    assert!(words.contains(&format!("of which other packs hold {held}:")) && words.contains("backup --full"), "{words}");
}

#[test]
fn another_volume_of_the_same_bytes_makes_a_restore_whole() {
    let Some(scene) = Scene::new(48 * MIB, SMALL_BLOCKS, &[]) else { return };
    for pack in scene.packs().into_iter().filter(|pack| fs::metadata(pack).unwrap().len() > 200_000) {
        damage(&pack);
    }
    scene.world.backup(text(scene.image.path()), &["--volume", "clone"]).exits(0);
    let run = scene.world.run(&["restore", "disk@latest", "--to", "whole", "--json"]).exits(0).says("came from point");
    assert!(fs::read(scene.world.path("whole")).unwrap() == fs::read(scene.image.path()).unwrap());
    let report = run.json();
    assert_eq!(report["found_elsewhere"]["points"][0], scene.world.ids()[1]);
    assert!(report["findings"].as_array().unwrap().is_empty() && report["files"].as_array().unwrap().is_empty());
    scene.world.run(&["ls", "-R", "disk@latest"]).exits(0);
}

#[test]
fn damage_in_free_space_is_harmless_and_in_structures_it_is_not() {
    let Some(scene) = Scene::new(48 * MIB, SMALL_BLOCKS, &[]) else { return };
    let (mut free_only, mut structures, mut inodes) = (0, 0, 0);
    for pack in scene.packs() {
        let whole = fs::read(&pack).unwrap();
        fs::remove_file(&pack).unwrap();
        drop(fs::remove_file(scene.world.path("target")));
        let run = scene.world.run(&["restore", "disk@latest", "--to", "target", "--degraded", "--json"]);
        drop(fs::remove_dir_all(scene.world.path("out")));
        let copy = scene.world.run(&["cp", "disk@latest:/", "out", "--partial", "--json"]);
        fs::write(&pack, whole).unwrap();
        if run.code == 0 {
            // A pack of the catalog.
            continue;
        }
        let report = run.exits(3).json();
        let files = &report["files"][0];
        let bytes = |name: &str| files[name].as_u64().unwrap();
        let lengths = report["findings"].as_array().unwrap().iter().map(|lost| lost["extent"]["length_bytes"].as_u64().unwrap());
        let others = bytes("structure_bytes") + bytes("free_bytes") + bytes("outside_bytes");
        assert!(others <= lengths.sum(), "a byte is said to be two things: {files:#}");
        let none_named = files["findings"].as_array().unwrap().is_empty();
        if none_named && bytes("structure_bytes") == 0 {
            assert!(bytes("free_bytes") > 0, "{files:#}");
            assert!(scene.mounted("target") == scene.wanted, "free space was said to be hit, and a file is");
            free_only += 1;
        }
        if bytes("structure_bytes") > 0 {
            structures += 1;
            // What cannot be opened at all still has a catalog.
            assert_eq!(files["known_by"], "catalog", "{files:#}");
        }
        let lost = paths(&files["findings"], "", "lost");
        if !lost.is_empty() {
            // All inodes of this small tree stand together, the root's too: a copy finds nothing, and the catalog knows all names.
            inodes += 1;
            assert!(scene.wanted.keys().all(|path| lost.contains(path)), "{lost:?}");
        }
        if copy.code == 3 && !copy.out.is_empty() {
            let mut copied = missing(&copy.json()["findings"], "out");
            copied.retain(|path, _| scene.wanted.contains_key(path));
            let named = missing(&files["findings"], "");
            assert!(copied.iter().all(|(path, ranges)| named.get(path) == Some(ranges)), "{copied:?} and {named:?}");
        }
    }
    assert!(free_only > 3 && structures > 0 && inodes > 0, "free space {free_only}, structures {structures}, inodes {inodes}");
}

#[test]
fn files_of_a_partition_are_named_with_its_number() {
    let Some(image) = filled(48 * MIB, SMALL_BLOCKS) else { return };
    let world = World::new();
    // A partition that begins at an odd sector, so that no block of it lies at a chunk's edge.
    let first = 63u32;
    let mut disk = vec![0; first as usize * 512];
    disk.extend(fs::read(image.path()).unwrap());
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk[446 + 4] = 0x83;
    disk[446 + 8..446 + 12].copy_from_slice(&first.to_le_bytes());
    disk[446 + 12..446 + 16].copy_from_slice(&((48 * MIB / 512) as u32).to_le_bytes());
    disk.extend(noise(300_000, 4));
    fs::write(world.path("whole"), &disk).unwrap();
    world.backup("whole", &["--volume", "disk", "--codec", "none"]).exits(0);
    let wanted = contents(image.mount("ro").unwrap().point());
    let mut compared = 0;
    for pack in files_below(&world.path("repository/packs")).into_iter().step_by(4) {
        let whole = fs::read(&pack).unwrap();
        damage(&pack);
        drop((fs::remove_file(world.path("target")), fs::remove_dir_all(world.path("out"))));
        let run = world.run(&["restore", "disk@latest", "--to", "target", "--degraded", "--json"]);
        let copy = world.run(&["cp", "disk@latest:/", "out", "--partition", "1", "--partial", "--json"]);
        fs::write(&pack, whole).unwrap();
        let report = if run.code == 3 { run.json() } else { continue };
        let Some(files) = report["files"].as_array().unwrap().iter().find(|files| files["partition"] == 1) else { continue };
        if files["structure_bytes"] == 0 && copy.code == 3 {
            let named = missing(&files["findings"], "");
            assert_eq!((files["known_by"].as_str(), &named), (Some("walk"), &missing(&copy.json()["findings"], "out")));
            exact(&wanted, &contents(&world.path("out")), &named);
            assert!(run.err.contains("partition 1: partial: /"), "{}", run.err);
            compared += 1;
        }
    }
    assert!(compared > 3, "{compared} packs hold content");
}
