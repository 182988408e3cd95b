//! Trees of files on mounted filesystems: directories listed and files read, many at a time, without ever following a link.
//!
//! ```text
//!   Directory ─ names, facts, links, attributes          FileReader::begin(Request) ─► Reading ─► events, in order
//!                                                          ├─ uring: one thread, its own tokio-uring runtime
//!                                                          └─ threads: a few, each with one blocking call at a time
//! ```
//! What is read is never written, and reading leaves no trace where the system allows that. Each file comes between two looks at
//! its facts, so that whoever keeps it knows whether it held still.

mod attributes;
mod directory;
mod events;
mod facts;
mod open;
mod reader;
mod sparse;
mod threads;
mod uring;

#[cfg(test)]
mod contract;

pub use attributes::Attribute;
pub use directory::{Crossing, Directory};
pub use events::{Event, Opened, Reading, WholeFile};
pub use facts::{Facts, FileType, Moment};
pub use open::ReadFailure;
pub use reader::{FileReader, ReaderChoice, ReaderReport, Request, reader};
pub use sparse::MAX_RUNS;
