//! One use case per file. Each takes its seams as arguments and returns a report; none knows a command line or a runtime.

pub mod backup;
mod error;

pub use error::{JobError, JobErrorKind};
