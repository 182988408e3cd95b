//! The audit of what was said to have changed: a random sample of the rest is read and held against the previous point.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use super::capture::LiveVolume;
use super::plan::Plan;
use crate::base::cancel::Cancel;
use crate::base::entropy::Entropy;
use crate::base::extent::{Extent, ExtentSet};
use crate::base::io::BulkRead;
use crate::job::JobError;
use crate::repository::{PointWriter, RepositoryError};

/// How hard to look for a lying change list.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AuditPolicy {
    /// Share of the unlisted chunks that are wrong, from which on the audit must notice.
    pub wrong_share: f64,
    /// Probability with which it must.
    pub detection: f64,
}

impl Default for AuditPolicy {
    /// One wrong chunk in a hundred is noticed 999 times out of a thousand: 688 chunks are read.
    fn default() -> Self {
        Self { wrong_share: 0.01, detection: 0.999 }
    }
}

/// How many chunks to sample: n such that 1 - (1 - share)^n reaches the detection probability.
#[must_use]
pub fn audit_sample_chunks(policy: AuditPolicy) -> u64 {
    let (share, missed) = (policy.wrong_share.clamp(1e-6, 1.0 - 1e-9), (1.0 - policy.detection).clamp(1e-12, 1.0));
    let count = (missed.ln() / (1.0 - share).ln()).ceil();
    // Bounded by the clamps above: ln(1e-12) / ln(1 - 1e-6) is below 28 million.
    count as u64
}

/// What an audit found.
#[derive(Debug, Default)]
pub(super) struct AuditOutcome {
    /// Chunks read and compared.
    pub(super) chunks: u64,
    /// What is not as the previous point holds it.
    pub(super) mismatches: ExtentSet,
    /// Sampled ranges that could not be read: they belong into the point as unreadable.
    pub(super) unreadable: ExtentSet,
}

/// Reads a sample of the chunks that the plan leaves out.
pub(super) fn audit(
    plan: &Plan,
    policy: AuditPolicy,
    writer: &PointWriter,
    reader: &mut dyn BulkRead,
    entropy: &dyn Entropy,
    cancel: &Cancel,
) -> Result<AuditOutcome, JobError> {
    let Plan::Listed { chunks, omitted, size, chunk_bytes, .. } = plan else { return Ok(AuditOutcome::default()) };
    let unlisted = ExtentSet::whole(*size).difference(&chunks.union(omitted));
    let sample = choose(&unlisted, u64::from(*chunk_bytes), audit_sample_chunks(policy), entropy)?;
    let (mut outcome, cutter, mut earlier) = (AuditOutcome::default(), writer.cutter(), writer.earlier());
    let mut failed = None;
    let result = reader.read(&mut sample.iter().copied(), &mut |window| {
        if cancel.is_cancelled() {
            return ControlFlow::Break(());
        }
        if !window.unreadable.is_empty() {
            outcome.unreadable.insert(window.extent);
            return ControlFlow::Continue(());
        }
        outcome.chunks += 1;
        match earlier.at(window.extent.offset / u64::from(*chunk_bytes)) {
            Ok(trees) => {
                let entries = trees.first().copied().unwrap_or_default();
                let difference = cutter.first_difference(window.extent.offset, window.memory.bytes(), entries);
                difference.into_iter().for_each(|wrong| outcome.mismatches.insert(wrong));
            }
            Err(error) => failed = Some(error),
        }
        if failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    match failed {
        Some(error) => Err(error.into()),
        None if cancel.is_cancelled() => Err(JobError::Cancelled),
        None => result.map(|()| outcome).map_err(JobError::from),
    }
}

/// The first of what was `found` to have changed although it was said that it did not. On a live volume, what was written since the cut
/// explains some of it; that is added to `pending`.
pub(super) fn contradiction(
    found: &ExtentSet,
    pending: &mut ExtentSet,
    live: Option<&mut (dyn LiveVolume + '_)>,
    size: u64,
) -> Result<Option<Extent>, JobError> {
    if let (false, Some(live)) = (found.is_empty(), live) {
        let written = live.written()?.unwrap_or_else(|_unknown| ExtentSet::whole(size));
        *pending = pending.union(&written);
    }
    Ok(found.difference(pending).as_slice().first().copied())
}

/// `count` different chunks of `unlisted`, evenly at random, ascending; all of them if there are no more.
pub(super) fn choose(unlisted: &ExtentSet, chunk_bytes: u64, count: u64, entropy: &dyn Entropy) -> Result<Vec<Extent>, JobError> {
    // Unlisted extents begin and end at chunk boundaries, but for the volume's end.
    let total: u64 = unlisted.as_slice().iter().map(|extent| extent.length.div_ceil(chunk_bytes)).sum();
    if count >= total {
        return Ok(unlisted.as_slice().iter().flat_map(|extent| extent.cut(chunk_bytes)).collect());
    }
    let mut chosen = BTreeSet::new();
    // Robert Floyd's algorithm: `count` draws, no repetition.
    for limit in total - count..total {
        let draw = entropy.u64().map_err(RepositoryError::from)? % (limit + 1);
        if !chosen.insert(draw) {
            chosen.insert(limit);
        }
    }
    Ok(locate(unlisted, chunk_bytes, &chosen))
}

/// The chunks with these numbers, counted over the set.
fn locate(unlisted: &ExtentSet, chunk_bytes: u64, numbers: &BTreeSet<u64>) -> Vec<Extent> {
    let mut out = Vec::with_capacity(numbers.len());
    let mut before = 0;
    let mut extents = unlisted.as_slice().iter();
    let mut current = extents.next();
    for number in numbers {
        while let Some(extent) = current {
            let here = extent.length.div_ceil(chunk_bytes);
            if *number < before + here {
                let offset = extent.offset + (number - before) * chunk_bytes;
                out.push(Extent::new(offset, chunk_bytes).intersect(extent));
                break;
            }
            before += here;
            current = extents.next();
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::seeded_entropy::SeededEntropy;
    use proptest::prelude::*;

    #[test]
    fn the_sample_size_follows_from_the_detection_probability() {
        assert_eq!(audit_sample_chunks(AuditPolicy::default()), 688);
        assert_eq!(audit_sample_chunks(AuditPolicy { wrong_share: 0.5, detection: 0.5 }), 1);
        assert_eq!(audit_sample_chunks(AuditPolicy { wrong_share: 0.1, detection: 0.99 }), 44);
    }

    proptest! {
        #[test]
        fn a_sample_has_the_right_number_of_different_unlisted_chunks(
            raw in prop::collection::vec((0u64..100, 1u64..20), 1..6), count in 0u64..150, seed in any::<u64>()
        ) {
            let size = 16 * 4096 * 10 - 1000;
            let listed: ExtentSet = raw.iter().map(|(o, l)| Extent::new(o * 4096, l * 4096)).collect();
            let unlisted = ExtentSet::whole(size).difference(&listed);
            let total = unlisted.as_slice().iter().map(|e| e.length.div_ceil(4096)).sum::<u64>();
            let sample = choose(&unlisted, 4096, count, &SeededEntropy::new(seed)).unwrap();
            prop_assert_eq!(sample.len() as u64, count.min(total));
            for pair in sample.windows(2) {
                prop_assert!(pair[0].end() <= pair[1].offset);
            }
            for chunk in &sample {
                prop_assert_eq!(chunk.offset % 4096, 0);
                prop_assert!(!listed.intersects(chunk) && !chunk.is_empty() && chunk.end() <= size);
            }
        }
    }
}
