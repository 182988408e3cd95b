//! Where tokens come from: each stream is opened with a new one, because they live for minutes only.

use std::fmt;
use std::io;

use secrecy::SecretString;

/// Gives a token that is good now.
pub trait TokenSource: Send + Sync + fmt::Debug {
    /// A token with some minutes left to live; asked for once a stream.
    fn token(&self) -> io::Result<SecretString>;
}
