//! A thin pool on a disk, a volume in it, and snapshots of that.

use std::path::Path;

use crate::machine::{Mapped, SECTOR_BYTES};
use crate::rig::{run, text};

pub const BLOCK_BYTES: u64 = 64 << 10;
pub const VOLUME_BYTES: u64 = 20 << 20;
const METADATA_SECTORS: u64 = (16 << 20) / SECTOR_BYTES;
const DATA_SECTORS: u64 = (400 << 20) / SECTOR_BYTES;
/// The number of the volume within the pool.
pub const VOLUME: u32 = 0;

/// A pool with one volume. Fields go from the top to the bottom of the stack.
#[derive(Debug)]
pub struct Pool {
    pub volume: Mapped,
    pub device: Mapped,
    _data: Mapped,
    _metadata: Mapped,
}

impl Pool {
    pub fn new(disk: &Path) -> Self {
        Self::with(disk, &["--uuid", "ICECORE-TEST-pool"])
    }

    pub fn with(disk: &Path, options: &[&str]) -> Self {
        let disk = text(disk);
        let metadata = Mapped::new("metadata", &format!("0 {METADATA_SECTORS} linear {disk} 0"));
        run("dd", &["if=/dev/zero", &format!("of={}", metadata.text()), "bs=4k", "count=1", "oflag=direct", "status=none"]);
        let data = Mapped::new("data", &format!("0 {DATA_SECTORS} linear {disk} {METADATA_SECTORS}"));
        let (block, parts) = (BLOCK_BYTES / SECTOR_BYTES, format!("{} {}", metadata.text(), data.text()));
        let device = Mapped::with("pool", &format!("0 {DATA_SECTORS} thin-pool {parts} {block} 0"), options);
        device.message(&format!("create_thin {VOLUME}"));
        let volume = Mapped::new("volume", &table(VOLUME));
        Self { volume, device, _data: data, _metadata: metadata }
    }

    /// What the volume holds now, under the number `id`; what is on its way lands before.
    pub fn snapshot(&self, id: u32) -> Mapped {
        self.volume.suspended(|| self.device.message(&format!("create_snap {id} {VOLUME}")));
        Mapped::read_only(&format!("snapshot{id}"), &table(id))
    }

    pub fn delete(&self, snapshot: Mapped, id: u32) {
        drop(snapshot);
        self.device.message(&format!("delete {id}"));
    }

    /// Opens a snapshot, so that it can be written to.
    pub fn writable(&self, id: u32) -> Mapped {
        Mapped::new(&format!("writable{id}"), &table(id))
    }

    /// Whether somebody holds a snapshot of the metadata.
    pub fn is_held(&self) -> bool {
        self.device.status().split_whitespace().nth(6).expect("a pool that is well") != "-"
    }
}

fn table(id: u32) -> String {
    format!("0 {} thin /dev/mapper/pool {id}", VOLUME_BYTES / SECTOR_BYTES)
}
