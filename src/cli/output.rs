//! Writing to the terminal or pipe: results to standard output, everything else to standard error.

use std::io::{self, ErrorKind, Write};

/// Writes text to standard output.
///
/// A reader that has seen enough (`icecore points | head -1`) is no failure: the rest is for nobody.
pub(super) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    forgive_reader(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// A reader that has seen enough is no failure.
pub(super) fn forgive_reader(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Says something beside the result.
pub(super) fn say(line: &str) {
    // With standard error gone there is nobody left to tell.
    let _nobody_listens = writeln!(io::stderr().lock(), "{line}");
}

/// Says what failed.
pub(super) fn complain(message: &str) {
    say(&format!("icecore: {message}"));
}

/// Says what the user should know although the run goes on.
pub(super) fn warn(message: &str) {
    say(&format!("icecore: warning: {message}"));
}
