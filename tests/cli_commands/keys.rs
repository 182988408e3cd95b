//! Keys: files, passphrases, paper; wrong ones, many of them, and new ones.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::world::{World, noise};

#[test]
fn a_new_key_file_is_private_and_an_old_one_is_used_as_it_is() {
    let world = World::empty();
    let told = world.run(&["init"]).exits(0).out;
    assert!(told.contains("new key") && told.contains("loses all keys") && told.contains("icecore key export"), "{told}");
    assert_eq!(fs::metadata(world.path("key")).unwrap().permissions().mode() & 0o777, 0o600);
    let key = fs::read(world.path("key")).unwrap();
    let again = world.run(&["init", "another"]).exits(0).out;
    assert!(!again.contains("new key"), "{again}");
    assert!(fs::read(world.path("key")).unwrap() == key);
    fs::set_permissions(world.path("key"), fs::Permissions::from_mode(0o644)).unwrap();
    world.run(&["points"]).exits(0).says("chmod 600");
}

#[test]
fn the_wrong_key_exits_with_four_and_no_key_says_which_variables() {
    let mut world = World::new();
    let wrong = world.text("wrong");
    fs::write(&wrong, "11".repeat(32)).unwrap();
    world.set("ICECORE_KEY_FILE", &wrong);
    world.run(&["points"]).exits(4).says("opens none of the 1 key slots");
    let absent = world.text("absent");
    world.set("ICECORE_KEY_FILE", &absent);
    world.run(&["points"]).exits(4).says("cannot read the key file");
    fs::write(&wrong, "no key").unwrap();
    world.set("ICECORE_KEY_FILE", &wrong);
    world.run(&["points"]).exits(4).says("cannot use the key file");
    world.unset("ICECORE_KEY_FILE");
    let none = world.run(&["points"]).exits(4);
    assert!(none.err.contains("ICECORE_KEY_FILE") && none.err.contains("ICECORE_PASSPHRASE"), "{none:?}");
    let none = world.run(&["init", "another"]).exits(4);
    assert!(none.err.contains("ICECORE_KEY_FILE") && none.err.contains("ICECORE_PASSPHRASE"), "{none:?}");
    assert!(!world.path("another").exists());
}

#[test]
fn a_passphrase_opens_what_it_made_also_where_the_key_file_does_not() {
    let mut world = World::empty();
    world.unset("ICECORE_KEY_FILE");
    world.set("ICECORE_PASSPHRASE", "short");
    world.run(&["init"]).exits(2).says("at least 8 characters");
    world.set("ICECORE_PASSPHRASE", "correct horse battery");
    world.run(&["init"]).exits(0);
    let wrong = world.text("wrong");
    fs::write(&wrong, "11".repeat(32)).unwrap();
    fs::set_permissions(&wrong, fs::Permissions::from_mode(0o600)).unwrap();
    world.set("ICECORE_KEY_FILE", &wrong);
    world.run(&["points"]).exits(0);
    world.set("ICECORE_PASSPHRASE", "wrong horse battery");
    world.run(&["points"]).exits(4);
}

#[test]
fn slots_are_added_listed_and_removed_but_never_the_last() {
    let mut world = World::new();
    let slots = |world: &World| world.run(&["key", "list", "--json"]).exits(0).json()["slots"].as_array().unwrap().clone();
    let first = slots(&world)[0]["id"].as_str().unwrap().to_owned();
    world.run(&["key", "remove", &first]).exits(2).says("only key slot");
    world.run(&["key", "remove", "zz"]).exits(5).says("icecore key list");
    world.set("ICECORE_NEW_PASSPHRASE", "something to remember");
    world.run(&["key", "add", "--passphrase", "--label", "for people"]).exits(0);
    let second = world.text("second");
    world.run(&["key", "add", "--key-file", &second]).exits(0);
    let kinds: Vec<_> = slots(&world).iter().map(|slot| slot["kind"].as_str().unwrap().to_owned()).collect();
    assert_eq!(kinds.iter().filter(|kind| *kind == "key file").count(), 2, "{kinds:?}");
    assert!(kinds.contains(&"passphrase".to_owned()), "{kinds:?}");
    assert!(world.run(&["key", "list"]).exits(0).out.contains("for people"));
    world.set("ICECORE_KEY_FILE", &second);
    world.run(&["key", "remove", &first[..10]]).exits(0).out.contains("rotate").then_some(()).unwrap();
    let old = world.text("key");
    world.set("ICECORE_KEY_FILE", &old);
    world.run(&["points"]).exits(4);
}

#[test]
fn after_a_rotation_every_slot_opens_everything_old_and_new() {
    let mut world = World::new();
    world.image("disk", 100_000, 1);
    world.backup("disk", &["--volume", "before"]).exits(0);
    let second = world.text("second");
    world.run(&["key", "add", "--key-file", &second]).exits(0);
    let epoch = world.run(&["key", "rotate", "--json"]).exits(0).json()["epoch"].as_u64().unwrap();
    assert_eq!(world.run(&["key", "rotate", "--json"]).exits(0).json()["epoch"], epoch + 1);
    world.backup("disk", &["--volume", "after"]).exits(0);
    world.set("ICECORE_KEY_FILE", &second);
    for volume in ["before@latest", "after@latest"] {
        world.expect(volume, &noise(100_000, 1));
    }
    world.run(&["check", "--deep"]).exits(0);
}

#[test]
fn the_exported_paper_opens_the_repository_once_typed_into_a_file() {
    let mut world = World::new();
    let export = world.run(&["key", "export"]).exits(0).says("keep it elsewhere");
    let paper = export.out.trim();
    assert_eq!(paper.lines().count(), 1, "the digits alone, to be printed: {paper}");
    assert!(!export.err.contains(paper));
    let typed = world.text("typed");
    fs::write(&typed, paper.to_lowercase().replace('-', " ")).unwrap();
    world.set("ICECORE_KEY_FILE", &typed);
    world.run(&["points"]).exits(0);
    let slots = world.run(&["key", "list", "--json"]).exits(0).json();
    let used = slots["slots"].as_array().unwrap().iter().find(|slot| slot["in_use"] == true).unwrap().clone();
    assert_eq!(used["kind"], "paper");
}
