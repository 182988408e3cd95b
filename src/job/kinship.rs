//! Whether a volume is a later state of a recovery point, when nothing of it says so: by content that still lies where it lay.

use std::ops::ControlFlow;

use crate::base::extent::Extent;
use crate::base::io::ReadAt;
use crate::filesystem::{FileKind, Filesystem, Inode, Loss, Source, Spot, TreeVisitor, walk};

/// Files whose content is compared, and entries that are met to find them.
const MOST_FILES: usize = 64;
const MOST_ENTRIES: usize = 10_000;
/// Bytes that are compared of each.
const COMPARED_BYTES: u64 = 4096;
/// Fewer bytes than these may be equal by chance.
const LEAST_BYTES: u64 = 16;

/// True when most files of the earlier state still have their content on the volume, at the same place.
#[must_use]
pub fn is_later_state(volume: &dyn ReadAt, earlier: &dyn Filesystem) -> bool {
    let Ok(root) = earlier.inode(earlier.root()) else { return false };
    let mut comparer = Comparer { volume, earlier, entries: 0, compared: 0, equal: 0 };
    let _enough = walk(earlier, &root, b"", &mut comparer);
    comparer.equal > 0 && comparer.equal * 2 > comparer.compared
}

struct Comparer<'a> {
    volume: &'a dyn ReadAt,
    earlier: &'a dyn Filesystem,
    entries: usize,
    compared: usize,
    equal: usize,
}

impl Comparer<'_> {
    /// Whether the beginning of a file is the same on both; `None` where that says nothing.
    fn compare(&self, file: &Inode) -> Option<bool> {
        let segments = self.earlier.map(file, Extent::new(0, COMPARED_BYTES.min(file.size))).ok()?;
        let first = segments.first()?;
        let Source::Disk(at) = first.source else { return None };
        let (mut then, mut now) = (vec![0; usize::try_from(first.extent.length).ok()?], Vec::new());
        now.resize(then.len(), 0);
        self.earlier.volume().read_at(at, &mut then).ok()?;
        let says_nothing = first.extent.length < LEAST_BYTES || then.iter().all(|byte| Some(byte) == then.first());
        (!says_nothing).then(|| self.volume.read_at(at, &mut now).is_ok() && now == then)
    }

    fn step(&mut self) -> ControlFlow<()> {
        self.entries += 1;
        let is_enough = self.compared >= MOST_FILES || self.entries >= MOST_ENTRIES;
        if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

impl TreeVisitor for Comparer<'_> {
    fn enter(&mut self, _spot: &Spot<'_>, _directory: &Inode) -> ControlFlow<(), bool> {
        self.step().map_continue(|()| true)
    }

    fn leave(&mut self, _directory: &Inode) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn entry(&mut self, _spot: &Spot<'_>, inode: &Inode) -> ControlFlow<()> {
        if inode.kind == FileKind::Regular
            && let Some(equal) = self.compare(inode)
        {
            self.compared += 1;
            self.equal += usize::from(equal);
        }
        self.step()
    }

    fn lost(&mut self, _spot: &Spot<'_>, _loss: Loss) -> ControlFlow<()> {
        self.step()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::model_filesystem::ModelFilesystem;
    use crate::testkit::volume::MemoryVolume;

    fn earlier() -> (ModelFilesystem, Vec<u8>) {
        let mut model = ModelFilesystem::new();
        for index in 0..10_u8 {
            let content: Vec<u8> = (0..200).map(|byte: u8| byte.wrapping_mul(index + 3)).collect();
            model.file(model.root(), &[b'a' + index], &content);
        }
        let mut bytes = vec![0; model.volume().size() as usize];
        model.volume().read_at(0, &mut bytes).unwrap();
        (model, bytes)
    }

    #[test]
    fn a_volume_of_which_most_content_is_left_is_a_later_state() {
        let (model, mut bytes) = earlier();
        let blocks = bytes.len() / 10;
        bytes[..blocks * 4].fill(0);
        assert!(is_later_state(&MemoryVolume::new(bytes.clone()), &model));
        bytes[..blocks * 5].fill(0);
        assert!(!is_later_state(&MemoryVolume::new(bytes), &model));
    }

    #[test]
    fn another_volume_and_an_empty_state_are_none() {
        let (model, bytes) = earlier();
        assert!(!is_later_state(&MemoryVolume::new(vec![7; bytes.len()]), &model));
        assert!(!is_later_state(&MemoryVolume::new(Vec::new()), &model));
        assert!(!is_later_state(&MemoryVolume::new(bytes), &ModelFilesystem::new()));
    }
}
