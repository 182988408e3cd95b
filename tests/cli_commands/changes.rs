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
fn metrics_tell_machines_whose_word_counted_and_who_was_caught() {
    let world = World::new();
    let image = world.image("disk", 8 << 20, 1);
    let backup = |more: &[&str], code: i32| {
        world.backup("disk", &[&["--metrics", "disk.prom"], more].concat()).exits(code);
        fs::read_to_string(world.path("disk.prom")).unwrap()
    };
    let says = |text: &str, line: &str| assert!(text.lines().any(|said| said == line), "{line} is not in {text}");
    let first = backup(&[], 0);
    says(&first, "icecore_backup_change_source{source=\"full\",volume=\"disk\"} 1");
    says(&first, "icecore_backup_read_bytes{volume=\"disk\"} 8388608");
    fs::write(world.path("list"), "").unwrap();
    let told = backup(&["--changed", "list", "--audit-share", "0.2"], 0);
    says(&told, "icecore_backup_change_source{source=\"full\",volume=\"disk\"} 0");
    says(&told, "icecore_backup_change_source{source=\"list\",volume=\"disk\"} 1");
    says(&told, "icecore_backup_audit_sampled_chunks{volume=\"disk\"} 31");
    says(&told, "icecore_backup_audit_mismatch{volume=\"disk\"} 0");
    change(&image, 0, &noise(4 << 20, 3));
    let caught = backup(&["--changed", "list"], 3);
    says(&caught, "icecore_backup_audit_mismatch{volume=\"disk\"} 1");
    says(&caught, "icecore_backup_change_source{source=\"compare\",volume=\"disk\"} 1");
    says(&caught, "icecore_backup_change_source_distrusted{source=\"list\",volume=\"disk\"} 1");
    says(&caught, "icecore_backup_change_source_passed_over{reason=\"caught_wrong\",source=\"list\",volume=\"disk\"} 1");
    let after = backup(&["--changed", "list"], 0);
    says(&after, "icecore_backup_audit_mismatch{volume=\"disk\"} 0");
    says(&after, "icecore_backup_change_source_passed_over{reason=\"distrusted\",source=\"list\",volume=\"disk\"} 1");
    let lost = world.backup("disk", &["--metrics", "absent/disk.prom"]).exits(1);
    lost.says("the backup is complete, but its metrics cannot be written").says("the directory must exist");
    assert_eq!(world.ids().len(), 5);
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
