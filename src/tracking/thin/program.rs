//! Other programs, run within bounds: each line is handed over as it comes, and a program that takes too long is ended.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::error::ThinError;
use crate::base::cancel::Cancel;
use crate::base::clock::Clock;

/// Where these programs live; what the caller's environment says is not asked.
pub(super) const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// The metadata of the largest pool, 16 GiB, is read in less at 10 MiB/s.
const LIMIT: Duration = Duration::from_secs(30 * 60);
/// Their longest lines have some two hundred.
const MAX_LINE_BYTES: usize = 4096;
/// Of what a failed program says.
const MAX_COMPLAINT_BYTES: u64 = 1024;
/// How long a request to stop may go unheard.
const PATIENCE_MS: u8 = 100;

/// A program of another package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    /// Tables of device-mapper, and messages to its targets.
    Dmsetup,
    /// What a pool's metadata say of a device.
    ThinDump,
    /// In what two devices of a pool differ.
    ThinDelta,
}

impl Program {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Dmsetup => "dmsetup",
            Self::ThinDump => "thin_dump",
            Self::ThinDelta => "thin_delta",
        }
    }

    pub(super) fn package(self) -> &'static str {
        match self {
            Self::Dmsetup => "dmsetup",
            Self::ThinDump | Self::ThinDelta => "thin-provisioning-tools",
        }
    }

    pub(super) fn strange(self, what: impl Into<String>) -> ThinError {
        ThinError::Strange { program: self, what: what.into() }
    }
}

/// What running them takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Runner<'a> {
    pub(super) clock: &'a dyn Clock,
    pub(super) cancel: &'a Cancel,
}

impl Runner<'_> {
    /// Runs a program that must succeed, and hands over each line of its output.
    pub(super) fn lines<A: AsRef<OsStr>>(
        &self,
        program: Program,
        arguments: &[A],
        mut each: impl FnMut(&str) -> Result<(), ThinError>,
    ) -> Result<(), ThinError> {
        tracing::debug!(program = program.name(), arguments = ?arguments.iter().map(AsRef::as_ref).collect::<Vec<_>>(), "running");
        let mut command = Command::new(program.name());
        command.args(arguments).env("PATH", PATH).env("LC_ALL", "C");
        let mut running = Running::start(program, &mut command)?;
        let until = self.limit();
        let output = running.child.stdout.take().ok_or_else(|| program.strange("no output"))?;
        self.read(program, output, until, &mut each)?;
        running.end(self, until)
    }

    /// All that it prints, which is little.
    pub(super) fn text<A: AsRef<OsStr>>(&self, program: Program, arguments: &[A]) -> Result<String, ThinError> {
        let mut text = String::new();
        self.lines(program, arguments, |line| {
            if text.len() > MAX_LINE_BYTES {
                return Err(program.strange("more lines than are expected"));
            }
            text.push_str(line);
            text.push('\n');
            Ok(())
        })?;
        Ok(text)
    }

    fn read(
        &self,
        program: Program,
        mut output: ChildStdout,
        until: Duration,
        each: &mut impl FnMut(&str) -> Result<(), ThinError>,
    ) -> Result<(), ThinError> {
        let (mut window, mut rest) = ([0; 64 << 10], Vec::new());
        loop {
            self.wait(program, &output, until)?;
            let length = output.read(&mut window).map_err(|error| program.strange(error.to_string()))?;
            rest.extend_from_slice(window.get(..length).unwrap_or_default());
            let whole = if length == 0 { rest.len() } else { rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1) };
            let text = rest.get(..whole).and_then(|bytes| str::from_utf8(bytes).ok());
            text.ok_or_else(|| program.strange("no text"))?.lines().try_for_each(&mut *each)?;
            rest.drain(..whole);
            if rest.len() > MAX_LINE_BYTES {
                return Err(program.strange("a line without an end"));
            }
            if length == 0 {
                return Ok(());
            }
        }
    }

    /// When a program that starts now must have ended.
    pub(super) fn limit(&self) -> Duration {
        self.clock.monotonic().saturating_add(LIMIT)
    }

    /// Waits until there is output, or no more of it.
    pub(super) fn wait(&self, program: Program, output: &ChildStdout, until: Duration) -> Result<(), ThinError> {
        loop {
            self.may_go_on(program, until)?;
            if is_ready(output).map_err(|error| program.strange(error.to_string()))? {
                return Ok(());
            }
        }
    }

    fn may_go_on(&self, program: Program, until: Duration) -> Result<(), ThinError> {
        if self.cancel.is_cancelled() {
            return Err(ThinError::Stopped);
        }
        if self.clock.monotonic() >= until {
            return Err(ThinError::Slow { program, minutes: LIMIT.as_secs() / 60 });
        }
        Ok(())
    }
}

/// Waits a moment.
fn is_ready(output: &ChildStdout) -> io::Result<bool> {
    let mut watched = [PollFd::new(output.as_fd(), PollFlags::POLLIN)];
    match poll(&mut watched, PollTimeout::from(PATIENCE_MS)) {
        Ok(count) => Ok(count > 0),
        Err(Errno::EINTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A process that is ended and waited for, whatever happens.
#[derive(Debug)]
struct Running {
    child: Child,
    program: Program,
}

impl Running {
    fn start(program: Program, command: &mut Command) -> Result<Self, ThinError> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        match command.spawn() {
            Ok(child) => Ok(Self { child, program }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(ThinError::Missing { program }),
            Err(source) => Err(ThinError::Os { act: "start", path: program.name().into(), source }),
        }
    }

    /// It has closed its output, so it is about to end.
    fn end(mut self, runner: &Runner<'_>, until: Duration) -> Result<(), ThinError> {
        let program = self.program;
        let status = loop {
            match self.child.try_wait().map_err(|error| program.strange(error.to_string()))? {
                Some(status) => break status,
                None => runner.may_go_on(program, until)?,
            }
            runner.clock.sleep(Duration::from_millis(1));
        };
        if status.success() {
            return Ok(());
        }
        let said = self.child.stderr.take().map(complaint).unwrap_or_default();
        Err(ThinError::Failed { program, said: if said.is_empty() { status.to_string() } else { said } })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Where it has ended already, both say so.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// The first line of what a program says when it fails.
pub(super) fn complaint(stream: impl Read) -> String {
    let mut bytes = Vec::new();
    let _as_far_as_it_goes = stream.take(MAX_COMPLAINT_BYTES).read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::SystemClock;
    use crate::testkit::manual_clock::ManualClock;

    fn told(script: &str, clock: &dyn Clock, cancel: &Cancel) -> Result<Vec<String>, ThinError> {
        let mut lines = Vec::new();
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let mut running = Running::start(Program::ThinDump, &mut command)?;
        let runner = Runner { clock, cancel };
        let output = running.child.stdout.take().unwrap();
        let until = LIMIT;
        runner.read(Program::ThinDump, output, until, &mut |line| {
            lines.push(line.to_owned());
            Ok(())
        })?;
        running.end(&runner, until)?;
        Ok(lines)
    }

    #[test]
    fn lines_come_whole_however_they_are_written() {
        let clock = SystemClock::new();
        let run = |script| told(script, &clock, &Cancel::new());
        assert_eq!(run("printf 'one\\ntw'; printf 'o\\nthree'").unwrap(), ["one", "two", "three"]);
        assert_eq!(run("seq 100000").unwrap().len(), 100_000);
        assert_eq!(run(":").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_program_that_fails_babbles_or_hangs_gives_no_answer() {
        let clock = SystemClock::new();
        let fails = |script| told(script, &clock, &Cancel::new()).unwrap_err().to_string();
        assert_eq!(fails("echo; echo ' no luck ' >&2; exit 3"), "thin_dump failed: no luck");
        assert_eq!(fails("kill -9 $$"), "thin_dump failed: signal: 9 (SIGKILL)");
        assert!(fails("head -c 5000 /dev/zero | tr '\\0' x").contains("a line without an end"));
        assert!(fails("printf '\\377\\n'").contains("no text"));
        let cancel = Cancel::new();
        cancel.cancel();
        assert!(matches!(told("exec sleep 1000", &clock, &cancel), Err(ThinError::Stopped)));
        let late = ManualClock::default();
        late.advance(LIMIT);
        assert!(matches!(told("exec sleep 1000", &late, &Cancel::new()), Err(ThinError::Slow { minutes: 30, .. })));
    }
}
