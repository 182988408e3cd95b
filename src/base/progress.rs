//! What a long job tells its watcher while it runs.

use std::fmt;

/// A step forward, in bytes since the last step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Step {
    /// Bytes of the plan that are finished, whether read, skipped or restored.
    pub done_bytes: u64,
    /// Bytes that had to be stored or written because they were new.
    pub new_bytes: u64,
}

/// Receives the progress of one job. Calls come from several threads and must return quickly.
pub trait Progress: Send + Sync + fmt::Debug {
    /// The job begins: `what` in a few words, and how many bytes it has before it.
    fn begin(&self, what: &str, total_bytes: u64);
    /// Some of it is done.
    fn step(&self, step: Step);
    /// Something the user should read now.
    fn warn(&self, message: &str);
    /// The job is over.
    fn finish(&self);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _what: &str, _total_bytes: u64) {}
    fn step(&self, _step: Step) {}
    fn warn(&self, _message: &str) {}
    fn finish(&self) {}
}
