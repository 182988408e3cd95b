//! The tracker on real disks: what changed between two cuts is reported, or the answer is unknown.
#![allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "tests and their helpers fail by panicking, say what they found, and have no readers of documentation"
)]

mod basics;
mod kill;
mod life;
mod matrix;
mod mutations;
mod proof;
mod rig;
mod writers;
