//! `backup --files` from outside: one point of files, and every command that works on it.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;

use icecore::testkit;
use nix::unistd::geteuid;

use crate::tree_facts::{Exactness, facts, same};
use crate::world::{Run, World, damage, files_below, noise};

const PLAIN: Exactness = Exactness { holes: false, sockets: true };

/// A world with a tree of a few things in it.
fn world() -> (World, PathBuf) {
    let mut world = World::new();
    world.set("ICECORE_CACHE_DIR", &world.text("cache"));
    let tree = world.path("tree");
    fs::create_dir_all(tree.join("etc/deep")).unwrap();
    fs::write(tree.join("etc/passwd"), "root").unwrap();
    fs::write(tree.join("etc/deep/long"), noise(300_000, 1)).unwrap();
    fs::hard_link(tree.join("etc/passwd"), tree.join("second name")).unwrap();
    symlink("passwd", tree.join("etc/link")).unwrap();
    fs::write(tree.join(OsStr::from_bytes(b"hostile \xff\n\x1b[2J")), "name").unwrap();
    (world, tree)
}

fn backup(world: &World, more: &[&str]) -> Run {
    world.run(&[&["backup", "--files", "tree", "--pace", "full"], more].concat())
}

#[test]
fn a_tree_goes_in_and_every_command_finds_it_again() {
    let (world, tree) = world();
    let run = backup(&world, &["--json"]).exits(0);
    let report = run.json();
    assert_eq!(report["schema"], "icecore.backup_files.v1");
    assert_eq!((&report["read_files"], &report["findings"]), (&3.into(), &serde_json::json!([])));
    assert_eq!(report["point"]["file_tree"]["inodes"], 7);
    assert_eq!(report["point"]["size_bytes"], 300_008);
    assert_eq!(report["catalog"]["state"], "made");
    assert!(world.run(&["ls", "tree@latest:/etc"]).exits(0).out.contains("passwd"));
    assert_eq!(world.run(&["cat", "tree@latest:/second name"]).exits(0).out, "root");
    assert!(world.run(&["stat", "tree@latest:/etc/deep/long"]).exits(0).out.contains("300000 bytes"));
    assert!(world.run(&["find", "passwd"]).exits(0).out.contains("/etc/passwd"));
    assert!(world.run(&["points"]).exits(0).out.contains("live, files"));
    assert!(world.run(&["points", "show", "latest"]).exits(0).out.contains("7 inodes"));
    world.run(&["check", "--deep"]).exits(0);
    world.run(&["cp", "tree@latest:/", &world.text("out")]).exits(0);
    same(&facts(&tree, PLAIN), &facts(&world.path("out"), PLAIN));
    fs::write(tree.join("etc/passwd"), "root and more").unwrap();
    backup(&world, &[]).exits(0);
    let ids = world.ids();
    let diff = world.run(&["diff", &ids[0], &ids[1], "--files"]).exits(0).out;
    assert!(diff.contains("/etc/passwd") && !diff.contains("long"), "{diff}");
    let history = world.run(&["history", "tree:/etc/passwd"]).exits(0).out;
    assert_eq!(history.lines().count(), 2, "{history}");
}

#[test]
fn a_tree_is_restored_to_a_folder_with_all_its_rights_and_to_nothing_else() {
    let (world, tree) = world();
    fs::set_permissions(tree.join("etc/passwd"), Permissions::from_mode(0o4755)).unwrap();
    backup(&world, &[]).exits(0);
    world.run(&["restore", "latest", "--to", &world.text("out")]).exits(0);
    same(&facts(&tree, PLAIN), &facts(&world.path("out"), PLAIN));
    fs::write(world.path("disk.img"), "").unwrap();
    world.run(&["restore", "latest", "--to", &world.text("disk.img")]).exits(2).says("name a directory");
    world.run(&["restore", "latest", "--to", &world.text("new"), "--verify"]).exits(2).says("for devices");
}

#[test]
fn a_volume_stays_what_it_is() {
    let (world, _) = world();
    backup(&world, &[]).exits(0);
    world.image("tree.img", 100_000, 1);
    world.backup("tree.img", &["--volume", "tree"]).exits(2).says("holds a tree of files");
    world.backup("tree.img", &[]).exits(0);
    backup(&world, &["--volume", "tree.img"]).exits(2).says("holds the blocks of a device");
    world.run(&["backup", "--files", "tree.img"]).exits(2).says("is no directory");
    world.run(&["backup", "--files", "nowhere"]).exits(1).says("cannot look at nowhere");
    world.run(&["backup", "--files", "tree", "tree.img"]).exits(2);
    world.run(&["backup"]).exits(2);
    world.run(&["backup", "tree.img", "--rehash"]).exits(2);
}

#[test]
fn what_may_not_be_read_is_named_and_the_rest_is_kept() {
    if !geteuid().is_root() {
        return testkit::skip("only root can become somebody else");
    }
    let world = World::empty();
    fs::set_permissions(world.path("."), Permissions::from_mode(0o777)).unwrap();
    let tree = world.path("tree");
    fs::create_dir_all(tree.join("closed")).unwrap();
    for name in ["open", "secret", "closed/inside"] {
        fs::write(tree.join(name), name).unwrap();
    }
    fs::set_permissions(tree.join("secret"), Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(tree.join("closed"), Permissions::from_mode(0o700)).unwrap();
    let run = |arguments: &[&str]| {
        let output = world.command(arguments).uid(65534).gid(65534).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    // The binary may lie where nobody else may look.
    let Ok(Some(0)) =
        world.command(&["--version"]).uid(65534).gid(65534).stdout(Stdio::null()).status().map(|status| status.code())
    else {
        return println!("skipped: the binary cannot be run by somebody else");
    };
    assert_eq!(run(&["init"]).0, 0);
    let (code, out, err) = run(&["backup", "--files", "tree", "--json"]);
    assert_eq!(code, 3, "{err}");
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    let mut named: Vec<_> =
        report["findings"].as_array().unwrap().iter().map(|f| (f["path"].as_str().unwrap(), f["kind"].as_str().unwrap())).collect();
    named.sort_unstable();
    assert_eq!(named, [("closed", "unreadable"), ("secret", "unreadable")]);
    assert!(err.contains("secret") && err.contains("closed"), "{err}");
    assert_eq!(run(&["cat", "latest:/open"]).1, "open");
    let (code, _, err) = run(&["cp", "latest:/", "out"]);
    assert_eq!(code, 3, "what was not read is not taken for empty: {err}");
    assert!(err.contains("out/secret") && err.contains("out/closed"), "{err}");
    // Once it may be read, it is.
    fs::set_permissions(tree.join("secret"), Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(tree.join("closed"), Permissions::from_mode(0o755)).unwrap();
    assert_eq!(run(&["backup", "--files", "tree"]).0, 0);
    assert_eq!(run(&["cat", "latest:/closed/inside"]).1, "closed/inside");
}

#[test]
fn a_killed_run_leaves_nothing_and_the_next_one_is_whole() {
    let (world, tree) = world();
    backup(&world, &[]).exits(0);
    for number in 0..400u64 {
        fs::write(tree.join(format!("many-{number}")), noise(50_000, number)).unwrap();
    }
    let packs = || files_below(&world.path("repository/packs")).len();
    let before = packs();
    let mut child = world.command(&["backup", "--files", "tree", "--pace", "full"]).stderr(Stdio::null()).spawn().unwrap();
    while packs() < before + 5 && child.try_wait().unwrap().is_none() {
        thread::yield_now();
    }
    child.kill().unwrap();
    let killed = child.wait().unwrap().code().is_none();
    assert_eq!(world.ids().len(), if killed { 1 } else { 2 });
    backup(&world, &[]).exits(0);
    world.run(&["check", "--deep"]).exits(0);
    world.run(&["restore", "latest", "--to", &world.text("out")]).exits(0);
    same(&facts(&tree, PLAIN), &facts(&world.path("out"), PLAIN));
}

#[test]
fn a_tree_survives_prune_and_damage_of_it_is_named_by_file() {
    let (world, tree) = world();
    backup(&world, &[]).exits(0);
    let packs = || files_below(&world.path("repository/packs"));
    let older = packs();
    fs::remove_file(tree.join("etc/deep/long")).unwrap();
    fs::write(tree.join("kept"), noise(900_000, 3)).unwrap();
    backup(&world, &[]).exits(0);
    let ids = world.ids();
    world.run(&["forget", &ids[0]]).exits(0);
    world.run(&["prune"]).exits(0);
    world.run(&["check", "--deep"]).exits(0);
    world.run(&["restore", "latest", "--to", &world.text("out")]).exits(0);
    same(&facts(&tree, PLAIN), &facts(&world.path("out"), PLAIN));
    let largest = |path: &Path| fs::metadata(path).unwrap().len();
    // A pack of the first point may be kept for four bytes that it shares with what is gone.
    let pack = packs().into_iter().filter(|path| !older.contains(path)).max_by_key(|path| largest(path)).unwrap();
    damage(&pack);
    world.run(&["check", "--deep"]).exits(3);
    let run = world.run(&["restore", "latest", "--to", &world.text("again")]).exits(3);
    assert!(run.err.contains("kept"), "{run:?}");
    assert_eq!(fs::read_to_string(world.path("again/etc/passwd")).unwrap(), "root");
    // The next point does not build on what is lost.
    backup(&world, &["--full"]).exits(0);
    world.run(&["restore", "latest", "--to", &world.text("third")]).exits(0);
    same(&facts(&tree, PLAIN), &facts(&world.path("third"), PLAIN));
}
