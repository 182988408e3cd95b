//! Ctrl-C and SIGTERM: the first asks the job to stop at a safe place, the second ends the process at once.

use std::io;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sys::signal::{SigSet, Signal};

use super::outcome::exit_number;
use super::{output, terminal};
use crate::base::cancel::Cancel;
use crate::job::JobErrorKind;

/// Signals that ask the process to stop.
#[derive(Debug, Clone, Default)]
pub(super) struct Interrupts {
    cancel: Cancel,
    /// Somebody polls `cancel`. Without that, there is nothing to wait for.
    polled: Arc<AtomicBool>,
}

impl Interrupts {
    /// Leaves the signals to a thread of their own. Threads started later leave them to it, too.
    pub(super) fn install() -> io::Result<Self> {
        let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM].into_iter().collect();
        signals.thread_block()?;
        let interrupts = Self::default();
        let waiting = interrupts.clone();
        thread::Builder::new().name("signals".to_owned()).spawn(move || waiting.serve(signals))?;
        Ok(interrupts)
    }

    /// The flag for a job that polls it. Every step of the commands that do not is safe to be cut short.
    pub(super) fn cancel(&self) -> Cancel {
        self.polled.store(true, Ordering::Relaxed);
        self.cancel.clone()
    }

    fn serve(&self, signals: SigSet) {
        while signals.wait().is_ok() {
            if !self.polled.load(Ordering::Relaxed) || self.cancel.is_cancelled() {
                end_now();
            }
            self.cancel.cancel();
            output::say("icecore: stopping at the next safe place; once more to stop at once");
        }
    }
}

#[expect(clippy::exit, reason = "the main thread may be waiting for a disk or a network that never answers")]
fn end_now() -> ! {
    terminal::show_typing();
    process::exit(exit_number(JobErrorKind::Cancelled).into())
}
