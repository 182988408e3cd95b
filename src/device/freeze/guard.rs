//! The guard: a process that thaws when the time is over, or when the one that froze is gone.
//!
//! ```text
//!   this process                     guard
//!        │ ◄──────── ready ──────────── │   it has opened the mount point, so that nothing it needs can be frozen
//!        │ ───────── armed ───────────► │   the time runs
//!        │ ───────── done ────────────► │   ends without thawing; the end of the pipe instead: thaws
//! ```

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use nix::unistd::setsid;

use super::FreezeError;
use crate::device::kernel;

const READY: u8 = b'r';
const ARMED: u8 = b'a';
const DONE: u8 = b'd';

/// A guard that stands by.
#[derive(Debug)]
pub(super) struct Guard {
    process: Child,
    orders: ChildStdin,
    mount: PathBuf,
}

impl Guard {
    /// Starts the guard, and waits until it is ready.
    pub(super) fn start(program: &[PathBuf], mount: &Path, limit: Duration) -> Result<Self, FreezeError> {
        let failed = |error| FreezeError::os("start the guard of", mount, error);
        let (first, arguments) = program.split_first().ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        let mut command = Command::new(first);
        command.args(arguments).arg(mount).arg(limit.as_millis().to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().map_err(failed)?;
        let (Some(orders), Some(mut answer)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(failed(io::ErrorKind::BrokenPipe.into()));
        };
        let mut ready = [0];
        answer.read_exact(&mut ready).map_err(failed)?;
        if ready != [READY] {
            return Err(failed(io::ErrorKind::InvalidData.into()));
        }
        Ok(Self { process, orders, mount: mount.to_path_buf() })
    }

    /// From now on the time runs.
    pub(super) fn arm(&mut self) -> Result<(), FreezeError> {
        self.orders.write_all(&[ARMED]).map_err(|error| FreezeError::os("arm the guard of", &self.mount, error))
    }

    /// It is thawed; the guard can go. One that went already did its work.
    pub(super) fn dismiss(mut self) -> Result<(), FreezeError> {
        let _gone = self.orders.write_all(&[DONE]);
        drop(self.orders);
        self.process.wait().map(|_code| ()).map_err(|error| FreezeError::os("wait for the guard of", &self.mount, error))
    }
}

/// Is the guard, in a process of its own, talking over standard input and output. True if it had to thaw.
pub fn stand_by(mount: &Path, limit: Duration) -> io::Result<bool> {
    let directory = File::open(mount)?;
    // What ends this program from a terminal must not end its guard.
    let _leads_already = setsid();
    let (sender, orders) = channel();
    thread::spawn(move || {
        let mut order = [0];
        while io::stdin().read_exact(&mut order).is_ok() && sender.send(order[0]).is_ok() {}
    });
    io::stdout().write_all(&[READY])?;
    io::stdout().flush()?;
    if orders.recv() != Ok(ARMED) {
        return Ok(false);
    }
    match orders.recv_timeout(limit) {
        Ok(DONE) => Ok(false),
        Ok(_) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => match kernel::thaw(&directory) {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(false),
            thawed => thawed.map(|()| true),
        },
    }
}
