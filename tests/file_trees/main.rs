//! Mounted trees of files as points: what is read, what is stored, and what comes back.
#![allow(
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "tests and their helpers fail by panicking, say why they skip, and share helpers with others"
)]

mod increments;
mod random;
mod rig;
mod sources;
#[path = "../cli_commands/tree_changes.rs"]
mod tree_changes;
#[path = "../cli_commands/tree_facts.rs"]
mod tree_facts;
mod troubles;
#[path = "../cli_commands/world.rs"]
mod world;
