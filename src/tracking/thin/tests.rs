//! The real tools on metadata that they made themselves, and names that tell snapshots apart.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::cut_name::CutName;
use super::delta::{Delta, Sides};
use super::device::{DeviceNumber, Pool, ThinDevice};
use super::dump::{Dump, DumpedDevice};
use super::error::ThinError;
use super::program::{PATH, Program, Runner};
use crate::base::cancel::Cancel;
use crate::base::clock::SystemClock;
use crate::base::extent::{Extent, ExtentSet};
use crate::testkit;
use crate::testkit::dice::{Dice, each_seed};

const BLOCK_BYTES: u64 = 64 << 10;

/// Which block lies where, and since when.
type Mapping = BTreeMap<u64, (u64, u64)>;

fn random(dice: &Dice) -> Mapping {
    let runs = (0..dice.below(20)).flat_map(|_| {
        let (at, data, time) = (dice.below(300), dice.below(4) * 1000, dice.below(4));
        (0..=dice.below(9)).map(move |index| (at + index, (data + at + index, time))).collect::<Vec<_>>()
    });
    runs.collect()
}

fn xml(devices: &[&Mapping]) -> String {
    let mut text =
        r#"<superblock uuid="" time="9" transaction="5" version="2" data_block_size="128" nr_data_blocks="9000">"#.to_owned();
    for (id, mapping) in devices.iter().enumerate() {
        let blocks = mapping.len();
        let made = format!(r#"mapped_blocks="{blocks}" transaction="4" creation_time="3" snap_time="3""#);
        writeln!(text, r#"<device dev_id="{id}" {made}>"#).unwrap();
        for (at, (data, time)) in *mapping {
            writeln!(text, r#"<single_mapping origin_block="{at}" data_block="{data}" time="{time}"/>"#).unwrap();
        }
        text.push_str("</device>\n");
    }
    text + "</superblock>\n"
}

/// Metadata in a file, as a pool would have them.
struct Metadata {
    folder: TempDir,
}

impl Metadata {
    fn of(devices: &[&Mapping]) -> Option<Self> {
        let made = Self { folder: TempDir::new().unwrap() };
        fs::write(made.folder.path().join("xml"), xml(devices)).unwrap();
        File::create(made.path()).unwrap().set_len(1 << 20).unwrap();
        let mut restore = Command::new("thin_restore");
        restore.env("PATH", PATH).arg("-i").arg(made.folder.path().join("xml")).arg("-o").arg(made.path());
        match restore.output() {
            Ok(output) => assert!(output.status.success(), "{output:?}"),
            Err(error) => {
                testkit::skip(&format!("thin_restore: {error}"));
                return None;
            }
        }
        Some(made)
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("metadata")
    }

    fn run(&self, program: Program, arguments: &[&str], each: impl FnMut(&str) -> Result<(), ThinError>) -> Result<(), ThinError> {
        let (clock, cancel) = (SystemClock::new(), Cancel::new());
        let path = self.path();
        let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).chain([path.as_os_str()]).collect();
        Runner { clock: &clock, cancel: &cancel }.lines(program, &arguments, each)
    }

    fn dump(&self, id: u64) -> Option<DumpedDevice> {
        let mut dump = Dump::of(id);
        self.run(Program::ThinDump, &["--dev-id", &id.to_string()], |line| dump.line(line)).unwrap();
        dump.end().unwrap()
    }

    fn delta(&self, left: &DumpedDevice, right: &DumpedDevice) -> ExtentSet {
        let (left_blocks, right_blocks) = (left.mapped_blocks, right.mapped_blocks);
        let mut delta =
            Delta::between(Sides { left: left.id, right: right.id, left_blocks, right_blocks, block_bytes: BLOCK_BYTES });
        let arguments = ["--snap1", &left.id.to_string(), "--snap2", &right.id.to_string()];
        self.run(Program::ThinDelta, &arguments, |line| delta.line(line)).unwrap();
        delta.end().unwrap()
    }
}

fn differing(left: &Mapping, right: &Mapping) -> ExtentSet {
    let at = |mapping: &Mapping, block: &u64| mapping.get(block).map(|(data, _)| *data);
    let blocks = left.keys().chain(right.keys()).filter(|block| at(left, block) != at(right, block));
    blocks.map(|block| Extent::new(block * BLOCK_BYTES, BLOCK_BYTES)).collect()
}

#[test]
fn the_real_tools_say_what_a_plain_model_says() {
    each_seed(0..12, |seed| {
        let dice = Dice::new(seed);
        let (left, right) = (random(&dice), random(&dice));
        let Some(metadata) = Metadata::of(&[&left, &right]) else { return };
        let dumped = [0, 1].map(|id| metadata.dump(id).unwrap());
        for (dumped, mapping) in dumped.iter().zip([&left, &right]) {
            assert_eq!((dumped.mapped_blocks, dumped.made, dumped.transaction), (mapping.len() as u64, 3, 4), "seed {seed}");
            assert_eq!(dumped.is_unwritten, mapping.values().all(|(_, time)| *time < 3), "seed {seed}");
        }
        assert_eq!(metadata.delta(&dumped[0], &dumped[1]), differing(&left, &right), "seed {seed}");
        assert_eq!(dumped[0].mapping == dumped[1].mapping, left == right, "seed {seed}");
        assert_eq!(metadata.dump(7), None);
    });
}

#[test]
fn a_tool_that_finds_nothing_to_read_is_heard() {
    let Some(metadata) = Metadata::of(&[]) else { return };
    let said = |arguments: &[&str]| metadata.run(Program::ThinDump, arguments, |_| Ok(())).unwrap_err().to_string();
    assert!(said(&["--metadata-snap"]).contains("thin_dump failed: no current metadata snap"), "{}", said(&["--metadata-snap"]));
}

fn device(uuid: Option<&str>, has_external_origin: bool) -> ThinDevice {
    let number = DeviceNumber::parse("253:1").unwrap();
    let (name, uuid, metadata) = ("pool".to_owned(), uuid.map(str::to_owned), Path::new("/dev/null").to_path_buf());
    ThinDevice { pool: Pool { number, name, uuid, metadata, block_bytes: BLOCK_BYTES }, id: 7, has_external_origin }
}

fn dumped() -> DumpedDevice {
    let mapping = "abc".to_owned();
    DumpedDevice { id: 7, block_bytes: BLOCK_BYTES, mapped_blocks: 5, transaction: 1, made: 3, is_unwritten: true, mapping }
}

#[test]
fn the_name_of_a_cut_comes_back_whatever_the_pool_is_called() {
    for uuid in ["LVM-abc-tpool", "with spaces", "a=b id=3"] {
        let name = CutName::of(&device(Some(uuid), false), &dumped()).unwrap();
        assert_eq!(CutName::parse(&name.to_string()), Some(name));
    }
    for text in
        ["", "thin-snapshot-2 id=1", "thin-snapshot-1 id=x transaction=1 made=1 mapping=a pool=p", "thin-snapshot-1 id=1 made=1"]
    {
        assert_eq!(CutName::parse(text), None, "{text}");
    }
}

#[test]
fn only_an_unwritten_snapshot_of_a_pool_with_an_identity_has_a_name() {
    let why = |device: &ThinDevice, dumped: &DumpedDevice| CutName::of(device, dumped).unwrap_err();
    assert!(why(&device(None, false), &dumped()).contains("--setuuid"));
    assert!(why(&device(Some("p"), true), &dumped()).contains("outside of the pool"));
    assert!(
        why(&device(Some("p"), false), &DumpedDevice { is_unwritten: false, ..dumped() }).contains("written to after it was made")
    );
}

#[test]
fn whatever_became_of_the_base_is_said() {
    let (here, base) = (device(Some("p"), false), CutName::of(&device(Some("p"), false), &dumped()).unwrap());
    assert!(base.check(Some(&dumped()), &here).is_ok());
    for (now, words) in [
        (None, "was deleted; keep it"),
        (Some(DumpedDevice { made: 4, ..dumped() }), "its number given to another"),
        (Some(DumpedDevice { transaction: 2, ..dumped() }), "its number given to another"),
        (Some(DumpedDevice { mapping: "abd".to_owned(), ..dumped() }), "was written to since"),
        (Some(DumpedDevice { is_unwritten: false, ..dumped() }), "was written to since"),
    ] {
        let said = base.check(now.as_ref(), &here).unwrap_err().to_string();
        assert!(said.contains(words), "{said}");
    }
    for pool in [device(Some("q"), false), device(None, false)] {
        assert!(base.check(Some(&dumped()), &pool).unwrap_err().to_string().contains("another pool"));
    }
}
