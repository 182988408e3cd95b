//! The binary from outside: what scripts and people see.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "tests and their helpers fail by panicking, say why they skip, and have no readers of documentation"
)]

mod allocated;
mod changes;
mod csi;
mod damage;
mod degraded;
mod devices;
mod diff_files;
mod file_trees;
mod files;
mod found;
mod found_facts;
mod help;
mod json;
mod keys;
mod live;
mod object_store;
mod refusals;
mod round_trip;
mod salvaged;
mod stopping;
mod terminal;
mod track;
mod tree_changes;
mod tree_facts;
mod upkeep;
mod world;
