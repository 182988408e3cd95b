//! Images of real filesystems for the journal's tests: where the journal lies, and what e2fsck makes of it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use crate::base::io::ReadAt;
use crate::filesystem::ext::journal::area::Area;
use crate::filesystem::ext::journal::descriptor::Tags;
use crate::filesystem::ext::journal::doubts::Doubts;
use crate::filesystem::ext::journal::revoke::Revoked;
use crate::filesystem::ext::journal::superblock::JournalSuperblock;
use crate::filesystem::ext::journal::walk::{Log, Step, Walk};
use crate::filesystem::ext::journal::{JournalPlace, Replay, replay, scan};
use crate::filesystem::overlay::Overlaid;
use crate::testkit::volume::MemoryVolume;

/// An image in memory.
pub(super) struct Image {
    pub(super) source: Arc<dyn ReadAt>,
    pub(super) place: JournalPlace,
}

impl Image {
    /// Reads an image; debugfs says where the journal lies.
    pub(super) fn open(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap();
        let word = |at: usize| u32::from_le_bytes(bytes[1024 + at..1024 + at + 4].try_into().unwrap());
        let block_bytes = 1024 << word(24);
        let journal_bytes = 16_u64 << 20;
        let place = JournalPlace {
            runs: journal_runs(path, journal_bytes / u64::from(block_bytes)),
            block_bytes,
            blocks_in_filesystem: u64::from(word(4)),
            needs_recovery: word(0x60) & 4 != 0,
            superblock_feature_fast_commit: word(0x5c) & 0x400 != 0,
        };
        Self { source: Arc::new(MemoryVolume::new(bytes)), place }
    }

    pub(super) fn replay(&self) -> Replay {
        replay(&self.source, &self.place).unwrap()
    }

    /// How many logged copies of blocks a later revoke record makes void.
    pub(super) fn void_copies(&self) -> usize {
        let area = Area::new(self.source.as_ref(), &self.place).unwrap();
        let superblock = JournalSuperblock::read(&area).unwrap();
        let log = Log { start: superblock.start.unwrap(), area, superblock };
        let extent = scan::scan(&log, &mut Doubts::default()).unwrap();
        let revoked = Revoked::read(&log, &extent).unwrap();
        let mut walk = Walk::new(&log);
        let mut void = 0;
        while walk.sequence != extent.end {
            match walk.step().unwrap() {
                Step::Descriptor => {
                    void +=
                        Tags::new(walk.fields(), &log.superblock).filter(|tag| revoked.covers(tag.block, walk.sequence)).count();
                    walk.skip_data();
                }
                Step::Commit => walk.sequence = walk.sequence.wrapping_add(1),
                Step::Revoke | Step::End => {}
            }
        }
        void
    }
}

/// The blocks of inode 8, one by one, up to the first hole. A crash leaves bitmaps that contradict their checksums, so debugfs must not look.
fn journal_runs(path: &Path, most: u64) -> Vec<(u64, u64)> {
    let commands: String = (0..most).map(|block| format!("bmap <8> {block}\n")).collect();
    let script = path.with_extension("bmap");
    fs::write(&script, commands).unwrap();
    let output = Command::new("debugfs").args(["-c", "-f"]).arg(&script).arg(path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let blocks = text.lines().filter(|line| !line.starts_with("debugfs")).map(|line| line.trim().parse().unwrap());
    blocks.take_while(|block: &u64| *block != 0).map(|block| (block, 1)).collect()
}

/// Lets e2fsck do nothing but replay the journal of the image at `path`, and says whether it found the journal whole.
pub(super) fn let_e2fsck_replay(path: &Path) -> bool {
    let output = Command::new("e2fsck").args(["-y", "-E", "journal_only"]).arg(path).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.code().is_some_and(|code| code <= 1), "{text}");
    !text.contains("corrupt")
}

/// Compares the image as replayed in memory with `copy`, which another has replayed. Every block, but those that replay itself writes:
/// the superblock and that of the journal.
pub(super) fn assert_same(image: &Image, replay: &Replay, copy: &Path, name: &str) {
    let block_bytes = image.place.block_bytes as usize;
    let own = BTreeSet::from([1024 / block_bytes as u64, image.place.runs[0].0]);
    let overlaid = Overlaid::new(Arc::clone(&image.source), replay.overlay.clone());
    let mut ours = vec![0; block_bytes];
    for (block, theirs) in fs::read(copy).unwrap().chunks(block_bytes).enumerate() {
        overlaid.read_at((block * block_bytes) as u64, &mut ours[..theirs.len()]).unwrap();
        let is_named = replay.overlay.patch(block as u64).is_some();
        assert!(
            ours[..theirs.len()] == *theirs || own.contains(&(block as u64)),
            "{name}: block {block}, in the overlay: {is_named}"
        );
    }
}
