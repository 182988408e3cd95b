//! The snapshot of a pool's metadata, which only one may hold, and which is given back whatever is killed.
//!
//! ```text
//!   this process                     keeper
//!        │                              │   reserve_metadata_snap
//!        │ ◄──────── held ───────────── │
//!        │ ── the end of the pipe ────► │   release_metadata_snap
//! ```
//! The keeper is a shell of its own process group: neither Ctrl-C nor the end of this process can come between.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};

use super::device::Pool;
use super::error::ThinError;
use super::program::{PATH, Program, Runner, complaint};

/// A reader that is gone must not end it before it has released.
const KEEP: &str = "trap '' PIPE HUP INT TERM
dmsetup message \"$@\" 0 reserve_metadata_snap || exit 1
echo held
read -r _
exec dmsetup message \"$@\" 0 release_metadata_snap";

const HELD: &[u8] = b"held\n";

/// A metadata snapshot that is there until this is dropped.
#[derive(Debug)]
pub(super) struct Hold {
    keeper: Child,
    pipe: Option<ChildStdin>,
}

impl Hold {
    /// Takes it; nobody else may have it.
    pub(super) fn take(runner: &Runner<'_>, pool: &Pool) -> Result<Self, ThinError> {
        let failed = |source| ThinError::Os { act: "reserve the metadata snapshot of", path: pool.name.clone().into(), source };
        let mut command = Command::new("sh");
        command.args(["-c", KEEP, "keeper"]).args(pool.number.arguments());
        command.env("PATH", PATH).env("LC_ALL", "C").process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut keeper = command.spawn().map_err(failed)?;
        let (pipe, output) = (keeper.stdin.take(), keeper.stdout.take());
        let output = output.ok_or_else(|| Program::Dmsetup.strange("no output"))?;
        // Given up here, the keeper still releases what it may get; it is only not waited for.
        runner.wait(Program::Dmsetup, &output, runner.limit())?;
        let mut answer = Vec::new();
        BufReader::new(output).take(HELD.len() as u64).read_until(b'\n', &mut answer).map_err(failed)?;
        let mut hold = Self { keeper, pipe };
        if answer == HELD {
            return Ok(hold);
        }
        Err(ThinError::Failed { program: Program::Dmsetup, said: hold.complaint() })
    }

    /// Gives it back.
    pub(super) fn release(mut self) -> Result<(), ThinError> {
        drop(self.pipe.take());
        match self.keeper.wait() {
            Ok(status) if status.success() => Ok(()),
            _ => Err(ThinError::Failed { program: Program::Dmsetup, said: self.complaint() }),
        }
    }

    fn complaint(&mut self) -> String {
        self.keeper.stderr.take().map(complaint).unwrap_or_default()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        drop(self.pipe.take());
        let _it_releases_and_ends = self.keeper.wait();
    }
}
