//! Asking a person for a passphrase, without showing what is typed.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use secrecy::SecretString;
use zeroize::Zeroizing;

/// How the terminal was before a question hid the typing; kept where an interrupted process finds it.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// True when there is a person to ask.
pub(super) fn is_attended() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks for a secret once.
pub(super) fn ask(question: &str) -> io::Result<SecretString> {
    // Hidden before the question shows, so that no answer comes too early.
    hide_typing()?;
    let mut line = Zeroizing::new(String::new());
    let answered = write!(io::stderr().lock(), "{question}: ").and_then(|()| io::stdin().read_line(&mut line));
    show_typing();
    if answered? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(SecretString::from(line.trim_end_matches(['\r', '\n'])))
}

fn hide_typing() -> io::Result<()> {
    let mut before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
    let old = tcgetattr(io::stdin())?;
    let mut new = old.clone();
    new.local_flags.remove(LocalFlags::ECHO);
    // The line's end still shows, so that the next output begins on a line of its own.
    new.local_flags.insert(LocalFlags::ECHONL);
    tcsetattr(io::stdin(), SetArg::TCSAFLUSH, &new)?;
    *before = Some(old);
    Ok(())
}

/// Lets typing show again, if it was hidden.
pub(super) fn show_typing() {
    let mut before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(old) = before.take() {
        // A terminal that went away needs no repair.
        let _terminal_gone = tcsetattr(io::stdin(), SetArg::TCSANOW, &old);
    }
}
