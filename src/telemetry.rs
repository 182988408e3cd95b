//! What machines are told of icecore: metrics, all declared in one file.

mod metrics;

pub use metrics::{BackupFacts, Metrics, MetricsError};
