//! One use case per file. Each takes its seams as arguments and returns a report; none knows a command line or a runtime.

pub mod affected;
pub mod backup;
pub mod compare_files;
pub mod diff;
mod error;
pub mod extract;
pub mod forget;
pub mod kinship;
pub mod restore;
pub mod salvage;
pub mod select;

pub use error::{JobError, JobErrorKind};
