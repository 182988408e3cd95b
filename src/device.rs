//! Block devices and images: open and measure them, read them in bulk, write them back.
//!
//! ```text
//!   open ─> DeviceFile ─> reader ─> Reader: BulkRead            Target: WriteAt + ReadAt
//!             ReadAt                  │
//!                                  driver (plan, pace, settle, deliver)
//!                                     │ Backend
//!                              uring ─┴─ threads                (Faulty* wraps either)      * in tests only
//! ```
//! A source is never written. What cannot be read is a finding in its window, never an error; see [`crate::base::io::BulkRead`].

mod backend;
mod driver;
mod error;
#[cfg(any(test, feature = "testkit"))]
mod fault;
mod file;
pub mod freeze;
mod geometry;
pub mod impact;
mod kernel;
mod memory;
mod mounts;
mod neighbours;
mod pacing;
mod reader;
mod relatives;
mod request;
mod target;
mod threads;
mod uring;

#[cfg(test)]
mod contract;

pub use error::DeviceError;
#[cfg(any(test, feature = "testkit"))]
pub use fault::{Fault, FaultScript};
pub use file::{DeviceFile, SourceOptions, open};
pub use geometry::{Geometry, SourceKind, Zoned};
pub use mounts::Mounted;
pub use pacing::Pace;
pub use reader::{Engine, EngineChoice, EngineReport, Reader, ReaderOptions, UnknownEngine, reader};
pub use target::{Target, TargetOptions};
