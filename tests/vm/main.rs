//! What needs device-mapper: run inside the machine that scripts/test-vm.sh starts, and nowhere else.
#![allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "tests and their helpers fail by panicking, say what they found, and have no readers of documentation"
)]

mod faults;
mod machine;
mod pool;
#[path = "../tracking/rig.rs"]
#[allow(dead_code, reason = "shared with the tests of the tracker, which use more of it")]
mod rig;
mod thin;
mod thin_doubts;
mod tracked;
#[path = "../cli_commands/world.rs"]
#[allow(dead_code, reason = "shared with the tests of the commands, which use more of it")]
mod world;
mod writers;
