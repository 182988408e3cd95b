//! Forgetting and pruning: explained, refused where it would harm, and done.

use crate::world::{World, change, files_below, noise};

fn with_points(count: u64) -> World {
    let world = World::new();
    let image = world.image("disk", 1 << 20, 0);
    for seed in 0..count {
        change(&image, 0, &noise(1 << 20, seed));
        world.backup("disk", &[]).exits(0);
    }
    world
}

fn packs(world: &World) -> usize {
    files_below(&world.path("repository/packs")).len()
}

#[test]
fn a_dry_run_explains_every_decision_and_changes_nothing() {
    let mut world = with_points(3);
    world.set("TZ", "Europe/Berlin");
    let ids = world.ids();
    let said = world.run(&["forget", "--keep-last", "1", "--dry-run"]).exits(0).out;
    assert!(said.contains("keep last 1, in time zone Europe/Berlin"), "{said}");
    assert!(said.contains("last 1 of 1") && said.matches("no rule keeps it").count() == 2, "{said}");
    assert!(said.contains("2 points would be forgotten, 1 kept"), "{said}");
    let named = world.run(&["forget", &ids[0], "--dry-run", "--json"]).exits(0).json();
    assert_eq!((named["forgotten"].as_u64(), named["dry_run"].as_bool()), (Some(1), Some(true)));
    assert_eq!(world.ids(), ids);
}

#[test]
fn what_is_forgotten_is_freed_and_the_rest_is_whole() {
    let world = with_points(3);
    let ids = world.ids();
    let forgotten = world.run(&["forget", "--volume", "disk", "--keep-last", "1"]).exits(0).out;
    assert!(forgotten.contains("2 points forgotten, 1 kept"), "{forgotten}");
    assert_eq!(world.ids(), ids[2..]);
    let before = packs(&world);
    let planned = world.run(&["prune", "--now", "--dry-run", "--json"]).exits(0).json();
    assert_eq!(packs(&world), before, "a dry run deletes nothing");
    let waits = world.run(&["prune"]).exits(0).out;
    assert!(waits.contains("run it again after") && packs(&world) == before, "{waits}");
    let pruned = world.run(&["prune", "--now", "--json"]).exits(0).json();
    assert_eq!(pruned["deleted"], planned["deleted"]);
    assert_eq!(packs(&world) as u64, before as u64 - pruned["deleted"]["packs"].as_u64().unwrap());
    assert!(world.run(&["prune", "--now"]).exits(0).out.contains("nothing to free"));
    world.run(&["check", "--deep"]).exits(0);
    world.expect("latest", &noise(1 << 20, 2));
}

#[test]
fn a_pinned_point_stays_until_it_is_unpinned() {
    let world = with_points(2);
    let ids = world.ids();
    assert_eq!(world.run(&["forget", "pin", &ids[0], "--note", "audit", "--json"]).exits(0).json()["changed"], true);
    assert_eq!(world.run(&["forget", "pin", &ids[0], "--json"]).exits(0).json()["changed"], false);
    assert!(world.run(&["points"]).exits(0).out.contains("pinned"));
    assert!(world.run(&["points", "show", &ids[0]]).exits(0).out.contains(": audit"));
    world.run(&["forget", &ids[1], &ids[0]]).exits(2).says("forget unpin");
    assert_eq!(world.ids(), ids, "nothing goes when one of several may not");
    world.run(&["forget", "--keep-last", "1"]).exits(0);
    assert_eq!(world.ids(), ids);
    assert_eq!(world.run(&["forget", "unpin", &ids[0], "--json"]).exits(0).json()["changed"], true);
    world.run(&["forget", &ids[0]]).exits(0);
    assert_eq!(world.ids(), ids[1..]);
}

#[test]
fn points_are_found_by_time_as_they_are_shown() {
    let world = with_points(1);
    let shown = world.run(&["points"]).exits(0).out;
    let minute = shown.split_whitespace().find(|word| word.contains('T')).unwrap().replace("+00:00", "");
    world.run(&["points", "show", &format!("disk@{minute}")]).exits(0);
    world.run(&["points", "show", &format!("disk@{minute}Z")]).exits(0);
    world.run(&["points", "show", &format!("disk@{}", &minute[..10])]).exits(0);
    world.run(&["points", "show", "disk@2020-01-01"]).exits(5);
}
