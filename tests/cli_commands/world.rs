//! A temporary folder with a repository, a key, and images that a seed repeats.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

/// No command of these tests takes longer, even on a busy machine.
const TIME_LIMIT: Duration = Duration::from_secs(120);

/// The binary under test.
pub const ICECORE: &str = env!("CARGO_BIN_EXE_icecore");

/// What a finished command left.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Run {
    /// The one JSON object on standard output.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    /// The error says these words, and says them once.
    #[track_caller]
    pub fn says(self, words: &str) -> Self {
        assert_eq!(self.err.matches(words).count(), 1, "{words:?} in {self:#?}");
        self
    }
}

/// A folder for one test.
#[derive(Debug)]
pub struct World {
    folder: TempDir,
    pub variables: Vec<(String, String)>,
}

impl World {
    /// Nothing there yet; a key file is named.
    pub fn empty() -> Self {
        let folder = TempDir::new().unwrap();
        let text = |name: &str| folder.path().join(name).display().to_string();
        let variables = [("ICECORE_KEY_FILE", text("key")), ("ICECORE_REPO", text("repository")), ("TZ", "UTC".to_owned())];
        Self { variables: variables.map(|(name, value)| (name.to_owned(), value)).into(), folder }
    }

    /// With a repository of small packs.
    pub fn new() -> Self {
        let world = Self::empty();
        world.run(&["init", "--pack-size", "256KiB"]).exits(0);
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.unset(name);
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    pub fn unset(&mut self, name: &str) {
        self.variables.retain(|(known, _)| known != name);
    }

    /// A command in which nothing of the tester's own environment shows.
    pub fn command(&self, arguments: &[&str]) -> process::Command {
        let mut command = process::Command::new(ICECORE);
        command.args(arguments).env_clear().envs(self.variables.iter().cloned()).current_dir(self.folder.path());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Run {
        let output = Command::from_std(self.command(arguments)).timeout(TIME_LIMIT).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let code = output.status.code().unwrap_or_else(|| panic!("{arguments:?} was killed: {output:?}"));
        Run { code, out: text(output.stdout), err: text(output.stderr) }
    }

    /// Backs up `image` at full pace.
    pub fn backup(&self, image: &str, more: &[&str]) -> Run {
        self.run(&[&["backup", image, "--pace", "full"], more].concat())
    }

    /// The ids of all points, oldest cut first.
    pub fn ids(&self) -> Vec<String> {
        let listed = self.run(&["points", "--json"]).exits(0).json();
        listed["points"].as_array().unwrap().iter().map(|point| point["id"].as_str().unwrap().to_owned()).collect()
    }

    /// An image of bytes that do not compress.
    pub fn image(&self, name: &str, size: usize, seed: u64) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, noise(size, seed)).unwrap();
        path
    }

    /// Restores a point to a new file and compares it with the bytes that it should hold.
    #[track_caller]
    pub fn expect(&self, point: &str, wanted: &[u8]) {
        let target = self.path(&format!("restored-{}", point.replace('/', "_")));
        drop(fs::remove_file(&target));
        self.run(&["restore", point, "--to", target.to_str().unwrap()]).exits(0);
        assert!(fs::read(&target).unwrap() == wanted, "{point} comes back different");
    }
}

/// Bytes that look random and that `seed` repeats.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut out = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

/// Overwrites a part of an image.
pub fn change(path: &Path, offset: u64, bytes: &[u8]) {
    OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, offset).unwrap();
}

/// Every file below a folder.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// Changes one byte in the middle of a file.
pub fn damage(path: &Path) {
    let middle = File::open(path).unwrap().metadata().unwrap().len() / 2;
    let mut byte = [0];
    File::open(path).unwrap().read_exact_at(&mut byte, middle).unwrap();
    change(path, middle, &[byte[0] ^ 0x55]);
}
