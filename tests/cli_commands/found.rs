//! Files found by name in every point, and the versions of each, held against the kernel's mount of the same volume.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use icecore::testkit;
use icecore::testkit::crash_image::{Shutdown, shell, shut_down};
use icecore::testkit::dice::Dice;
use icecore::testkit::image::{Image, Mounted};
use icecore::testkit::tree::populate;
use serde_json::Value;

use crate::found_facts::{Facts, File, changes_between, found, found_by, listed, same_files, shown};
use crate::tree_changes::{change, sync};
use crate::world::World;

const MIB: u64 = 1 << 20;
const ROUNDS: u64 = 8;
/// Paths of which the history is asked, beside those that changed most often.
const HISTORIES: usize = 24;

/// What a round does to the file system before it is backed up.
#[derive(Clone, Copy)]
struct Round {
    number: u64,
    crash: Option<Shutdown>,
    listed: bool,
}

impl Round {
    fn of(number: u64) -> Self {
        let crash = match number % 6 {
            2 => Some(Shutdown::WithLog),
            3 => Some(Shutdown::WithoutLog),
            5 => Some(Shutdown::WithEverything),
            _ => None,
        };
        Self { number, crash, listed: number % 2 == 1 }
    }
}

/// A file system that lives, crashes and is backed up as it lies on disk, to one repository by increments and to another in full.
struct Scene {
    image: Image,
    increments: World,
    in_full: World,
    /// What the kernel showed of each point.
    points: Vec<(String, BTreeMap<Vec<u8>, Facts>)>,
    inodes: u64,
}

impl Scene {
    fn new(size: u64, mkfs: &[&str]) -> Option<Self> {
        let made = Image::make(size, mkfs[0], &mkfs[1..]).and_then(|image| {
            populate(image.mount("")?.point(), 7)?;
            Ok(image)
        });
        let image = made.inspect_err(|error| testkit::skip(&error.to_string())).ok()?;
        Some(Self { image, increments: World::new(), in_full: World::new(), points: Vec::new(), inodes: 0 })
    }

    /// Changes the file system through the kernel and leaves its bytes in the image `now`.
    fn live(&self, round: Round) -> io::Result<()> {
        let (living, now) = (self.image.path(), self.increments.path("now"));
        if now.exists() {
            fs::rename(&now, self.increments.path("before"))?;
        }
        let folder = self.increments.path("mounted");
        fs::create_dir_all(&folder)?;
        let copy = format!("cp --sparse=always '{}' '{}'", living.display(), now.display());
        let mounted = Mounted::new(living, folder.clone(), "")?;
        if round.number > 0 {
            change(&folder, round.number);
        }
        if let Some(shutdown) = round.crash {
            sync(&folder);
            change(&folder, round.number + 100);
            shut_down(&folder, shutdown)?;
            // Unmounting would write what the crash kept back.
            shell(Path::new("/"), &copy)?;
            drop(mounted);
            return shell(Path::new("/"), &format!("cp --sparse=always '{}' '{}'", now.display(), living.display()));
        }
        drop(mounted);
        shell(Path::new("/"), &copy)
    }

    fn backup(&mut self, round: Round) -> Value {
        let mut more = vec!["--volume", "disk", "--json"];
        let list = self.increments.text("list");
        if round.listed {
            let (before, now) = (self.increments.path("before"), self.increments.path("now"));
            fs::write(&list, changes_between(&before, &now)).unwrap();
            more.extend(["--changed", &list]);
        }
        let now = self.increments.text("now");
        let report = self.increments.backup(&now, &more).exits(0).json();
        assert_eq!(report["catalog"]["state"], "made", "{report:#}");
        assert_eq!(report["catalog"]["anew"], round.number == 0, "round {}: {report:#}", round.number);
        assert_eq!(report["point"]["catalog"]["left_out"], 0, "{report:#}");
        self.inodes = report["point"]["catalog"]["inodes"].as_u64().unwrap();
        let full = self.in_full.backup(&now, &["--volume", "disk", "--json", "--full"]).exits(0).json();
        assert_eq!(full["catalog"]["anew"], true, "{full:#}");
        report
    }

    /// The kernel, the catalog, the volume itself and a catalog made anew agree.
    fn agree(&mut self, round: Round) {
        let theirs = shown(self.image.mount("").unwrap().point());
        let ours = found(&self.increments, &["--point", "latest"]);
        same_files(&format!("round {}: find", round.number), &theirs, &ours);
        same_files(&format!("round {}: ls", round.number), &theirs, &listed(&self.increments, "disk@latest"));
        assert!(ours == found(&self.in_full, &["--point", "latest"]), "round {}: a catalog made anew differs", round.number);
        self.points.push((self.increments.ids().pop().unwrap(), theirs));
    }

    fn run(&mut self) {
        for round in (0..ROUNDS).map(Round::of) {
            self.live(round).unwrap();
            self.backup(round);
            self.agree(round);
        }
        self.every_point_still_agrees();
        self.a_new_index_says_the_same();
        self.parts_of_names_lead_to_all_that_hold_them();
        self.histories();
        self.increments.run(&["check", "--deep"]).exits(0);
    }

    fn every_point_still_agrees(&self) {
        for (id, theirs) in &self.points {
            same_files(&format!("point {id}"), theirs, &found(&self.increments, &["--point", id]));
        }
    }

    fn a_new_index_says_the_same(&self) {
        let all = |more: &[&str]| {
            let arguments = [&["find", "*", "--all", "--json", "--cache-dir", "index"], more].concat();
            self.increments.run(&arguments).exits(0).json()
        };
        let grown = all(&[]);
        assert!(grown["files"].as_array().unwrap().len() > 1000 && grown["all"] == true);
        assert!(grown == all(&["--rebuild-index"]), "an index made anew differs");
    }

    /// However long a part is, and however short the names are.
    fn parts_of_names_lead_to_all_that_hold_them(&self) {
        let (_, theirs) = self.points.last().unwrap();
        for part in ["1", "12", "a", "L", "st", "3-", "wid", "to 1", "ünï"] {
            let holds = |path: &&Vec<u8>| {
                let name = path.rsplit(|byte| *byte == b'/').next().unwrap();
                name.windows(part.len()).any(|piece| piece == part.as_bytes())
            };
            let wanted: Vec<_> = theirs.keys().filter(holds).cloned().collect();
            let found: Vec<_> = found_by(&self.increments, part, &["--point", "latest"]).into_keys().collect();
            assert!(found == wanted, "{part:?}: {} found, {} wanted", found.len(), wanted.len());
        }
    }

    /// `history` tells exactly the versions that the kernel showed, for paths that changed and some that did not.
    fn histories(&self) {
        let every: BTreeSet<&Vec<u8>> = self.points.iter().flat_map(|(_, files)| files.keys()).collect();
        let mut by_versions: Vec<_> = every.into_iter().map(|path| (self.versions(path).len(), path)).collect();
        by_versions.sort_by(|a, b| b.cmp(a));
        let odd = by_versions.iter().filter(|(versions, path)| *versions > 1 && !path.is_ascii()).take(HISTORIES / 4);
        let dice = Dice::new(1);
        let any = (0..HISTORIES / 4).map(|_| &by_versions[dice.index(by_versions.len())]);
        for (_, path) in by_versions.iter().take(HISTORIES / 2).chain(odd).chain(any) {
            let place = [b"disk:", path.as_slice()].concat();
            let mut command = self.increments.command(&["history", "--json", "--cache-dir", "index"]);
            let output = command.arg(OsStr::from_bytes(&place)).output().unwrap();
            let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
            let told: Vec<(Option<File>, Vec<String>)> = told["versions"].as_array().unwrap().iter().map(version).collect();
            assert_eq!(told, self.versions(path), "{}", String::from_utf8_lossy(path));
        }
    }

    fn versions(&self, path: &[u8]) -> Vec<(Option<File>, Vec<String>)> {
        let mut versions: Vec<(Option<&Facts>, Vec<String>)> = Vec::new();
        for (point, files) in &self.points {
            let now = files.get(path);
            match versions.last_mut() {
                Some((last, points)) if *last == now => points.push(point.clone()),
                _ => versions.push((now, vec![point.clone()])),
            }
        }
        versions.into_iter().map(|(facts, points)| (facts.map(|facts| facts.file.clone()), points)).collect()
    }
}

fn version(value: &Value) -> (Option<File>, Vec<String>) {
    let points = value["points"].as_array().unwrap().iter().map(|point| point.as_str().unwrap().to_owned());
    assert_eq!(value["present"], !value["file"].is_null());
    (value["present"].as_bool().unwrap().then(|| File::of(&value["file"])), points.collect())
}

fn run(size: u64, mkfs: &[&str]) {
    if let Some(mut scene) = Scene::new(size, mkfs) {
        scene.run();
    }
}

#[test]
fn every_point_of_an_ext4_volume_is_found_as_the_kernel_shows_it() {
    run(96 * MIB, &["mkfs.ext4", "-q", "-F", "-m", "0", "-b", "4096"]);
}

#[test]
fn every_point_of_an_ext4_volume_with_fast_commits_is_found_as_the_kernel_shows_it() {
    run(96 * MIB, &["mkfs.ext4", "-q", "-F", "-m", "0", "-b", "1024", "-O", "fast_commit"]);
}

#[test]
fn every_point_of_an_ext3_volume_is_found_as_the_kernel_shows_it() {
    run(96 * MIB, &["mkfs.ext3", "-q", "-F", "-m", "0", "-I", "256"]);
}

#[test]
fn every_point_of_an_xfs_volume_is_found_as_the_kernel_shows_it() {
    run(320 * MIB, &["mkfs.xfs", "-q", "-f"]);
}

/// One file grows among 8,000, and at most one inode in twenty is read for the catalog.
fn one_changed_file(size: u64, mkfs: &[&str]) {
    let made = Image::make(size, mkfs[0], &mkfs[1..]).and_then(|image| {
        let mounted = image.mount("")?;
        shell(mounted.point(), "for d in $(seq 80); do mkdir $d; (cd $d; touch $(seq 100)); done")?;
        drop(mounted);
        Ok(image)
    });
    let Some(image) = made.inspect_err(|error| testkit::skip(&error.to_string())).ok() else { return };
    let world = World::new();
    let backup = || world.backup(image.path().to_str().unwrap(), &["--volume", "disk", "--json"]).exits(0).json();
    let first = backup();
    shell(image.mount("").unwrap().point(), "echo more >> 40/50").unwrap();
    let second = backup();
    let inodes = second["point"]["catalog"]["inodes"].as_u64().unwrap();
    let parsed = second["catalog"]["parsed_inodes"].as_u64().unwrap();
    println!("{parsed} of {inodes} inodes parsed");
    assert_eq!((first["catalog"]["parsed_inodes"].as_u64(), inodes >= 8_081), (Some(inodes), true));
    let off = world.backup(image.path().to_str().unwrap(), &["--volume", "disk", "--json", "--catalog", "off"]).exits(0).json();
    assert_eq!((&off["catalog"]["state"], &off["point"]["catalog"]), (&"off".into(), &Value::Null));
    assert!((1..inodes / 20).contains(&parsed), "{parsed} of {inodes} inodes parsed");
}

#[test]
fn one_changed_file_of_an_ext4_volume_costs_its_neighbours_only() {
    one_changed_file(96 * MIB, &["mkfs.ext4", "-q", "-F", "-N", "10000"]);
}

#[test]
fn one_changed_file_of_an_xfs_volume_costs_its_neighbours_only() {
    one_changed_file(320 * MIB, &["mkfs.xfs", "-q", "-f"]);
}
