//! Requests that cannot or must not be carried out: each with its exit code and a word on what to do.

use std::fs;
use std::fs::File;
use std::io;
use std::process::Stdio;

use crate::world::{World, noise};

#[test]
fn wrong_usage_exits_with_two() {
    let world = World::new();
    world.image("disk", 10_000, 1);
    for arguments in [
        &["frobnicate"][..],
        &["backup"],
        &["backup", "disk", "--chunk", "huge"],
        &["backup", "disk", "--chunk", "5000"],
        &["backup", "disk", "--codec", "gzip"],
        &["backup", "disk", "--volume", "a@b"],
        &["backup", "disk", "--limit", "0"],
        &["backup", "/", "--volume", "root"],
        &["backup", "."],
        &["init", "elsewhere", "--chunk", "3KiB"],
        &["init", "elsewhere", "--pack-size", "1GiB"],
        &["points", "show", "a@tomorrow"],
        &["forget"],
        &["forget", "latest", "--keep-last", "1"],
        &["forget", "--keep-last", "0"],
        &["forget", "--keep-within", "soon"],
        &["prune", "--now", "--wait", "1h"],
        &["check", "--deep", "--keyless"],
        &["key", "add"],
    ] {
        let run = world.run(arguments);
        assert_eq!(run.code, 2, "{arguments:?}: {run:?}");
        assert!(!run.err.is_empty() && run.out.is_empty(), "{arguments:?}: {run:?}");
    }
    assert!(!world.path("elsewhere").exists());
}

#[test]
fn a_repository_must_be_named_and_be_there() {
    let mut world = World::empty();
    world.image("disk", 10_000, 1);
    world.image("file", 10_000, 1);
    fs::create_dir(world.path("folder")).unwrap();
    fs::write(world.path("key"), "00".repeat(32)).unwrap();
    for arguments in [&["points"][..], &["backup", "disk"], &["check", "--keyless"], &["prune"]] {
        world.run(arguments).exits(5).says("icecore init");
        world.run(&[arguments, &["--repo", "folder"]].concat()).exits(5).says("icecore init");
    }
    assert_ne!(world.run(&["points", "--repo", "file"]).code, 0);
    world.unset("ICECORE_REPO");
    world.run(&["points"]).exits(2).says("--repo");
    world.run(&["init"]).exits(2).says("ICECORE_REPO");
}

#[test]
fn a_missing_source_or_point_is_named() {
    let world = World::new();
    let missing = world.backup("absent", &[]).exits(1);
    assert_eq!(missing.err, "icecore: cannot open absent: No such file or directory (os error 2)\n");
    world.run(&["points", "show", "latest"]).exits(5).says("no recovery point matches");
    world.run(&["restore", "00", "--to", "x"]).exits(5).says("no recovery point matches");
    assert!(!world.path("x").exists());
    world.run(&["forget", "--volume", "db", "--keep-last", "1"]).exits(5);
}

#[test]
fn a_place_that_holds_a_repository_is_not_made_one_again() {
    let world = World::new();
    world.run(&["init"]).exits(2).says("already holds");
    let mut another = world;
    let path = another.text("second-key");
    another.set("ICECORE_KEY_FILE", &path);
    let run = another.run(&["init"]).exits(2).says("stays where it is");
    assert!(another.path("second-key").exists(), "{run:?}");
}

#[test]
fn a_target_with_data_is_left_alone() {
    let world = World::new();
    world.image("disk", 100_000, 1);
    world.backup("disk", &[]).exits(0);
    world.image("precious", 5_000, 2);
    world.run(&["restore", "latest", "--to", "precious"]).exits(2).says("holds data at byte 0");
    assert!(fs::read(world.path("precious")).unwrap() == noise(5_000, 2));
    assert_ne!(world.run(&["restore", "latest", "--to", "."]).code, 0);
    assert_ne!(world.run(&["restore", "latest", "--to", "/dev/icecore-no-such-device"]).code, 0);
    assert_ne!(world.run(&["restore", "latest", "--to", "/dev/null"]).code, 0);
}

#[test]
fn a_volume_keeps_its_chunk_size() {
    let world = World::new();
    world.image("disk", 100_000, 1);
    world.backup("disk", &["--chunk", "32KiB"]).exits(0);
    world.backup("disk", &["--chunk", "16KiB"]).exits(2).says("leave --chunk out");
    world.backup("disk", &[]).exits(0);
}

#[test]
fn a_reader_that_goes_away_is_no_failure_and_a_full_disk_is() {
    let world = World::new();
    world.image("disk", 100_000, 1);
    world.backup("disk", &[]).exits(0);
    for arguments in [&["points"][..], &["man"], &["completions", "zsh"], &["--help"]] {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let output = world.command(arguments).stdout(writer).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]), "{arguments:?}");
    }
    let full = || File::options().write(true).open("/dev/full").unwrap();
    assert_eq!(world.command(&["points"]).stdout(full()).status().unwrap().code(), Some(1));
}
