//! Ground floor: units, range sets, byte cursors, and the seams (time, randomness, I/O, progress) that every other room is handed.
//!
//! Nothing here touches the operating system, the network or a runtime, except [`clock::SystemClock`], the one place that asks the
//! machine for the time.

pub mod bytes;
pub mod cancel;
pub mod clock;
pub mod entropy;
pub mod extent;
pub mod finding;
pub mod io;
pub mod progress;
