//! Init, backup, change, backup, diff, restore, compare: on images of every awkward size.

use std::fs;

use crate::world::{World, change, noise};

#[test]
fn images_of_any_size_come_back_byte_for_byte() {
    let world = World::new();
    for (seed, size) in [0, 1, 511, 513, 16_384, 65_537, 3_000_001].into_iter().enumerate() {
        let (name, seed) = (format!("image-{size}"), seed as u64);
        let image = world.image(&name, size, seed);
        world.backup(&name, &[]).exits(0);
        let before = noise(size, seed);
        let mut after = before.clone();
        let part = size / 3..size / 2;
        after[part.clone()].fill(0xee);
        change(&image, part.start as u64, &after[part]);
        world.backup(&name, &[]).exits(0);
        world.expect(&format!("{name}@latest"), &after);
        let ids = world.run(&["points", "--volume", &name, "--json"]).exits(0).json();
        world.expect(ids["points"][0]["id"].as_str().unwrap(), &before);
    }
}

#[test]
fn a_diff_lists_the_chunks_that_differ_and_says_so_beside() {
    let world = World::new();
    let image = world.image("disk", 1 << 20, 1);
    world.backup("disk", &[]).exits(0);
    change(&image, 100_000, b"changed");
    change(&image, (1 << 20) - 1, &[7]);
    world.backup("disk", &[]).exits(0);
    let ids = world.ids();
    let diff = world.run(&["diff", &ids[0][..8], "latest"]).exits(0).says("2 ranges with 32.0 KiB of 1.0 MiB");
    assert_eq!(diff.out, "98304 16384\n1032192 16384\n");
    assert_eq!(world.run(&["diff", &ids[0], &ids[0]]).exits(0).out, "");
}

#[test]
fn a_second_backup_of_the_same_stores_almost_nothing() {
    let world = World::new();
    world.image("disk", 4 << 20, 2);
    let first = world.backup("disk", &["--json"]).exits(0).json();
    assert_eq!(first["point"]["new_bytes"], 4 << 20);
    let second = world.backup("disk", &["--json"]).exits(0).json();
    assert_eq!(second["point"]["new_bytes"], 0);
    assert_eq!(second["point"]["data_stored_bytes"], 0);
    assert_eq!(second["point"]["change_source"], "compare");
    assert_eq!(second["point"]["previous"], first["point"]["id"]);
    let full = world.backup("disk", &["--full", "--json"]).exits(0).json();
    assert_eq!(full["point"]["new_bytes"], 4 << 20, "--full stores everything again");
}

#[test]
fn every_codec_chunk_size_engine_and_pace_gives_the_same_bytes_back() {
    let world = World::new();
    world.image("disk", 700_000, 3);
    for (number, options) in [
        ["--codec", "lz4", "--chunk", "4KiB", "--engine", "pread"],
        ["--codec", "none", "--chunk", "1MiB", "--engine", "auto"],
        ["--codec", "zstd:9", "--chunk", "64KiB", "--pace", "gentle"],
        ["--workers", "1", "--limit", "50MiB/s", "--engine", "auto"],
    ]
    .into_iter()
    .enumerate()
    {
        let volume = format!("volume-{number}");
        world.run(&[&["backup", "disk", "--volume", &volume], options.as_slice()].concat()).exits(0);
        world.expect(&format!("{volume}@latest"), &noise(700_000, 3));
    }
}

#[test]
fn a_restore_of_differences_writes_only_those() {
    let world = World::new();
    let image = world.image("disk", 2 << 20, 4);
    world.backup("disk", &[]).exits(0);
    change(&image, 1 << 20, &[1; 10_000]);
    let again = world.run(&["restore", "latest", "--to", "disk", "--only-differences"]).exits(2);
    assert!(again.err.contains("--force") && again.err.contains("--only-differences needs that, too"), "{again:?}");
    let restored = ["restore", "latest", "--to", "disk", "--only-differences", "--force", "--verify", "--json"];
    let report = world.run(&restored).exits(0).json();
    assert_eq!(report["written_bytes"], 16_384);
    assert_eq!(report["same_bytes"], (2 << 20) - 16_384);
    assert!(fs::read(&image).unwrap() == noise(2 << 20, 4));
}

#[test]
fn a_forced_restore_zeroes_what_the_point_has_as_holes() {
    let world = World::new();
    let mut holes = noise(1 << 20, 5);
    holes[200_000..900_000].fill(0);
    fs::write(world.path("disk"), &holes).unwrap();
    world.backup("disk", &[]).exits(0);
    for more in [&["--force"][..], &["--force", "--verify"], &["--force", "--only-differences"]] {
        fs::write(world.path("target"), vec![0xff; 3 << 20]).unwrap();
        world.run(&[&["restore", "latest", "--to", "target"], more].concat()).exits(0);
        assert!(fs::read(world.path("target")).unwrap() == holes, "{more:?}");
    }
}

#[test]
fn the_demo_runs_cleans_up_and_asks_for_nothing() {
    let mut world = World::empty();
    world.variables.clear();
    fs::create_dir(world.path("tmp")).unwrap();
    let temporary = world.text("tmp");
    world.set("TMPDIR", &temporary);
    let demo = world.run(&["demo"]).exits(0);
    assert!(demo.out.contains("byte for byte"), "{demo:?}");
    assert_eq!(fs::read_dir(world.path("tmp")).unwrap().count(), 0, "the demo left something behind");
}
