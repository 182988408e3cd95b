//! Where secrets come from: a key file, a variable, or a person at the terminal. Never the command line, which everybody can read.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::failure::Failure;
use super::{output, terminal};
use crate::base::entropy::Entropy;
use crate::repository::format::slot::{Argon2Cost, SlotKind};
use crate::repository::{KeyBytes, NewSlot, Secret};

/// The file that holds the key.
pub(super) const KEY_FILE: &str = "ICECORE_KEY_FILE";
/// The passphrase itself.
pub(super) const PASSPHRASE: &str = "ICECORE_PASSPHRASE";
/// The passphrase that 'key add' takes.
pub(super) const NEW_PASSPHRASE: &str = "ICECORE_NEW_PASSPHRASE";

/// RFC 9106's choice for machines short of memory: a guess costs 64 MiB and about a tenth of a second.
const PASSPHRASE_COST: Argon2Cost = Argon2Cost { passes: 3, memory_kib: 64 << 10, lanes: 4 };
/// A key file holds some 70 bytes; more than this is another file.
const MAX_KEY_FILE_BYTES: u64 = 4096;
/// Shorter passphrases are guessed, however slow a guess is.
const MIN_PASSPHRASE_CHARACTERS: usize = 8;

/// What the user has set.
#[derive(Debug, Clone, Default)]
pub(super) struct KeySources {
    pub(super) key_file: Option<PathBuf>,
    pub(super) passphrase: Option<SecretString>,
}

impl KeySources {
    /// What the environment says. An empty variable counts as none.
    pub(super) fn from_environment() -> Self {
        Self {
            key_file: env::var_os(KEY_FILE).filter(|path| !path.is_empty()).map(PathBuf::from),
            passphrase: variable(PASSPHRASE),
        }
    }

    /// The secrets to try, in order: the key file, then the passphrase; if neither is set, one asked for at the terminal.
    pub(super) fn to_open(&self) -> anyhow::Result<Vec<Secret>> {
        let key = self.key_file.as_deref().map(read_key_file).transpose()?.map(Secret::Key);
        let passphrase = self.passphrase.clone().map(Secret::Passphrase);
        let given: Vec<_> = key.into_iter().chain(passphrase).collect();
        match given.is_empty() {
            false => Ok(given),
            true if terminal::is_attended() => Ok(vec![Secret::Passphrase(terminal::ask("passphrase")?)]),
            true => Err(nothing_set(&format!("set {KEY_FILE} or {PASSPHRASE}"))),
        }
    }
}

fn nothing_set(what_to_do: &str) -> anyhow::Error {
    Failure::Key(format!("there is no key to use, and no terminal to ask at; {what_to_do}")).into()
}

fn variable(name: &str) -> Option<SecretString> {
    env::var(name).ok().filter(|value| !value.is_empty()).map(SecretString::from)
}

/// The slot of a passphrase.
pub(super) fn passphrase_slot(passphrase: SecretString, label: &str) -> anyhow::Result<NewSlot> {
    if passphrase.expose_secret().chars().count() < MIN_PASSPHRASE_CHARACTERS {
        let reason = format!("a passphrase has at least {MIN_PASSPHRASE_CHARACTERS} characters; use several words");
        return Err(Failure::Refused(reason).into());
    }
    let kind = SlotKind::Passphrase(PASSPHRASE_COST);
    Ok(NewSlot { secret: Secret::Passphrase(passphrase), kind, label: label.to_owned() })
}

/// A passphrase that does not exist yet: from a variable, or asked for twice.
pub(super) fn new_passphrase(name: &str, instead: &str) -> anyhow::Result<SecretString> {
    if let Some(passphrase) = variable(name) {
        return Ok(passphrase);
    }
    if !terminal::is_attended() {
        return Err(nothing_set(instead));
    }
    let (first, second) = (terminal::ask("new passphrase")?, terminal::ask("the same again")?);
    if first.expose_secret() == second.expose_secret() {
        Ok(first)
    } else {
        Err(Failure::refused("the two passphrases are not the same; nothing was changed, run it again").into())
    }
}

/// What became of a key file that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyFile {
    /// It was there, and is used.
    Found,
    /// It is new.
    Written,
}

/// The slot of a key file, which is made if it is not there.
pub(super) fn key_file_slot(path: &Path, label: &str, entropy: &dyn Entropy) -> anyhow::Result<(NewSlot, KeyFile)> {
    let (key, made) = match write_key_file(path, entropy) {
        Ok(key) => (key, KeyFile::Written),
        Err(error) if is_already_there(&error) => (read_key_file(path)?, KeyFile::Found),
        Err(error) => return Err(error),
    };
    Ok((NewSlot { secret: Secret::Key(key), kind: SlotKind::KeyFile, label: label.to_owned() }, made))
}

fn is_already_there(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::AlreadyExists)
}

/// Writes a new key and returns once it is on stable storage: a repository whose only key is lost is lost.
fn write_key_file(path: &Path, entropy: &dyn Entropy) -> anyhow::Result<KeyBytes> {
    let failed = || format!("cannot write the key file {}", path.display());
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).with_context(failed)?;
    let mut key = Zeroizing::new([0; 32]);
    entropy.fill(&mut *key)?;
    let key = KeyBytes(key);
    file.write_all(key.to_text().as_bytes()).and_then(|()| file.write_all(b"\n")).with_context(failed)?;
    file.sync_all().with_context(failed)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).with_context(failed)?;
    Ok(key)
}

fn read_key_file(path: &Path) -> anyhow::Result<KeyBytes> {
    let contents = read_small(path)
        .map_err(|error| Failure::Key(format!("cannot read the key file {}: {error}; check {KEY_FILE}", path.display())))?;
    if fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0) {
        output::warn(&format!("others can read the key file {0}; run 'chmod 600 {0}'", path.display()));
    }
    KeyBytes::parse(&contents).with_context(|| format!("cannot use the key file {}", path.display()))
}

fn read_small(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut contents = Zeroizing::new(Vec::with_capacity(256));
    File::open(path)?.take(MAX_KEY_FILE_BYTES).read_to_end(&mut contents)?;
    Ok(contents)
}
