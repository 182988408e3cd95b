//! Help, manual pages, completions and the doctor: what a newcomer meets first.

use std::fs;

use crate::world::World;

const COMMANDS: &[&[&str]] = &[
    &[],
    &["init"],
    &["backup"],
    &["points"],
    &["points", "list"],
    &["points", "show"],
    &["diff"],
    &["find"],
    &["history"],
    &["check"],
    &["restore"],
    &["ls"],
    &["cat"],
    &["cp"],
    &["stat"],
    &["forget"],
    &["forget", "pin"],
    &["forget", "unpin"],
    &["prune"],
    &["key"],
    &["key", "list"],
    &["key", "add"],
    &["key", "remove"],
    &["key", "rotate"],
    &["key", "export"],
    &["track"],
    &["track", "add"],
    &["track", "list"],
    &["track", "epoch"],
    &["track", "remove"],
    &["doctor"],
    &["demo"],
    &["completions"],
    &["man"],
];

#[test]
fn the_help_of_every_command_tells_variables_and_exit_codes() {
    let world = World::empty();
    for command in COMMANDS {
        for flag in ["-h", "--help"] {
            let help = world.run(&[command, &[flag][..]].concat()).exits(0).out;
            for words in ["Usage: icecore", "ICECORE_REPO", "ICECORE_KEY_FILE", "Exit codes:", "130 stopped"] {
                assert!(help.contains(words), "{command:?} {flag} lacks {words:?}:\n{help}");
            }
        }
    }
}

#[test]
fn no_command_takes_a_secret_as_an_argument() {
    let world = World::empty();
    let every_help: String = COMMANDS.iter().map(|command| world.run(&[command, &["--help"][..]].concat()).out).collect();
    for taking in ["--passphrase <", "--passphrase=", "--key <", "--secret"] {
        assert!(!every_help.contains(taking), "{taking}");
    }
}

#[test]
fn there_is_a_manual_page_for_every_command() {
    let world = World::empty();
    world.run(&["man", "--out", "pages"]).exits(0);
    for command in COMMANDS {
        let name = [&["icecore"], *command].concat().join("-");
        let page = fs::read_to_string(world.path(&format!("pages/{name}.1"))).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(page.contains("Exit codes"), "{name}");
    }
    assert!(world.run(&["man"]).exits(0).out.contains(".TH icecore 1"));
}

#[test]
fn shells_learn_to_complete() {
    let world = World::empty();
    for shell in ["bash", "zsh", "fish"] {
        assert!(world.run(&["completions", shell]).exits(0).out.contains("only-differences"), "{shell}");
    }
    world.run(&["completions", "perl"]).exits(2);
}

#[test]
fn the_doctor_looks_at_machine_source_and_repository() {
    let world = World::new();
    world.image("disk", 10_000, 1);
    let said = world.run(&["doctor", "disk"]).exits(0).out;
    for name in [
        "io_uring",
        "memlock",
        "privileges",
        "tracking",
        "processor",
        "clock",
        "source",
        "direct",
        "mounted",
        "store",
        "repository",
    ] {
        assert!(said.contains(name), "{name}:\n{said}");
    }
    let mut world = world;
    world.unset("ICECORE_KEY_FILE");
    let report = world.run(&["doctor", "absent", "--json"]).exits(0).json();
    let line = |name: &str| report["lines"].as_array().unwrap().iter().find(|line| line["name"] == name).unwrap().clone();
    assert_eq!(line("source")["state"], "no");
    assert_eq!(line("store")["state"], "ok");
    assert_eq!(line("repository")["state"], "no");
}
