//! icecore: incremental backup of block volumes into an encrypted, verifiable repository.
//!
//! A volume goes in through [`device`], is cut into fixed chunks, and becomes a recovery point in a [`repository`] that lives in a
//! [`store`] (a directory or an object store). [`job`] holds one use case per file.
//! `ARCHITECTURE.md` shows the rooms and the arrows allowed between them; `docs/format.md` describes every persisted byte.

pub mod base;
pub mod catalog;
pub mod cli;
pub mod device;
pub mod files;
pub mod filesystem;
pub mod filetree;
pub mod job;
pub mod repository;
pub mod rpc;
pub mod salvage;
pub mod store;
pub mod telemetry;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
pub mod tracking;
