//! Progress of a long job: a bar on a terminal, a line now and then elsewhere, and warnings always.

use std::io::{self, IsTerminal};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{output, text};
use crate::base::clock::Clock;
use crate::base::progress::{Progress, Step};

/// Rate, time left, and how much of it was new.
const BAR: &str = "{prefix} {bar:24} {percent:>3}%  {bytes}/{total_bytes}  {binary_bytes_per_sec}  eta {eta}  {msg}";
/// Where nobody knows how much there is.
const COUNTER: &str = "{prefix} {bytes}  {binary_bytes_per_sec}  {msg}";
/// A log that is read later needs no more lines than this.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// A watcher that suits where standard error leads.
pub(super) fn watcher(silent: bool, clock: Arc<dyn Clock>) -> Box<dyn Progress> {
    match (silent, io::stderr().is_terminal()) {
        (true, _) => Box::new(WarningsOnly),
        (false, true) => Box::new(Bar::default()),
        (false, false) => Box::new(Lines { clock, state: Mutex::default() }),
    }
}

/// Says nothing but warnings.
#[derive(Debug)]
struct WarningsOnly;

impl Progress for WarningsOnly {
    fn begin(&self, _what: &str, _total_bytes: u64) {}
    fn step(&self, _step: Step) {}
    fn warn(&self, message: &str) {
        output::warn(message);
    }
    fn finish(&self) {}
}

/// A bar that redraws itself in place.
#[derive(Debug, Default)]
struct Bar(Mutex<Option<(ProgressBar, u64)>>);

impl Bar {
    fn state(&self) -> MutexGuard<'_, Option<(ProgressBar, u64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for Bar {
    fn begin(&self, what: &str, total_bytes: u64) {
        let bar = ProgressBar::with_draw_target(Some(total_bytes), ProgressDrawTarget::stderr()).with_prefix(what.to_owned());
        // The template is a constant; should it ever be wrong, the default bar does as well.
        if let Ok(style) = ProgressStyle::with_template(if total_bytes > 0 { BAR } else { COUNTER }) {
            bar.set_style(style.progress_chars("=> "));
        }
        *self.state() = Some((bar, 0));
    }

    fn step(&self, step: Step) {
        if let Some((bar, new_bytes)) = self.state().as_mut() {
            bar.inc(step.done_bytes);
            if step.new_bytes > 0 {
                *new_bytes += step.new_bytes;
                bar.set_message(format!("new {}", text::size(*new_bytes)));
            }
        }
    }

    fn warn(&self, message: &str) {
        match self.state().as_ref() {
            Some((bar, _)) => bar.suspend(|| output::warn(message)),
            None => output::warn(message),
        }
    }

    fn finish(&self) {
        if let Some((bar, _)) = self.state().take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Bar {
    /// A job that failed leaves its bar; the error must begin on a line of its own.
    fn drop(&mut self) {
        self.finish();
    }
}

/// A line every [`LINE_EVERY`].
#[derive(Debug)]
struct Lines {
    clock: Arc<dyn Clock>,
    state: Mutex<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    what: String,
    total_bytes: u64,
    done_bytes: u64,
    new_bytes: u64,
    begun: Duration,
    said: Duration,
}

impl Counted {
    fn line(&self, now: Duration) -> String {
        let seconds = now.saturating_sub(self.begun).as_secs().max(1);
        let done = text::size(self.done_bytes);
        let of_total = if self.total_bytes > 0 { format!(" of {}", text::size(self.total_bytes)) } else { String::new() };
        let (rate, new) = (text::size(self.done_bytes / seconds), text::size(self.new_bytes));
        format!("{}: {done}{of_total}, {rate}/s, new {new}", self.what)
    }
}

impl Lines {
    fn state(&self) -> MutexGuard<'_, Counted> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for Lines {
    fn begin(&self, what: &str, total_bytes: u64) {
        let now = self.clock.monotonic();
        *self.state() = Counted { what: what.to_owned(), total_bytes, begun: now, said: now, ..Counted::default() };
    }

    fn step(&self, step: Step) {
        let now = self.clock.monotonic();
        let mut state = self.state();
        state.done_bytes += step.done_bytes;
        state.new_bytes += step.new_bytes;
        if now.saturating_sub(state.said) >= LINE_EVERY {
            state.said = now;
            output::say(&state.line(now));
        }
    }

    fn warn(&self, message: &str) {
        output::warn(message);
    }

    fn finish(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_how_far_how_fast_and_how_much_was_new() {
        let counted = Counted {
            what: "backing up".to_owned(),
            total_bytes: 4 << 30,
            done_bytes: 1 << 30,
            new_bytes: 1 << 20,
            begun: Duration::from_secs(5),
            said: Duration::ZERO,
        };
        let line = counted.line(Duration::from_secs(15));
        assert_eq!(line, "backing up: 1.0 GiB of 4.0 GiB, 102.4 MiB/s, new 1.0 MiB");
    }

    #[test]
    fn the_bar_understands_its_template() {
        assert!(ProgressStyle::with_template(BAR).is_ok());
        assert!(ProgressStyle::with_template(COUNTER).is_ok());
    }
}
