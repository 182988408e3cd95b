//! What a backup reads: everything, or what a change list names and whatever is uncertain besides.

use thiserror::Error;

use super::omission::omittable;
use super::{BackupRequest, uncertain};
use crate::base::extent::{Extent, ExtentSet};
use crate::repository::ListedPoint;

/// Ranges that somebody says have changed since the volume's newest point.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChangeList {
    /// The ranges, in bytes.
    pub extents: ExtentSet,
}

/// A line of a change list that is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line} of the change list is {text:?}; each line is 'offset length' in bytes")]
pub struct ChangeListError {
    line: usize,
    text: String,
}

impl ChangeList {
    /// Reads lines of 'offset length', in bytes. Empty lines and lines that begin with # are skipped.
    pub fn parse(text: &str) -> Result<Self, ChangeListError> {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        let extents = lines
            .map(|(index, line)| {
                parse_line(line).ok_or_else(|| ChangeListError { line: index + 1, text: line.chars().take(80).collect() })
            })
            .collect::<Result<ExtentSet, _>>()?;
        Ok(Self { extents })
    }
}

fn parse_line(line: &str) -> Option<Extent> {
    let mut words = line.split_whitespace();
    let (offset, length) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    words.next().is_none().then_some(Extent::new(offset, length))
}

/// What will be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Plan {
    /// All of it.
    Whole {
        /// Size of the volume in bytes.
        size: u64,
        /// Whole chunks that are left out.
        omitted: ExtentSet,
    },
    /// These chunks; the rest is the previous point's.
    Listed {
        /// Whole chunks, cut off at the volume's end.
        chunks: ExtentSet,
        /// Whole chunks that are left out.
        omitted: ExtentSet,
        /// Bytes that the list named.
        listed_bytes: u64,
        /// Size of the volume in bytes.
        size: u64,
        /// Its chunk size in bytes.
        chunk_bytes: u32,
    },
}

impl Plan {
    pub(super) fn whole(request: &BackupRequest, size: u64, chunk_bytes: u32) -> Self {
        Self::Whole { size, omitted: omittable(&request.free, chunk_bytes, size) }
    }

    pub(super) fn new(request: &BackupRequest, previous: Option<&ListedPoint>, size: u64, chunk_bytes: u32) -> Self {
        match (&request.changed, previous) {
            (Some(list), Some(previous)) if !request.full => {
                let due = list.extents.union(&uncertain(previous, size)).align_outward(chunk_bytes.into(), size);
                let omitted = due.intersection(&omittable(&request.free, chunk_bytes, size));
                Self::Listed { chunks: due.difference(&omitted), omitted, listed_bytes: list.extents.bytes(), size, chunk_bytes }
            }
            _ => Self::whole(request, size, chunk_bytes),
        }
    }

    /// Adds ranges to read.
    pub(super) fn add(&mut self, more: &ExtentSet) {
        if let Self::Listed { chunks, size, chunk_bytes, .. } = self {
            *chunks = chunks.union(&more.align_outward((*chunk_bytes).into(), *size));
        }
    }

    /// What is left out, ascending.
    pub(super) fn omitted(&self) -> &ExtentSet {
        match self {
            Self::Whole { omitted, .. } | Self::Listed { omitted, .. } => omitted,
        }
    }

    /// How many bytes will be read.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Whole { size, omitted } => size.saturating_sub(omitted.bytes()),
            Self::Listed { chunks, .. } => chunks.bytes(),
        }
    }

    /// The extents to read, ascending, none crossing a multiple of `window_bytes`.
    pub(super) fn windows(&self, window_bytes: u64) -> Box<dyn Iterator<Item = Extent> + Send + '_> {
        let extents: Box<dyn Iterator<Item = Extent> + Send + '_> = match self {
            Self::Whole { size, omitted } => Box::new(ExtentSet::whole(*size).difference(omitted).into_iter()),
            Self::Listed { chunks, .. } => Box::new(chunks.as_slice().iter().copied()),
        };
        Box::new(extents.flat_map(move |extent| extent.cut(window_bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_list_is_offset_and_length_a_line() {
        let list = ChangeList::parse("# made by hand\n0 512\n\n  4096\t8192 \n512 512\n").unwrap();
        assert_eq!(list.extents.as_slice(), [Extent::new(0, 1024), Extent::new(4096, 8192)]);
        for (text, line) in [("0 512\nx 1", 2), ("1", 1), ("1 2 3", 1), ("-1 5", 1), ("1 99999999999999999999", 1)] {
            assert_eq!(ChangeList::parse(text).unwrap_err().line, line, "{text:?}");
        }
    }

    #[test]
    fn windows_never_cross_a_boundary_and_cover_the_plan() {
        let chunks: ExtentSet = [Extent::new(16384, 600_000), Extent::new(1 << 20, 16384)].into_iter().collect();
        let plan =
            Plan::Listed { chunks: chunks.clone(), omitted: ExtentSet::new(), listed_bytes: 0, size: 2 << 20, chunk_bytes: 16384 };
        let windows: Vec<_> = plan.windows(262_144).collect();
        assert_eq!(windows.iter().copied().collect::<ExtentSet>(), chunks);
        assert!(windows.iter().all(|w| w.offset / 262_144 == (w.end() - 1) / 262_144));
        assert_eq!(Plan::Whole { size: 1000, omitted: Extent::new(256, 256).into() }.windows(256).count(), 3);
    }
}
