//! The map of a whole file, a stretch at a time, however sparse or scattered it is.

use super::error::FilesystemError;
use super::face::{Filesystem, Segment, Source};
use super::inode::Inode;
use crate::base::extent::{Extent, ExtentSet};

/// A map is asked for this much at first, and for twice as much after each stretch without data.
const SHORT_STRETCH_BYTES: u64 = 4 << 20;
/// A stretch of single blocks is a quarter of a million segments, which is as much as may be held.
const LONG_STRETCH_BYTES: u64 = 1 << 30;

/// Shows where a file's bytes come from, in order, until `visit` refuses.
pub fn map_stretches<E>(
    filesystem: &dyn Filesystem,
    file: &Inode,
    mut visit: impl FnMut(Extent, Result<Vec<Segment>, FilesystemError>) -> Result<(), E>,
) -> Result<(), E> {
    let (mut at, mut length) = (0, SHORT_STRETCH_BYTES);
    while at < file.size {
        let stretch = Extent::between(at, at.saturating_add(length).min(file.size));
        let segments = filesystem.map(file, stretch);
        let is_empty = segments.as_ref().is_ok_and(|segments| !segments.iter().any(is_data));
        length = if is_empty { (2 * length).min(LONG_STRETCH_BYTES) } else { SHORT_STRETCH_BYTES };
        visit(stretch, segments)?;
        at = stretch.end();
    }
    Ok(())
}

/// True when the bytes of a segment were written.
#[must_use]
pub fn is_data(segment: &Segment) -> bool {
    match segment.source {
        Source::Disk(_) | Source::Inline(_) => true,
        // What is lost must be asked for, so that whoever copies hears of it.
        Source::Lost(_) => true,
        Source::Hole | Source::Unwritten(_) => false,
    }
}

/// The bytes of a file that were written, grown to multiples of `granule`; nothing when they lie in more than `limit` pieces.
pub fn written_bytes(
    filesystem: &dyn Filesystem,
    file: &Inode,
    granule: u64,
    limit: usize,
) -> Result<Option<ExtentSet>, FilesystemError> {
    let whole = Extent::new(0, file.size);
    let mut written = ExtentSet::new();
    let mapped = map_stretches(filesystem, file, |_, segments| {
        for segment in segments.map_err(Some)?.iter().filter(|segment| is_data(segment)) {
            written.insert(segment.extent.align_outward(granule).intersect(&whole));
        }
        if written.count() > limit { Err(None) } else { Ok(()) }
    });
    match mapped {
        Ok(()) => Ok(Some(written)),
        Err(None) => Ok(None),
        Err(Some(error)) => Err(error),
    }
}

/// How a file lies on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Layout {
    /// Runs of written bytes, each in one piece on disk.
    pub extents: u64,
    /// Bytes in them.
    pub data_bytes: u64,
    /// Bytes that are reserved, not written.
    pub unwritten_bytes: u64,
}

impl Layout {
    /// Measures a file.
    pub fn of(filesystem: &dyn Filesystem, file: &Inode) -> Result<Self, FilesystemError> {
        let mut layout = Self::default();
        let mut last_end = None;
        map_stretches(filesystem, file, |_, segments| {
            segments?.iter().for_each(|segment| layout.add(segment, &mut last_end));
            Ok(())
        })?;
        Ok(layout)
    }

    /// A run that goes on in the next stretch is one.
    fn add(&mut self, segment: &Segment, last_end: &mut Option<(u64, u64)>) {
        let (extent, length) = (segment.extent, segment.extent.length);
        match segment.source {
            Source::Hole | Source::Lost(_) => return,
            Source::Unwritten(_) => {
                self.unwritten_bytes += length;
                return;
            }
            Source::Inline(_) => self.extents += 1,
            Source::Disk(at) => {
                if *last_end != Some((extent.offset, at)) {
                    self.extents += 1;
                }
                *last_end = Some((extent.end(), at.saturating_add(length)));
            }
        }
        self.data_bytes += length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filesystem::Source::{Hole, Inline, Unwritten};
    use crate::testkit::model_filesystem::ModelFilesystem;

    #[test]
    fn runs_are_counted_once_however_long_and_holes_cost_little() {
        let mut model = ModelFilesystem::new();
        let file = model.file(model.root_number(), b"f", &vec![1; 20 << 20]);
        model.push_segment(file, 1 << 40, Hole);
        model.push_segment(file, 8192, Unwritten(0));
        model.append(file, b"end");
        model.push_segment(file, 4, Inline(b"tail".to_vec()));
        let inode = model.inode(file).unwrap();
        let layout = Layout::of(&model, &inode).unwrap();
        assert_eq!(layout, Layout { extents: 3, data_bytes: (20 << 20) + 7, unwritten_bytes: 8192 });
        let mut stretches = Vec::new();
        map_stretches(&model, &inode, |stretch, _| {
            stretches.push(stretch);
            Ok::<_, ()>(())
        })
        .unwrap();
        assert!(stretches.len() < 1100, "{}", stretches.len());
        assert_eq!(stretches.last().unwrap().end(), inode.size);
    }
}
