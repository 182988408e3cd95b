//! Writers that never stop while an epoch is opened and closed, save for the moment of the cut.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{RwLock, RwLockWriteGuard};
use std::thread::{self, Scope};

use icecore::testkit::dice::Dice;
use nix::libc::O_DIRECT;
use nix::sys::uio::pwrite;

use crate::rig::text;

/// What is written to: the first bytes of a disk.
pub const REACH_BYTES: u64 = 48 << 20;
const BLOCK_BYTES: u64 = 4096;

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
        scope.spawn(move || self.write(&Dice::new(seed), O_DIRECT));
        scope.spawn(move || self.write(&Dice::new(seed + 1), 0));
        scope.spawn(move || self.discard(&Dice::new(seed + 2)));
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
            let offset = dice.below((REACH_BYTES - length) / BLOCK_BYTES) * BLOCK_BYTES;
            block.0.iter_mut().step_by(511).for_each(|byte| *byte = dice.below(256) as u8);
            let _moving = self.still.read().unwrap();
            write_at(&file, &block.0[..length as usize], offset);
            if flags == 0 && dice.chance(50) {
                file.sync_data().unwrap();
            }
            self.writes.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn discard(&self, dice: &Dice) {
        while !self.is_over.load(Ordering::Relaxed) {
            let length = dice.within(1..65) * BLOCK_BYTES;
            let offset = dice.below((REACH_BYTES - length) / BLOCK_BYTES) * BLOCK_BYTES;
            let _moving = self.still.read().unwrap();
            let (offset, length) = (offset.to_string(), length.to_string());
            let done = Command::new("blkdiscard").args(["-o", &offset, "-l", &length, text(self.device)]).status();
            assert!(done.unwrap().success());
        }
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
