//! End to end against an S3 server, configured by the environment alone.

use std::fs;

use icecore::testkit::s3_server::S3Server;

use crate::world::{World, change, noise};

#[test]
fn a_repository_in_a_bucket_is_made_filled_checked_pruned_and_restored() {
    let Some(server) = S3Server::start("bucket") else { return };
    let mut world = World::empty();
    for (name, value) in [
        ("AWS_ACCESS_KEY_ID", "test-access-key".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "test-secret-key".to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_ENDPOINT_URL", format!("http://{}", server.address())),
        ("ICECORE_REPO", "s3://bucket/backups".to_owned()),
    ] {
        world.set(name, &value);
    }
    world.run(&["points"]).exits(4);
    fs::write(world.path("key"), "22".repeat(32)).unwrap();
    world.run(&["points"]).exits(5).says("icecore init");
    world.run(&["init", "--pack-size", "256KiB"]).exits(0);
    let image = world.image("disk", 1 << 20, 1);
    world.backup("disk", &[]).exits(0);
    change(&image, 0, &noise(1 << 19, 2));
    world.backup("disk", &[]).exits(0);
    world.run(&["forget", "--keep-last", "1"]).exits(0);
    world.run(&["prune", "--now"]).exits(0);
    world.run(&["check", "--deep"]).exits(0);
    world.run(&["check", "--keyless"]).exits(0);
    world.expect("disk@latest", &fs::read(&image).unwrap());
    let secret = world.run(&["points", "--repo", "s3://user:hunter2@bucket/x"]);
    assert!(secret.code != 0 && !secret.err.contains("hunter2"), "{secret:?}");
}
