//! `docs/json.md` and what `--json` prints have exactly the same fields.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use icecore::testkit::crash_image::shell;
use icecore::testkit::image::Image;
use rustix::fs::{XattrFlags, lsetxattr};
use serde_json::Value;

use crate::csi;
use crate::files::ext4;
use crate::live;
use crate::salvaged::content_of;
use crate::track;
use crate::world::{World, change, damage, files_below, noise};

/// The documented fields of each schema, as paths: `points[].unreadable[].offset_bytes`.
struct Documented(BTreeMap<String, Vec<String>>);

impl Documented {
    fn read() -> Self {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/json.md")).unwrap();
        let mut sections: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut section = String::new();
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("### ") {
                section = name.to_owned();
            } else if let Some(field) = line.strip_prefix("- ") {
                sections.entry(section.clone()).or_default().push(field.to_owned());
            }
        }
        Self(sections)
    }

    fn paths(&self, section: &str) -> BTreeSet<String> {
        let fields = self.0.get(section).unwrap_or_else(|| panic!("docs/json.md has no section {section}"));
        fields.iter().flat_map(|field| self.expand(field)).collect()
    }

    /// A field, and those of the shape that its line links to.
    fn expand(&self, field: &str) -> Vec<String> {
        let name = field.split('`').nth(1).unwrap();
        let shape = field.split("see [").nth(1).and_then(|rest| rest.split(']').next());
        let below = shape.into_iter().flat_map(|shape| self.paths(shape)).map(|path| format!("{name}.{path}"));
        [name.to_owned()].into_iter().chain(below).collect()
    }

    /// Fails unless the fields of `value` are the documented ones; what lies below nothing may be missing. Returns what was seen.
    #[track_caller]
    fn check(&self, value: &Value) -> (String, BTreeSet<String>) {
        let schema = value["schema"].as_str().unwrap().to_owned();
        let mut documented = self.paths(&schema);
        documented.insert("schema".to_owned());
        let (mut seen, mut empty) = (BTreeSet::new(), BTreeSet::new());
        walk(value, "", &mut seen, &mut empty);
        let unknown: Vec<_> = seen.difference(&documented).collect();
        assert!(unknown.is_empty(), "{schema} prints fields that docs/json.md does not know: {unknown:?}");
        let below_nothing = |path: &&String| empty.iter().any(|empty: &String| path.starts_with(&format!("{empty}.")));
        let missing: Vec<_> = documented.difference(&seen).filter(|path| !below_nothing(path)).collect();
        assert!(missing.is_empty(), "{schema} lacks documented fields: {missing:?} in {value:#}");
        (schema, seen)
    }
}

fn walk(value: &Value, path: &str, seen: &mut BTreeSet<String>, empty: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                let path = if field.is_array() { path + "[]" } else { path };
                seen.insert(path.clone());
                walk(field, &path, seen, empty);
            }
        }
        Value::Array(elements) if elements.is_empty() => drop(empty.insert(path.to_owned())),
        Value::Array(elements) => elements.iter().for_each(|element| walk(element, path, seen, empty)),
        Value::Null => drop(empty.insert(path.to_owned())),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Runs every command once in a way that fills as many fields as it can.
fn every_output() -> Vec<Value> {
    let mut world = World::empty();
    world.set("ICECORE_NEW_PASSPHRASE", "something to remember");
    let mut outputs = Vec::new();
    let mut run = |world: &World, arguments: &[&str], code: i32| {
        let value = world.run(&[arguments, &["--json"]].concat()).exits(code).json();
        outputs.push(value.clone());
        value
    };
    run(&world, &["init", "--pack-size", "256KiB"], 0);
    let image = world.image("disk", 4 << 20, 1);
    run(&world, &["backup", "disk"], 0);
    fs::write(world.path("list"), "0 4194304\n").unwrap();
    run(&world, &["backup", "disk", "--changed", "list"], 0);
    run(&world, &["forget", &world.ids()[0]], 0);
    change(&image, 0, &noise(2 << 20, 2));
    fs::write(world.path("list"), "0 4096\n").unwrap();
    run(&world, &["backup", "disk", "--changed", "list"], 3);
    run(&world, &["forget", "pin", "latest", "--note", "why"], 0);
    run(&world, &["points"], 0);
    run(&world, &["points", "show", "latest"], 0);
    let ids = world.ids();
    run(&world, &["diff", &ids[0], &ids[1]], 0);
    run(&world, &["find", "*", "--cache-dir", "cache"], 0);
    run(&world, &["history", "disk:/etc/passwd", "--cache-dir", "cache"], 0);
    run(&world, &["restore", "latest", "--to", "target"], 0);
    run(&world, &["check"], 0);
    run(&world, &["key", "list"], 0);
    let slot = run(&world, &["key", "add", "--passphrase"], 0)["slot"]["id"].as_str().unwrap().to_owned();
    run(&world, &["key", "remove", &slot], 0);
    run(&world, &["key", "rotate"], 0);
    run(&world, &["key", "export"], 0);
    run(&world, &["doctor", "disk"], 0);
    run(&world, &["forget", "--keep-last", "1", "--dry-run"], 0);
    run(&world, &["prune"], 0);
    fs::create_dir(world.path("tree")).unwrap();
    fs::write(world.path("tree/file"), "x").unwrap();
    run(&world, &["backup", "--files", "tree"], 0);
    run(&world, &["points", "show", "latest"], 0);
    outputs
}

/// What only a damaged repository prints.
fn damaged_output() -> Vec<Value> {
    let world = World::new();
    world.image("disk", 1 << 20, 1);
    for volume in ["a", "b"] {
        world.backup("disk", &["--volume", volume]).exits(0);
        world.backup("disk", &["--volume", volume]).exits(0);
    }
    let first = world.ids().swap_remove(0);
    let points = files_below(&world.path("repository/points"));
    let name_of_first = |path: &&PathBuf| path.file_name().unwrap().to_str().unwrap().ends_with(&first);
    fs::remove_file(points.iter().find(name_of_first).unwrap()).unwrap();
    for pack in files_below(&world.path("repository/packs")) {
        damage(&pack);
    }
    let listed = world.run(&["check", "--deep", "--json"]).exits(3).json();
    let scrubbed = world.run(&["check", "--keyless", "--json"]).exits(3).json();
    let point = files_below(&world.path("repository/points")).swap_remove(0);
    damage(&point);
    vec![listed, scrubbed, world.run(&["points", "--json"]).exits(3).json()]
}

/// What commands on files print, and what they print when a pack is damaged.
fn file_outputs() -> Option<Vec<Value>> {
    let image = ext4(32 << 20, |mount| {
        fs::write(mount.join("file"), noise(2 << 20, 1)).unwrap();
        fs::write(mount.join("other"), noise(2 << 20, 2)).unwrap();
        xattr(&mount.join("file"));
    })?;
    let world = World::new();
    world.backup(image.path().to_str().unwrap(), &["--volume", "disk"]).exits(0);
    let json = |arguments: &[&str], code: i32| world.run(&[arguments, &["--json"]].concat()).exits(code).json();
    let mut outputs = vec![json(&["ls", "disk@latest"], 0), json(&["stat", "disk@latest:/file"], 0)];
    outputs.push(json(&["diff", "disk@latest:/file", "disk@latest:/other"], 0));
    shell(image.mount("").unwrap().point(), "mv file renamed; rm other; touch third").unwrap();
    world.backup(image.path().to_str().unwrap(), &["--volume", "disk"]).exits(0);
    let ids = world.ids();
    outputs.push(json(&["find", "*", "--all", "--cache-dir", "cache"], 0));
    outputs.push(json(&["history", "disk:/file", "--cache-dir", "cache"], 0));
    outputs.push(json(&["diff", &ids[0], &ids[1], "--files", "--cache-dir", "cache"], 0));
    for pack in files_below(&world.path("repository/packs")) {
        let whole = fs::read(&pack).unwrap();
        damage(&pack);
        drop(fs::remove_dir_all(world.path("out")));
        let run = world.run(&["cp", "disk@latest:/", "out", "--partial", "--json"]);
        fs::write(pack, whole).unwrap();
        outputs.extend((run.code == 3 && !run.out.is_empty()).then(|| run.json()));
    }
    outputs.extend(salvage_outputs(&world, &image));
    Some(outputs)
}

/// What is said of a volume that ends too early, and written beside a file that lacks bytes.
fn salvage_outputs(world: &World, image: &Image) -> Vec<Value> {
    let source = image.path().to_str().unwrap();
    let end = content_of(image.path(), b"/renamed") + (1 << 20);
    fs::File::options().write(true).open(image.path()).unwrap().set_len(end).unwrap();
    let json = |arguments: &[&str]| world.run(&[arguments, &["--json"]].concat()).exits(3).json();
    let outputs =
        vec![json(&["salvage", source, "--to", "salvaged"]), json(&["salvage", source, "--list"]), json(&["check-volume", source])];
    let is_list = |path: &&PathBuf| path.extension().is_some_and(|ending| ending == "json");
    let list = files_below(&world.path("salvaged")).iter().find(is_list).map(|path| fs::read(path).unwrap());
    outputs.into_iter().chain(list.map(|list| serde_json::from_slice(&list).unwrap())).collect()
}

fn xattr(path: &Path) {
    lsetxattr(path, "user.note", b"x", XattrFlags::empty()).unwrap();
}

#[test]
fn every_json_output_has_exactly_the_documented_fields_and_no_schema_is_left_out() {
    let documented = Documented::read();
    let mut seen: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let (Some(of_files), Some(of_tracking)) = (file_outputs(), track::outputs()) else { return };
    for value in every_output()
        .into_iter()
        .chain(damaged_output())
        .chain(of_files)
        .chain(of_tracking)
        .chain(csi::outputs())
        .chain(live::output())
    {
        let (schema, paths) = documented.check(&value);
        seen.entry(schema).or_default().extend(paths);
    }
    let schemas: BTreeSet<_> = documented.0.keys().filter(|name| name.starts_with("icecore.")).cloned().collect();
    assert_eq!(seen.keys().cloned().collect::<BTreeSet<_>>(), schemas);
    let check = &seen["icecore.check.v1"];
    assert!(check.contains("damage[].extents[].offset_bytes") && check.contains("chain_breaks[].missing"), "{check:?}");
    for (schema, path) in [
        ("icecore.find.v1", "files[].file.size_bytes"),
        ("icecore.history.v1", "versions[].file.modified"),
        ("icecore.diff.v1", "files[].old.mode"),
        ("icecore.diff.v1", "files[].new.mode"),
        ("icecore.backup.v1", "point.passed_over[].reason"),
    ] {
        assert!(seen[schema].contains(path), "{schema} was not seen with {path}");
    }
    assert!(seen["icecore.cp.v1"].contains("findings[].missing[].offset_bytes"));
    assert!(seen["icecore.points.v1"].contains("damaged[].reason"));
    assert!(
        seen["icecore.find.v1"].contains("files[].file.changed") && seen["icecore.history.v1"].contains("versions[].file.changed")
    );
}
