//! The seam between the read loop and the kernel: operations go in, completions come out, in any order.

use std::fmt;
use std::io;

use super::request::{Completion, Operation};

/// A way to have several reads under way. It owns every operation, memory included, from `submit` until `wait` returns it.
///
/// Dropping a backend waits for what is under way. It must happen on the thread that submitted.
pub(super) trait Backend: Send + fmt::Debug {
    /// Hands one read over. Never blocks; a refusal comes back as a completion.
    fn submit(&mut self, operation: Operation);

    /// Waits until at least one read has come back, and moves all that have into `done`. Needs something under way.
    fn wait(&mut self, done: &mut Vec<Completion>) -> io::Result<()>;

    /// Reads handed over that have not come back.
    fn in_flight(&self) -> usize;
}
