//! The seam between who keeps files and who reads them, and the choice of an implementation.

use std::ffi::CString;
use std::fmt;
use std::io;
use std::sync::Arc;

use super::directory::Directory;
use super::events::Reading;
use super::threads::Threads;
use super::uring::Uring;

/// A file to be read: a name in an open directory.
#[derive(Debug, Clone)]
pub struct Request {
    /// The directory.
    pub directory: Arc<Directory>,
    /// The name.
    pub name: CString,
}

/// Reads files, several at a time.
///
/// Files are begun in the order of [`FileReader::begin`], so whoever takes events file by file in that order never waits for one that
/// was not begun. The caller bounds how many readings it holds; each holds at most 2 MiB.
pub trait FileReader: Send + fmt::Debug {
    /// Begins to read a file. Never blocks.
    fn begin(&mut self, request: Request) -> Reading;

    /// Who reads.
    fn report(&self) -> &ReaderReport;
}

/// Who is to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReaderChoice {
    /// The ring if it runs here, else threads.
    Auto,
    /// The ring, or nothing.
    Uring,
    /// Threads.
    Threads,
}

/// Who reads, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReaderReport {
    /// `io_uring` or `pread`.
    pub engine: &'static str,
    /// Why it is not the ring, if that was hoped for.
    pub fallback: Option<String>,
}

/// Starts a reader.
pub fn reader(choice: ReaderChoice) -> io::Result<Box<dyn FileReader>> {
    let fallback = match choice {
        ReaderChoice::Threads => None,
        ReaderChoice::Uring => return Ok(Box::new(Uring::start()?)),
        ReaderChoice::Auto => match Uring::start() {
            Ok(ring) => return Ok(Box::new(ring)),
            Err(error) => Some(format!("io_uring cannot be used here: {error}")),
        },
    };
    Ok(Box::new(Threads::start(fallback)?))
}
