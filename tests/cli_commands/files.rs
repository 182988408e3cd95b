//! Files out of points, images and devices, held against the kernel's mount of the same volume.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use icecore::testkit;
use icecore::testkit::image::{Image, unmount};
use icecore::testkit::loop_device::LoopDevice;
use icecore::testkit::tree::populate;
use serde_json::Value;

use crate::tree_facts::{Exactness, facts, same};
use crate::world::{World, change, damage, files_below, noise};

const MIB: u64 = 1 << 20;
const EXACT: Exactness = Exactness { holes: true, sockets: true };

/// An ext4 image that `fill` has filled; `None` says why there is none.
pub fn ext4(size: u64, fill: impl FnOnce(&Path)) -> Option<Image> {
    let made = Image::make(size, "mkfs.ext4", &["-q", "-F", "-m", "0", "-b", "4096"]).and_then(|image| {
        let mounted = image.mount("")?;
        fill(mounted.point());
        drop(mounted);
        Ok(image)
    });
    made.inspect_err(|error| testkit::skip(&error.to_string())).ok()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_tree_out_of_a_point_an_image_or_a_device_is_what_the_kernel_shows() {
    let Some(image) = ext4(96 * MIB, |mount| populate(mount, 5).unwrap()) else { return };
    let world = World::new();
    world.backup(text(image.path()), &["--volume", "disk"]).exits(0);
    let theirs = facts(image.mount("ro").unwrap().point(), EXACT);
    assert!(theirs.len() > 2000, "{} paths", theirs.len());
    let device = LoopDevice::attach(image.path()).unwrap();
    for place in ["disk@latest", text(image.path()), text(device.path())] {
        let target = ext4(128 * MIB, |_| {}).unwrap();
        let mounted = target.mount("").unwrap();
        let to = mounted.point().join("out");
        let run = world.run(&["cp", place, text(&to), "--devices", "--setuid", "--json"]).exits(0);
        let report = run.json();
        assert_eq!(report["findings"].as_array().unwrap().len(), 0, "{run:#?}");
        assert_eq!(report["source"]["data_verified"], place == "disk@latest");
        same(&theirs, &facts(&to, EXACT));
    }
}

#[test]
fn an_archive_holds_what_the_kernel_shows() {
    let Some(image) = ext4(96 * MIB, |mount| populate(mount, 6).unwrap()) else { return };
    let world = World::new();
    let exactness = Exactness { holes: false, sockets: false };
    let theirs = facts(image.mount("ro").unwrap().point(), exactness);
    let target = ext4(160 * MIB, |_| {}).unwrap();
    let mounted = target.mount("").unwrap();
    fs::create_dir(mounted.point().join("out")).unwrap();
    let archive = world.command(&["cp", text(image.path()), "--to", "tar", "--devices", "--setuid"]).stdout(Stdio::piped()).spawn();
    let mut archive = archive.unwrap();
    let mut tar = Command::new("tar");
    tar.args(["-x", "-p", "--sparse", "--xattrs", "--xattrs-include=*", "--warning=no-timestamp", "-C"]);
    let unpacked = tar.arg(mounted.point().join("out")).stdin(archive.stdout.take().unwrap()).output().unwrap();
    assert_eq!(archive.wait().unwrap().code(), Some(0));
    assert!(unpacked.status.success(), "{}", String::from_utf8_lossy(&unpacked.stderr));
    same(&theirs, &facts(&mounted.point().join("out"), exactness));
}

#[test]
fn one_large_file_out_of_a_point_fetches_little_else() {
    let content = noise(10 << 20, 9);
    let filled = ext4(128 * MIB, |mount| {
        fs::write(mount.join("before"), noise(30 << 20, 1)).unwrap();
        fs::create_dir_all(mount.join("a/b")).unwrap();
        fs::write(mount.join("a/b/wanted"), noise(10 << 20, 9)).unwrap();
        fs::write(mount.join("after"), noise(30 << 20, 2)).unwrap();
    });
    let Some(image) = filled else { return };
    let world = World::new();
    world.backup(text(image.path()), &["--volume", "disk"]).exits(0);
    let report = world.run(&["cp", "disk@latest:/a/b/wanted", "out", "--json"]).exits(0).json();
    assert!(fs::read(world.path("out")).unwrap() == content);
    let fetched = report["fetched_bytes"].as_u64().unwrap();
    println!("fetched {fetched} bytes for a file of {}", content.len());
    assert!((10 << 20..12 << 20).contains(&fetched), "{fetched} bytes fetched");
    let cat = world.command(&["cat", "disk@latest:/a/b/wanted"]).output().unwrap();
    assert!(cat.status.success() && cat.stdout == content);
    // A reader that goes away is no failure.
    let mut cat = world.command(&["cat", "disk@latest:/before"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(cat.stdout.take());
    let ended = cat.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), ended.stderr), (Some(0), Vec::new()));
}

#[test]
fn listings_show_every_path_and_nothing_that_a_terminal_obeys() {
    let filled = ext4(32 * MIB, |mount| {
        fs::create_dir(mount.join("etc")).unwrap();
        fs::write(mount.join("etc/hosts"), "localhost").unwrap();
        fs::write(mount.join("etc/\u{1b}[2J\nred"), "").unwrap();
        symlink("/etc/hosts", mount.join("etc/link")).unwrap();
    });
    let Some(image) = filled else { return };
    let world = World::new();
    let image = text(image.path());
    let listed = world.run(&["ls", &format!("{image}:/etc")]).exits(0).out;
    assert_eq!(listed, "\\x1b[2J\\nred\nhosts\nlink\n");
    let tree = world.run(&["ls", "-R", image]).exits(0).out;
    assert_eq!(tree, "etc\netc/\\x1b[2J\\nred\netc/hosts\netc/link\nlost+found\n");
    let long = world.run(&["ls", "-l", &format!("{image}:/etc/link")]).exits(0).out;
    assert!(long.starts_with("lrwxrwxrwx   1     0     0           10 2") && long.ends_with("Z link -> /etc/hosts\n"), "{long}");
    let json = world.run(&["ls", "--json", &format!("{image}:/etc")]).exits(0).json();
    assert_eq!(json["entries"][0]["name"], "\u{1b}[2J\nred");
    assert_eq!(json["entries"][1]["size_bytes"], 9);
    assert_eq!(json["entries"][2]["target"], "/etc/hosts");
    assert!(world.run(&["cat", &format!("{image}:/etc/link")]).exits(2).err.contains("regular file"));
    assert_eq!(world.run(&["cat", "-L", &format!("{image}:/etc/link")]).exits(0).out, "localhost");
    let facts = world.run(&["stat", &format!("{image}:/etc/hosts")]).exits(0).out;
    for words in ["-rw-r--r-- (0644)", "size       9 bytes", "1 extent with 9 bytes", "data unverified", "in         ext4"] {
        assert!(facts.contains(words), "{words:?} in\n{facts}");
    }
}

#[test]
fn a_partition_of_a_disk_is_chosen_by_its_number() {
    let Some(image) = ext4(16 * MIB, |mount| fs::write(mount.join("file"), "inside").unwrap()) else { return };
    let world = World::new();
    let disk = fs::File::create(world.path("disk")).unwrap();
    // A partition table of one entry: Linux, from 1 MiB on.
    let mut table = [0; 512];
    table[446 + 4] = 0x83;
    table[446 + 8..446 + 12].copy_from_slice(&2048u32.to_le_bytes());
    table[446 + 12..446 + 16].copy_from_slice(&((16 * MIB / 512) as u32).to_le_bytes());
    table[510..].copy_from_slice(&[0x55, 0xaa]);
    disk.write_all_at(&table, 0).unwrap();
    disk.write_all_at(&fs::read(image.path()).unwrap(), MIB).unwrap();
    world.run(&["ls", "disk"]).exits(1).says("--partition 1");
    assert_eq!(world.run(&["cat", "disk:/file", "--partition", "1"]).exits(0).out, "inside");
    world.run(&["ls", "disk", "--partition", "2"]).exits(5);
    let advice = "it is a disk with partitions (1): back up the device of a partition, such as /dev/sda1, to find its files";
    let told = world.backup("disk", &["--volume", "whole"]).exits(0).out;
    assert!(told.contains(&format!("files: no catalog: {advice}\n")), "{told}");
    let report = world.backup("disk", &["--volume", "whole", "--json"]).exits(0).json();
    assert_eq!((&report["catalog"]["state"], &report["catalog"]["reason"]), (&"none".into(), &advice.into()));
    assert_eq!(world.run(&["cat", "whole@latest:/file", "--partition", "1"]).exits(0).out, "inside");
}

#[test]
fn requests_that_cannot_be_met_say_so_and_change_nothing() {
    let Some(image) = ext4(16 * MIB, |mount| fs::write(mount.join("file"), "new").unwrap()) else { return };
    let world = World::new();
    let place = format!("{}:/file", text(image.path()));
    fs::write(world.path("old"), "old").unwrap();
    fs::create_dir(world.path("folder")).unwrap();
    world.run(&["cp", &place, "old"]).exits(2).says("--force");
    assert_eq!(fs::read(world.path("old")).unwrap(), b"old");
    world.run(&["cp", &place, "old", "--force"]).exits(0);
    assert_eq!(fs::read(world.path("old")).unwrap(), b"new");
    world.run(&["cp", &place, "folder"]).exits(0);
    world.run(&["cp", &place, "folder"]).exits(3).says("something is there already");
    assert_eq!(fs::read(world.path("folder/file")).unwrap(), b"new");
    world.run(&["cp", text(image.path()), "old"]).exits(2).says("choose a new name");
    world.run(&["cp", &place, "missing/name"]).exits(1).says("name a directory that exists");
    world.run(&["cp", &place, "--to", "tar:old"]).exits(2).says("--force");
    world.run(&["cp", &place, "--to", "zip"]).exits(2).says("--to takes tar");
    world.run(&["cp", &place]).exits(2);
    world.run(&["cp", &place, "--to", "tar", "--json"]).exits(2).says("cannot both go to standard output");
    world.run(&["ls", &format!("{}:/none", text(image.path()))]).exits(5).says("no such file: /none");
    world.run(&["ls", "absent@latest"]).exits(5);
    world.run(&["ls", "./absent"]).exits(1);
    world.run(&["ls", "old"]).exits(1).says("no known file system");
    let mut world = world;
    world.unset("ICECORE_REPO");
    world.run(&["ls", "absent@latest"]).exits(2).says("of which repository?");
    assert_eq!(world.run(&["cat", &place]).exits(0).out, "new", "an image needs no repository");
}

#[test]
fn a_mounted_device_is_read_only_when_live() {
    let Some(image) = ext4(16 * MIB, |mount| fs::write(mount.join("file"), "1").unwrap()) else { return };
    let world = World::new();
    let device = LoopDevice::attach(image.path()).unwrap();
    let point = world.path("mounted");
    fs::create_dir(&point).unwrap();
    let run = |program: &str, arguments: &[&str]| Command::new(program).args(arguments).status().is_ok_and(|s| s.success());
    assert!(run("mount", &[text(device.path()), text(&point)]));
    let refused = world.run(&["ls", text(device.path())]);
    let live = world.run(&["ls", text(device.path()), "--live", "--json"]);
    unmount(&point).unwrap();
    refused.exits(2).says("--live");
    assert_eq!(live.says("may be mixed").exits(0).json()["source"]["live"], true);
}

#[test]
fn damage_costs_the_files_that_it_hits_and_they_are_named() {
    let filled = ext4(64 * MIB, |mount| {
        for number in 0..40 {
            fs::write(mount.join(format!("file-{number:02}")), noise(700_000, number)).unwrap();
        }
    });
    let Some(image) = filled else { return };
    let world = World::new();
    world.backup(text(image.path()), &["--volume", "disk"]).exits(0);
    // A pack that holds nothing but content of files.
    let packs = files_below(&world.path("repository/packs"));
    let mut hit = None;
    for pack in &packs {
        let whole = fs::read(pack).unwrap();
        damage(pack);
        let run = world.run(&["cp", "disk@latest:/", "out", "--json"]);
        let lost: Vec<String> = match run.code {
            3 if !run.out.is_empty() => {
                let report = run.json();
                let findings = report["findings"].as_array().unwrap();
                findings.iter().map(|finding| finding["path"].as_str().unwrap().to_owned()).collect()
            }
            _ => Vec::new(),
        };
        let left: Vec<u64> = (0..40).filter(|number| world.path(&format!("out/file-{number:02}")).exists()).collect();
        for number in &left {
            let found = fs::read(world.path(&format!("out/file-{number:02}"))).unwrap();
            assert!(found == noise(700_000, *number), "file {number} came back wrong");
        }
        if run.code == 3 && !lost.is_empty() && !left.is_empty() {
            assert_eq!(lost.len() + left.len(), 40, "every file is there, or named: {lost:?}");
            hit = Some(lost);
            break;
        }
        drop(fs::remove_dir_all(world.path("out")));
        fs::write(pack, whole).unwrap();
    }
    let lost = hit.expect("some pack holds content");
    let partial = world.run(&["cp", "disk@latest:/", "partial", "--partial", "--json"]).exits(3).json();
    let finding = &partial["findings"][0];
    assert_eq!(
        (finding["kind"].as_str().unwrap(), finding["path"].as_str().unwrap()),
        ("partial", lost[0].replace("out/", "partial/").as_str())
    );
    let path = world.path(&lost[0].replace("out/", "partial/"));
    let (found, wanted) = (fs::read(&path).unwrap(), noise(700_000, lost[0]["out/file-".len()..].parse().unwrap()));
    let mut missing = vec![false; wanted.len()];
    for extent in finding["missing"].as_array().unwrap() {
        let (offset, length) =
            (extent["offset_bytes"].as_u64().unwrap() as usize, extent["length_bytes"].as_u64().unwrap() as usize);
        missing[offset..offset + length].fill(true);
    }
    assert!(found.len() == wanted.len() && missing.contains(&true) && missing.contains(&false));
    assert!((0..wanted.len()).all(|at| found[at] == if missing[at] { 0 } else { wanted[at] }));
    assert!(fs::metadata(&path).unwrap().blocks() * 512 < 700_000, "missing bytes are holes");
    let cat = world.command(&["cat", &lost[0].replace("out/", "disk@latest:/")]).output().unwrap();
    assert_eq!(cat.status.code(), Some(3));
    assert!(wanted.starts_with(&cat.stdout), "what was written before the gap is right");
}

#[test]
fn a_journal_that_cannot_be_applied_is_said_with_every_answer() {
    let Some(image) = ext4(32 * MIB, |mount| fs::write(mount.join("file"), "1").unwrap()) else { return };
    let world = World::new();
    // A journal that must be replayed, with a superblock that is none: `needs_recovery` is set, and the journal's magic is gone.
    let path = image.path();
    let mut feature = [0; 4];
    fs::File::open(path).unwrap().read_exact_at(&mut feature, 1024 + 0x60).unwrap();
    let done = Command::new("debugfs").args(["-w", "-R", "feature needs_recovery"]).arg(path).output();
    if !done.is_ok_and(|output| output.status.success()) {
        return testkit::skip("debugfs is not there");
    }
    let blocks = Command::new("debugfs").args(["-R", "blocks <8>"]).arg(path).output().unwrap();
    let first: u64 = String::from_utf8(blocks.stdout).unwrap().split_whitespace().next().unwrap().parse().unwrap();
    change(path, first * 4096, &[0; 4]);
    let run = world.run(&["ls", text(path), "--json"]);
    if run.code == 1 {
        // Refusing the volume is no lie either.
        return;
    }
    let run = run.exits(3).says("may be older");
    assert_eq!(run.json()["source"]["view"], "stale");
    let run = world.run(&["diff", text(path), text(path), "--json"]).exits(3);
    assert_eq!(run.json()["new_source"]["view"], "stale");
}

/// Each listed file but for its name and link target, by its path in hexadecimal.
fn by_path(list: &Value, shape: impl Fn(&Value) -> (&Value, &Value)) -> BTreeMap<String, Value> {
    let digits = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    let one = |element: &Value| {
        let (path, file) = shape(element);
        let path = path.as_str().map_or_else(|| path["bytes_hex"].as_str().unwrap().to_owned(), digits);
        let mut file = file.clone();
        file.as_object_mut().unwrap().retain(|field, _| field != "name" && field != "target");
        (path.trim_start_matches("2f").to_owned(), file)
    };
    list.as_array().unwrap().iter().map(one).collect()
}

#[test]
fn a_catalog_says_of_every_file_what_the_file_system_says() {
    let Some(image) = ext4(96 * MIB, |mount| populate(mount, 9).unwrap()) else { return };
    let world = World::new();
    world.backup(text(image.path()), &["--volume", "disk"]).exits(0);
    let listed = world.run(&["ls", "-R", "disk@latest", "--json"]).exits(0).json();
    let found = world.run(&["find", "*", "--limit", "100000", "--cache-dir", "cache", "--json"]).exits(0).json();
    let listed = by_path(&listed["entries"], |entry| (&entry["name"], entry));
    let mut found = by_path(&found["files"], |found| (&found["path"], &found["file"]));
    found.remove("");
    let kinds: BTreeSet<_> = listed.values().map(|file| file["kind"].as_str().unwrap()).collect();
    let words = ["block_device", "character_device", "directory", "fifo", "file", "socket", "symlink"];
    assert!(kinds.into_iter().eq(words));
    assert!(listed.len() > 2000);
    assert!(listed == found, "{:?}", listed.iter().find(|(path, file)| found.get(*path) != Some(file)));
}
