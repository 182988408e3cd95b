//! Every persisted byte: encoders and parsers without I/O. `docs/format.md` is this folder in prose.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions)]
#![cfg_attr(
    test,
    allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions, reason = "tests may be plain")
)]

mod bounds;
pub mod catalog;
pub mod changes;
pub mod condemned;
pub mod config;
pub mod envelope;
mod fields;
pub mod file_tree;
pub mod frame;
pub mod keyring;
pub mod lease;
pub mod node;
pub mod pack;
pub mod point;
pub mod slot;
pub mod verdict;

pub use bounds::FormatError;

/// The format that this version writes, and the newest that it reads.
pub const FORMAT_VERSION: u8 = 1;
