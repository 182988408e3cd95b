//! A person at a terminal: asked for a passphrase that does not show.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Stdio};

use nix::pty::openpty;

use crate::world::World;

/// A command whose input and errors are a terminal.
struct Session {
    child: Child,
    terminal: File,
    seen: String,
}

impl Session {
    fn start(world: &World, arguments: &[&str]) -> Self {
        let pair = openpty(None, None).unwrap();
        let end = || Stdio::from(pair.slave.try_clone().unwrap());
        let child = world.command(arguments).stdin(end()).stderr(end()).stdout(Stdio::null()).spawn().unwrap();
        Self { child, terminal: File::from(pair.master), seen: String::new() }
    }

    /// Waits for a question, and answers it.
    fn answer(&mut self, question: &str, answer: &str) {
        let before = self.seen.len();
        while !self.seen[before..].contains(question) {
            let mut bytes = [0; 256];
            let length = self.terminal.read(&mut bytes).unwrap_or_else(|error| panic!("{error} after {:?}", self.seen));
            self.seen.push_str(&String::from_utf8_lossy(&bytes[..length]));
        }
        self.terminal.write_all(format!("{answer}\n").as_bytes()).unwrap();
    }

    /// The exit code and all that showed.
    fn end(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        let mut rest = Vec::new();
        // The terminal ends with an error once nobody holds its other side.
        drop(self.terminal.read_to_end(&mut rest));
        (code, self.seen + &String::from_utf8_lossy(&rest))
    }
}

#[test]
fn a_passphrase_is_asked_for_twice_when_new_and_never_shows() {
    let mut world = World::empty();
    world.unset("ICECORE_KEY_FILE");
    let mut different = Session::start(&world, &["init"]);
    different.answer("new passphrase: ", "correct horse battery");
    different.answer("the same again: ", "correct horse batter");
    let (code, shown) = different.end();
    assert!(code == Some(2) && shown.contains("not the same"), "{code:?} {shown}");

    let mut same = Session::start(&world, &["init"]);
    same.answer("new passphrase: ", "correct horse battery");
    same.answer("the same again: ", "correct horse battery");
    let (code, shown) = same.end();
    assert!(code == Some(0) && !shown.contains("horse"), "{code:?} {shown}");

    for (typed, expected) in [("correct horse battery", 0), ("wrong horse battery", 4)] {
        let mut session = Session::start(&world, &["points"]);
        session.answer("passphrase: ", typed);
        let (code, shown) = session.end();
        assert!(code == Some(expected) && !shown.contains("horse"), "{code:?} {shown}");
    }
}
