//! Ctrl-C: a stopped backup leaves no point, and the next run takes up its work.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::world::{World, files_below, noise};

/// A backup that would take minutes, once it has stored something.
fn slow_backup(world: &World, limit: &str) -> Child {
    let arguments = ["backup", "disk", "--limit", limit, "--pace", "full"];
    let mut child = world.command(&arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    for _ in 0..3000 {
        if !files_below(&world.path("repository/packs")).is_empty() {
            return child;
        }
        thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    panic!("the backup stores nothing: {:?}", child.wait_with_output());
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
}

#[test]
fn an_interrupted_backup_leaves_no_point_and_the_next_run_resumes_it() {
    for asked in [Signal::SIGINT, Signal::SIGTERM] {
        let world = World::new();
        world.image("disk", 24 << 20, 1);
        let child = slow_backup(&world, "4MiB/s");
        signal(&child, asked);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(130), "{said}");
        assert!(said.contains("stopping at the next safe place") && said.contains("icecore: stopped on request"), "{said}");
        assert!(world.ids().is_empty(), "{said}");
        let resumed = world.backup("disk", &["--json"]).exits(0).json();
        assert_eq!(resumed["resumed"], true);
        assert!(resumed["point"]["new_bytes"].as_u64().unwrap() < 24 << 20, "{resumed}");
        world.expect("latest", &noise(24 << 20, 1));
    }
}

#[test]
fn a_second_interrupt_ends_the_process_at_once() {
    let world = World::new();
    world.image("disk", 24 << 20, 1);
    let mut child = slow_backup(&world, "256KiB/s");
    signal(&child, Signal::SIGINT);
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("once more to stop at once"));
    signal(&child, Signal::SIGINT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(world.ids().is_empty());
    world.backup("disk", &[]).exits(0);
    world.expect("latest", &fs::read(world.path("disk")).unwrap());
}
