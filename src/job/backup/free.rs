//! What the file system or the storage says is free, and why some of it is read all the same.

use std::sync::Arc;

use super::audit::{AuditPolicy, audit_sample_chunks, choose};
use crate::base::cancel::Cancel;
use crate::base::entropy::Entropy;
use crate::base::extent::{Extent, ExtentSet};
use crate::base::io::ReadAt;
use crate::filesystem;
use crate::job::JobError;

/// Free space, as far as it is proven.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FreeSpace {
    /// Bytes that belong to no file and to no part of the file system itself.
    pub free: ExtentSet,
    /// Why other parts are read whatever the file system says of them.
    pub doubts: Vec<String>,
}

impl FreeSpace {
    /// Nothing is left out, for this reason.
    #[must_use]
    pub fn none(reason: impl Into<String>) -> Self {
        Self { free: ExtentSet::new(), doubts: vec![reason.into()] }
    }
}

/// Asks the file system on `source`. The source must not change between this and the backup: it is a snapshot, or at rest.
#[must_use]
pub fn free_space(source: Arc<dyn ReadAt>) -> FreeSpace {
    let filesystem = match filesystem::open(source) {
        Ok(filesystem) => filesystem,
        Err(error) => return FreeSpace::none(format!("everything is read: {error}")),
    };
    let allocation = filesystem.allocation();
    let doubts = allocation.doubts.iter().map(|doubt| format!("{} is read in full: {}", doubt.extent, doubt.reason)).collect();
    FreeSpace { free: allocation.free, doubts }
}

/// A sample is read in pieces of this size: the smallest run that is worth leaving out.
const SAMPLE_BYTES: u64 = 64 << 10;

/// Space that the storage says was never written, if a random sample of it holds nothing but zeros.
///
/// The claim is somebody else's, so it is audited as a change list is. Where it is true, what is left out reads back as it was.
pub fn unwritten_space(
    source: &dyn ReadAt,
    claimed: FreeSpace,
    policy: AuditPolicy,
    entropy: &dyn Entropy,
    cancel: &Cancel,
) -> Result<FreeSpace, JobError> {
    let size = source.size();
    let whole: ExtentSet = claimed.free.as_slice().iter().map(|extent| extent.align_inward(SAMPLE_BYTES, size)).collect();
    for sample in choose(&whole, SAMPLE_BYTES, audit_sample_chunks(policy), entropy)? {
        if cancel.is_cancelled() {
            return Err(JobError::Cancelled);
        }
        if let Some(doubt) = doubt(source, sample) {
            return Ok(FreeSpace::none(format!("everything is read: {sample} was never written, says the storage, but {doubt}")));
        }
    }
    Ok(FreeSpace { free: whole, ..claimed })
}

fn doubt(source: &dyn ReadAt, sample: Extent) -> Option<String> {
    let mut bytes = vec![0; usize::try_from(sample.length.min(SAMPLE_BYTES)).unwrap_or_default()];
    match source.read_at(sample.offset, &mut bytes) {
        Err(error) => Some(error.to_string()),
        Ok(()) => bytes.iter().any(|byte| *byte != 0).then(|| "there is data".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::io::IoError;
    use crate::testkit::dice::each_seed;
    use crate::testkit::seeded_entropy::SeededEntropy;

    /// Zeros, but for the bytes that are named.
    #[derive(Debug)]
    struct Zeros {
        size: u64,
        data: ExtentSet,
        is_broken: bool,
    }

    impl ReadAt for Zeros {
        fn size(&self) -> u64 {
            self.size
        }

        fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
            let extent = Extent::new(offset, out.len() as u64);
            if self.is_broken {
                return Err(IoError::Missing { extent, reason: "broken".to_owned() });
            }
            for (byte, at) in out.iter_mut().zip(offset..) {
                *byte = u8::from(self.data.contains(at));
            }
            Ok(())
        }
    }

    fn audited(source: &Zeros, claimed: ExtentSet, seed: u64) -> FreeSpace {
        let claimed = FreeSpace { free: claimed, doubts: Vec::new() };
        unwritten_space(source, claimed, AuditPolicy::default(), &SeededEntropy::new(seed), &Cancel::new()).unwrap()
    }

    #[test]
    fn a_claim_of_unwritten_space_is_believed_where_a_sample_is_zeros() {
        let size = (4 << 20) + 1000;
        let source = Zeros { size, data: Extent::new(0, 100_000).into(), is_broken: false };
        let believed = audited(&source, [Extent::between(100_000, size)].into_iter().collect(), 1);
        assert_eq!(believed, FreeSpace { free: Extent::between(131_072, size).into(), doubts: Vec::new() });
    }

    #[test]
    fn one_byte_of_data_in_the_sample_spoils_the_whole_claim() {
        each_seed(0..8, |seed| {
            let size = 4 << 20;
            let at = seed * 500_000 + 200_000;
            let source = Zeros { size, data: Extent::new(at, 1).into(), is_broken: false };
            let space = audited(&source, Extent::between(131_072, size).into(), seed);
            assert!(space.free.is_empty());
            assert!(space.doubts[0].contains("but there is data"), "{space:?}");
        });
    }

    #[test]
    fn a_sample_that_cannot_be_read_proves_nothing() {
        let source = Zeros { size: 1 << 20, data: ExtentSet::new(), is_broken: true };
        let space = audited(&source, ExtentSet::whole(1 << 20), 1);
        assert!(space.free.is_empty() && space.doubts[0].contains("broken"), "{space:?}");
    }
}
