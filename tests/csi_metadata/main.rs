//! The client of snapshot metadata services: against a server of our own that misbehaves, over both wires, and against a real driver.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "tests and their helpers fail by panicking, say why they skip, and have no readers of documentation"
)]

mod answers;
mod encrypted;
mod faults;
mod hostpath;
mod interruptions;
mod random;
mod rig;
