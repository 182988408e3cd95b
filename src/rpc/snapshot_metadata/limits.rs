//! How long to wait, how often to try, and how much to hold.

use std::time::Duration;

/// Bounds of one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long the service may be silent. Comparing snapshots can take long without a word, and the service of Kubernetes ends any
    /// stream after ten minutes.
    pub message_wait: Duration,
    /// No stream is begun, and no message waited for, later than this after the question; by then, reading is as quick.
    pub whole_wait: Duration,
    /// Tries in a row that bring nothing.
    pub tries: u32,
    /// Streams in all.
    pub streams: u32,
    /// The wait after the first failure; it doubles with each further one.
    pub first_wait: Duration,
    /// No wait is longer.
    pub longest_wait: Duration,
    /// Ranges in all, as they are told. A volume of 64 TiB has so many blocks of 2 KiB.
    pub tuples: u64,
    /// Messages without a range in all: a service may send them to show that it lives.
    pub empty_messages: u64,
    /// Ranges held at once, 16 bytes each. With more, neighbours are joined over the gaps between them.
    pub extents: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_wait: Duration::from_secs(600),
            whole_wait: Duration::from_secs(3600),
            tries: 5,
            streams: 1000,
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(10),
            tuples: 1 << 35,
            empty_messages: 100_000,
            extents: 1 << 20,
        }
    }
}
