//! The `icecore` binary.

use std::process::ExitCode;

use icecore::cli;

fn main() -> ExitCode {
    cli::run()
}
