//! Damaged repositories: found, named to the byte, gone around on request.

use std::fs;

use crate::world::{World, damage, files_below, noise};

fn with_damaged_packs(seed: u64) -> World {
    let world = World::new();
    world.image("disk", 2 << 20, seed);
    world.backup("disk", &["--codec", "none"]).exits(0);
    let mut packs = files_below(&world.path("repository/packs"));
    packs.sort_by_key(|path| fs::metadata(path).unwrap().len());
    damage(packs.last().unwrap());
    world
}

#[test]
fn a_sound_repository_passes_every_check() {
    let world = World::new();
    world.image("disk", 1 << 20, 1);
    world.backup("disk", &[]).exits(0);
    for depth in [&[][..], &["--quick"], &["--deep"], &["--keyless"]] {
        world.run(&[&["check"], depth].concat()).exits(0);
    }
    let mut keyless = world;
    keyless.unset("ICECORE_KEY_FILE");
    keyless.run(&["check", "--keyless"]).exits(0);
    keyless.run(&["check"]).exits(4);
}

#[test]
fn damage_is_named_to_the_byte_and_gone_around_on_request() {
    let world = with_damaged_packs(2);
    world.run(&["check", "--keyless"]).exits(3);
    let deep = world.run(&["check", "--deep", "--json"]).exits(3).json();
    let extents = deep["damage"][0]["extents"].as_array().unwrap();
    assert_eq!((deep["clean"].as_bool(), extents.len()), (Some(false), 1), "{deep}");
    let place = |name: &str| usize::try_from(extents[0][name].as_u64().unwrap()).unwrap();
    let (offset, length) = (place("offset_bytes"), place("length_bytes"));
    let words = world.run(&["check", "--deep"]).exits(3).out;
    assert!(words.contains(&format!("bytes {offset}+{length}")), "{words}");

    world.run(&["restore", "latest", "--to", "whole"]).exits(3).says("--degraded");
    let degraded = world.run(&["restore", "latest", "--to", "rest", "--degraded", "--json"]).exits(3);
    assert_eq!(degraded.json()["findings"][0]["kind"], "damaged");
    assert!(degraded.err.contains(&format!("not restored: bytes {offset}+{length}")), "{degraded:?}");
    let mut wanted = noise(2 << 20, 2);
    wanted[offset..offset + length].fill(0);
    assert!(fs::read(world.path("rest")).unwrap() == wanted);
}

#[test]
fn a_full_backup_stores_a_damaged_volume_anew() {
    let world = with_damaged_packs(3);
    world.backup("disk", &["--full"]).exits(0);
    world.expect("latest", &noise(2 << 20, 3));
    let broken = world.ids().swap_remove(0);
    world.run(&["forget", &broken]).exits(0);
    world.run(&["prune", "--now"]).exits(0);
    world.run(&["check", "--deep"]).exits(0);
}

#[test]
fn a_missing_pack_is_found_without_reading_chunks() {
    let world = World::new();
    world.image("disk", 1 << 20, 4);
    world.backup("disk", &[]).exits(0);
    fs::remove_file(&files_below(&world.path("repository/packs"))[0]).unwrap();
    world.run(&["check"]).exits(3);
}

#[test]
fn a_damaged_point_is_listed_with_its_error_and_the_others_are_there() {
    let world = World::new();
    world.image("disk", 10_000, 5);
    world.backup("disk", &["--volume", "a"]).exits(0);
    world.backup("disk", &["--volume", "b"]).exits(0);
    damage(&files_below(&world.path("repository/points"))[0]);
    let listed = world.run(&["points", "--json"]).exits(3);
    assert_eq!(listed.json()["points"].as_array().unwrap().len(), 1);
    assert!(listed.json()["damaged"][0]["object"].as_str().unwrap().starts_with("points/"));
    world.run(&["points"]).exits(3).says("is damaged");
    world.run(&["prune"]).exits(3).says("nothing can be collected");
    world.expect("latest", &noise(10_000, 5));
}
