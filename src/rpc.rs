//! Other programs' services over gRPC: generated code, and what turns its messages into our own types.
//!
//! Messages of the wire stay in this room, and so does the runtime that moves them: every face is blocking.

pub mod snapshot_metadata;
#[cfg(any(test, feature = "testkit"))]
pub mod wire;
#[cfg(not(any(test, feature = "testkit")))]
mod wire;
