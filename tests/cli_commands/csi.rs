//! Backups that ask a CSI driver what changed: believed and audited when it answers, read in full when it does not.

use std::fs;

use icecore::base::extent::Extent;
use icecore::testkit::csi_server::{Code, CsiServer, Script, Step, Volume};
use serde_json::Value;

use crate::world::{Run, World, change, noise};

const SIZE: u64 = 16 << 20;

/// A volume of which these ranges are told.
fn volume(extents: &[(u64, u64)]) -> Volume {
    let extents = extents.iter().map(|(offset, length)| Extent::new(*offset, *length)).collect();
    Volume { capacity: SIZE, extents, is_fixed: false, in_a_message: 2 }
}

/// A world with one point of `disk`, and a change of 1,000 bytes since then.
fn changed_world() -> World {
    let world = World::new();
    let image = world.image("disk", SIZE as usize, 1);
    world.backup("disk", &[]).exits(0);
    change(&image, 5_000_000, &noise(1000, 2));
    world
}

/// A driver on a socket in the world.
fn driver(world: &World, volume: Volume, script: Script) -> CsiServer {
    CsiServer::on_socket(&world.path("csi.sock"), volume, script)
}

fn backup(world: &World, server: &CsiServer, more: &[&str]) -> Run {
    world.backup("disk", &[&["--csi-endpoint", server.address(), "--csi-snapshot", "snap-2", "--json"], more].concat())
}

/// Everything that `--json` prints of a driver: an answer, and none.
pub fn outputs() -> Vec<Value> {
    let world = changed_world();
    let script = Script::new(|call, steps| if call.number < 2 { steps } else { vec![Step::Fail(Code::NotFound)] });
    let server = driver(&world, volume(&[(4_999_168, 4096)]), script);
    vec![backup(&world, &server, &BASE).exits(0).json(), backup(&world, &server, &BASE).exits(0).json()]
}

const BASE: [&str; 2] = ["--csi-base-snapshot", "snap-1"];

#[test]
fn what_the_driver_says_has_changed_is_all_that_is_read() {
    let world = changed_world();
    let server = driver(&world, volume(&[(4_999_168, 4096)]), Script::at_first(|_| vec![Step::Fail(Code::Unavailable)]));
    let report = backup(&world, &server, &[&BASE[..], &["--audit-share", "0.2"]].concat()).exits(0).json();
    assert_eq!(report["point"]["change_source"], "csi");
    assert_eq!(report["point"]["cut_names"][0]["name"], "snap-2");
    assert_eq!(report["point"]["listed_bytes"], 4096);
    assert!(report["point"]["read_bytes"].as_u64().unwrap() < 2 << 20, "{report}");
    let first = &server.calls()[0];
    assert_eq!((first.base.as_deref(), first.target.as_str()), (Some("snap-1"), "snap-2"));
    world.expect("latest", &fs::read(world.path("disk")).unwrap());
}

#[test]
fn the_next_backup_counts_from_the_snapshot_that_the_last_point_names() {
    let world = changed_world();
    let server = driver(&world, volume(&[(4_999_168, 4096)]), Script::honest());
    backup(&world, &server, &BASE).exits(0);
    let next = ["--csi-endpoint", server.address(), "--csi-snapshot", "snap-3", "--json"];
    let report = world.backup("disk", &next).exits(0).json();
    assert_eq!(report["point"]["change_source"], "csi");
    assert_eq!(server.calls().last().unwrap().base.as_deref(), Some("snap-2"));
    let other = world.backup("disk", &[&next[..], &["--csi-base-snapshot", "snap-1"]].concat()).exits(0);
    other.says("counts from another cut");
}

#[test]
fn the_service_of_kubernetes_is_shown_the_token_of_the_file() {
    let world = changed_world();
    let server = CsiServer::on_port(volume(&[(4_999_168, 4096)]), Script::honest());
    fs::write(world.path("token"), "a-token\n").unwrap();
    let kubernetes = ["--csi-namespace", "shop", "--csi-token-file", "token"];
    let report = backup(&world, &server, &[&BASE[..], &kubernetes].concat()).exits(0).json();
    assert_eq!(report["point"]["change_source"], "csi");
    let call = &server.calls()[0];
    assert_eq!((call.namespace.as_deref(), call.token.as_deref()), (Some("shop"), Some("a-token")));
    fs::write(world.path("token"), "\n").unwrap();
    backup(&world, &server, &[&BASE[..], &kubernetes].concat()).exits(2).says("token is empty");
    fs::remove_file(world.path("token")).unwrap();
    backup(&world, &server, &[&BASE[..], &kubernetes].concat()).exits(2).says("there is no token");
}

#[test]
fn without_an_answer_everything_is_read_and_the_reason_is_said() {
    let rows: [(Vec<Step>, &[&str], &str); 3] = [
        (vec![Step::Fail(Code::NotFound)], &BASE, "NOT_FOUND"),
        (vec![Step::Fail(Code::FailedPrecondition)], &BASE, "does not track changes"),
        (Vec::new(), &[], "--csi-base-snapshot"),
    ];
    for (steps, more, words) in rows {
        let world = changed_world();
        let server = driver(&world, volume(&[]), Script::always(steps));
        let run = backup(&world, &server, more).exits(0).says("everything is read").says(words);
        let report = run.json();
        let passed_over = &report["point"]["passed_over"][0];
        assert!(passed_over["source"] == "csi" && passed_over["reason"].as_str().unwrap().contains(words), "{report}");
        assert_eq!(report["point"]["change_source"], "compare");
        assert_eq!(report["point"]["read_bytes"], SIZE);
        world.expect("latest", &fs::read(world.path("disk")).unwrap());
    }
}

#[test]
fn another_size_than_the_devices_means_that_nothing_is_known() {
    let world = changed_world();
    let server = driver(&world, Volume { capacity: SIZE + 512, ..volume(&[(0, 512)]) }, Script::honest());
    let report =
        backup(&world, &server, &BASE).exits(0).says("the snapshot has 16777728 bytes, but the device has 16777216").json();
    assert_eq!(report["point"]["change_source"], "compare");
}

#[test]
fn a_driver_that_lies_is_caught_by_the_audit() {
    let world = changed_world();
    change(&world.path("disk"), 0, &noise(4 << 20, 3));
    let server = driver(&world, volume(&[(4_999_168, 4096)]), Script::honest());
    let run = backup(&world, &server, &BASE).exits(3).says("changed although it was said that it did not");
    assert!(run.json()["point"]["incident"].is_object());
    world.expect("latest", &fs::read(world.path("disk")).unwrap());
}

#[test]
fn a_request_that_has_to_be_changed_makes_no_point() {
    let world = changed_world();
    let server = driver(&world, volume(&[]), Script::always(vec![Step::Fail(Code::PermissionDenied)]));
    backup(&world, &server, &BASE).exits(2).says("volumesnapshots").says("leave --csi-endpoint out");
    backup(&world, &server, &[&BASE[..], &["--csi-ca", "disk"]].concat()).exits(1).says("longer than");
    fs::write(world.path("ca"), "no certificate").unwrap();
    backup(&world, &server, &[&BASE[..], &["--csi-ca", "ca"]].concat()).exits(2).says("only for addresses over TLS");
    let snapshot = ["--csi-snapshot", "s"];
    for (more, words) in [
        (&["--csi-endpoint", "nowhere"][..], "no address of a service"),
        (&["--csi-endpoint", "localhost:1"], "which certificate authority"),
        (&["--csi-endpoint", "localhost:1", "--csi-namespace", "n"], "--csi-token-file"),
        (&["--csi-base-snapshot", "b"], "--csi-endpoint"),
        (&["--csi-endpoint", "localhost:1", "--csi-base-snapshot", "b", "--full"], "--full"),
        (&["--csi-endpoint", "localhost:1", "--csi-base-snapshot", "b", "--changed", "c"], "--changed"),
        (
            &["--csi-endpoint", "localhost:1", "--csi-secrets", "d", "--csi-namespace", "n", "--csi-token-file", "t"],
            "--csi-secrets",
        ),
    ] {
        let run = world.backup("disk", &[more, &snapshot].concat()).exits(2);
        assert!(run.err.contains(words), "{run:?}");
    }
    world.backup("disk", &["--allocated", "csi"]).exits(2).says("name it with --csi-endpoint");
    assert_eq!(world.ids().len(), 1);
}

#[test]
fn secrets_of_a_directory_reach_the_driver() {
    let world = changed_world();
    let server = driver(&world, volume(&[(4_999_168, 4096)]), Script::honest());
    fs::create_dir_all(world.path("secrets/..data")).unwrap();
    fs::write(world.path("secrets/user"), "ceph").unwrap();
    fs::write(world.path("secrets/key"), "a key\n").unwrap();
    backup(&world, &server, &[&BASE[..], &["--csi-secrets", "secrets"]].concat()).exits(0);
    let secrets = [("key", "a key\n"), ("user", "ceph")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut sent = server.calls()[0].secrets.clone();
    sent.sort();
    assert_eq!(sent, secrets);
}

#[test]
fn what_was_never_written_is_left_out_if_it_holds_nothing() {
    let world = World::new();
    let mut bytes = vec![0; SIZE as usize];
    bytes[..1 << 20].copy_from_slice(&noise(1 << 20, 1));
    fs::write(world.path("disk"), &bytes).unwrap();
    let true_word = driver(&world, volume(&[(0, 1 << 20)]), Script::honest());
    let report = backup(&world, &true_word, &["--allocated", "csi"]).exits(0).json();
    assert_eq!(report["point"]["omitted_bytes"], 15 << 20);
    assert_eq!(report["point"]["read_bytes"], 1 << 20);
    assert_eq!(true_word.calls()[0].base, None);
    world.expect("latest", &bytes);

    // Written, and told as changed, but not yet told as allocated: a driver that contradicts itself loses no data.
    change(&world.path("disk"), 8 << 20, &noise(4 << 20, 2));
    let report = backup(&world, &true_word, &[&BASE[..], &["--allocated", "csi"]].concat()).json();
    assert_eq!(report["point"]["omitted_bytes"], 0);
    assert!(report["allocation_doubts"][0].as_str().unwrap().contains("there is data"), "{report}");
    world.expect("latest", &fs::read(world.path("disk")).unwrap());
}

#[test]
fn where_allocation_is_not_known_everything_is_read() {
    let world = World::new();
    world.image("disk", SIZE as usize, 1);
    let server = driver(&world, volume(&[]), Script::always(vec![Step::Fail(Code::Unimplemented)]));
    let report = backup(&world, &server, &["--allocated", "csi"]).exits(0).says("what is allocated is not known").json();
    assert!(report["allocation_doubts"][0].as_str().unwrap().contains("UNIMPLEMENTED"), "{report}");
    assert_eq!(report["point"]["read_bytes"], SIZE);
}
