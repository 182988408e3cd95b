//! Change lists: believed when they are right, caught when they are wrong.

use std::fs;

use crate::world::{World, change, noise};

#[test]
fn a_true_change_list_saves_the_reading() {
    let world = World::new();
    let image = world.image("disk", 16 << 20, 1);
    world.backup("disk", &[]).exits(0);
    change(&image, 5_000_000, &noise(1000, 2));
    fs::write(world.path("list"), "# by hand\n5000000 1000\n").unwrap();
    let report = world.backup("disk", &["--changed", "list", "--audit-share", "0.2", "--json"]).exits(0).json();
    assert_eq!(report["point"]["change_source"], "list");
    assert_eq!(report["point"]["listed_bytes"], 1000);
    assert!(report["point"]["sampled_chunks"].as_u64().unwrap() > 10, "{report}");
    assert!(report["point"]["read_bytes"].as_u64().unwrap() < 2 << 20, "{report}");
    world.expect("latest", &fs::read(&image).unwrap());
}

#[test]
fn what_diff_prints_is_a_change_list() {
    let world = World::new();
    let image = world.image("disk", 2 << 20, 1);
    world.backup("disk", &[]).exits(0);
    change(&image, 300_000, &noise(50_000, 9));
    world.backup("disk", &[]).exits(0);
    let ids = world.ids();
    fs::write(world.path("list"), world.run(&["diff", &ids[0], &ids[1]]).exits(0).out).unwrap();
    fs::write(&image, noise(2 << 20, 1)).unwrap();
    world.backup("disk", &["--changed", "list"]).exits(0);
    world.expect("latest", &noise(2 << 20, 1));
}

#[test]
fn a_lying_change_list_is_caught_said_once_and_does_no_harm() {
    let world = World::new();
    let image = world.image("disk", 8 << 20, 1);
    world.backup("disk", &[]).exits(0);
    change(&image, 0, &noise(4 << 20, 3));
    fs::write(world.path("list"), "0 4096\n").unwrap();
    let told = world.backup("disk", &["--changed", "list"]).exits(3).says("changed although it was said that it did not");
    assert!(told.out.contains("incident"), "{told:?}");
    world.expect("latest", &fs::read(&image).unwrap());
    assert!(world.run(&["points"]).exits(0).out.contains("incident"));
    let shown = world.run(&["points", "show", "latest"]).exits(0).out;
    assert!(shown.contains("the change list was wrong at bytes"), "{shown}");
}

#[test]
fn a_change_list_that_is_none_is_refused_with_its_line() {
    let world = World::new();
    world.image("disk", 100_000, 1);
    fs::write(world.path("list"), "0 512\nnonsense\n").unwrap();
    world.backup("disk", &["--changed", "list"]).exits(2).says("line 2 of the change list");
    world.backup("disk", &["--changed", "absent"]).exits(1).says("cannot read the change list");
    world.backup("disk", &["--changed", "."]).exits(1).says("cannot read the change list");
}
