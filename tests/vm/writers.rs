//! Writers that never stop while an epoch is opened and closed, save for the moment of the cut.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{RwLock, RwLockWriteGuard};
use std::thread::{self, Scope};

use icecore::testkit::dice::Dice;
use nix::libc::O_DIRECT;
use nix::sys::uio::pwrite;

use crate::rig::text;

/// What is written to: the first bytes of a disk.
pub const REACH_BYTES: u64 = 32 << 20;
const BLOCK_BYTES: u64 = 4096;
const SLOT_BYTES: u64 = 256 << 10;

/// Aligned as direct writes want it, whatever the size of a sector.
#[repr(align(4096))]
struct Block([u8; 8 * BLOCK_BYTES as usize]);

/// Writers on a disk, held still through a lock that each takes for every write.
pub struct Writers<'a> {
    device: &'a Path,
    still: RwLock<()>,
    is_over: AtomicBool,
    pub writes: AtomicU64,
}

impl<'a> Writers<'a> {
    pub fn on(device: &'a Path) -> Self {
        Self { device, still: RwLock::default(), is_over: AtomicBool::new(false), writes: AtomicU64::new(0) }
    }

    /// Direct, buffered and discarding.
    pub fn start<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>, seed: u64) {
        let shell = Discarder::on(self.device);
        scope.spawn(move || self.write(&Dice::new(seed), O_DIRECT));
        scope.spawn(move || self.write(&Dice::new(seed + 1), 0));
        scope.spawn(move || self.discard(&Dice::new(seed + 2), shell));
    }

    /// Nobody writes while this is held. What was written may still wait in the page cache.
    pub fn hold_still(&self) -> RwLockWriteGuard<'_, ()> {
        self.still.write().unwrap()
    }

    /// They end when this is dropped, by a panic too.
    pub fn until_dropped(&self) -> impl Drop {
        Over(&self.is_over)
    }

    fn write(&self, dice: &Dice, flags: i32) {
        let file = OpenOptions::new().write(true).custom_flags(flags).open(self.device).unwrap();
        let mut block = Box::new(Block([0; 8 * BLOCK_BYTES as usize]));
        while !self.is_over.load(Ordering::Relaxed) {
            let length = dice.within(1..9) * BLOCK_BYTES;
            // Each kind has every other slot: direct writes through what the page cache holds are errors of the writer.
            let slot = dice.below(REACH_BYTES / SLOT_BYTES / 2) * 2 + u64::from(flags == 0);
            let offset = slot * SLOT_BYTES + dice.below((SLOT_BYTES - length) / BLOCK_BYTES + 1) * BLOCK_BYTES;
            block.0.iter_mut().step_by(511).for_each(|byte| *byte = dice.below(256) as u8);
            let _moving = self.still.read().unwrap();
            write_at(&file, &block.0[..length as usize], offset);
            if flags == 0 && dice.chance(50) {
                file.sync_data().unwrap();
            }
            self.writes.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn discard(&self, dice: &Dice, mut discarder: Discarder) {
        while !self.is_over.load(Ordering::Relaxed) {
            let length = dice.within(1..9) * BLOCK_BYTES;
            let offset = dice.below((REACH_BYTES - length) / BLOCK_BYTES) * BLOCK_BYTES;
            let _moving = self.still.read().unwrap();
            discarder.discard(offset, length);
        }
    }
}

/// A shell that discards as it is told. It is started once: a process that is started in the middle of an epoch holds the tracker's
/// locks for a moment, as its parent does.
struct Discarder {
    shell: Child,
    answers: BufReader<ChildStdout>,
}

impl Discarder {
    fn on(device: &Path) -> Self {
        let script = "while read -r offset length; do blkdiscard -o $offset -l $length $0 && echo done; done";
        let mut shell = Command::new("sh");
        shell.args(["-c", script, text(device)]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shell = shell.spawn().unwrap();
        let answers = BufReader::new(shell.stdout.take().unwrap());
        Self { shell, answers }
    }

    fn discard(&mut self, offset: u64, length: u64) {
        writeln!(self.shell.stdin.as_mut().unwrap(), "{offset} {length}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        assert_eq!(answer, "done\n");
    }
}

impl Drop for Discarder {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        self.shell.wait().unwrap();
    }
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn write_at(file: &File, bytes: &[u8], offset: u64) {
    assert_eq!(pwrite(file, bytes, i64::try_from(offset).unwrap()).unwrap(), bytes.len());
    thread::yield_now();
}
