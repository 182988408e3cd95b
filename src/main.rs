//! The `icecore` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    icecore::cli::run()
}
