//! The content of one file as a stream of bytes.

use std::io::{self, Write};

use super::content::with_readers;
use super::refusal::{Refusal, system_error};
use crate::base::cancel::Cancel;
use crate::base::extent::Extent;
use crate::base::io::IoError;
use crate::filesystem::{FileKind, Filesystem, FilesystemError, Inode, Object};
use crate::job::JobError;

/// Holes are written in pieces of this many zeros.
pub(super) const ZEROS: &[u8] = &[0; 64 << 10];

/// Writes the content of `file` to `out`, holes as zeros, and ends at the first byte that is missing: what was written is right, and
/// all that comes before it.
pub fn stream(
    filesystem: &dyn Filesystem,
    file: &Inode,
    out: &mut dyn Write,
    workers: usize,
    cancel: &Cancel,
) -> Result<u64, JobError> {
    if file.kind != FileKind::Regular {
        return Err(JobError::Refused(
            "only the content of a regular file can be written out; 'icecore cp' takes anything".to_owned(),
        ));
    }
    let mut at = 0;
    let copied = with_readers(filesystem, workers, |readers| {
        let copied = readers.copy(file, cancel, &mut |extent, bytes| {
            let bytes = bytes.map_err(|reason| missing(file, extent, reason))?;
            write_zeros(out, extent.offset.saturating_sub(at)).and_then(|()| out.write_all(bytes)).map_err(refused)?;
            at = extent.end();
            Ok(())
        });
        copied.map_err(|refusal| match refusal {
            Refusal::Stop(error) => error,
            Refusal::Here(reason) | Refusal::Withheld(reason) => JobError::Refused(reason),
        })
    });
    copied?;
    write_zeros(out, file.size.saturating_sub(at)).and_then(|()| out.flush()).map_err(JobError::Output)?;
    Ok(file.size)
}

/// Writes as many zeros.
pub(super) fn write_zeros(out: &mut dyn Write, count: u64) -> io::Result<()> {
    for piece in Extent::new(0, count).cut(ZEROS.len() as u64) {
        let length = usize::try_from(piece.length).unwrap_or(ZEROS.len());
        out.write_all(ZEROS.get(..length).unwrap_or(ZEROS))?;
    }
    Ok(())
}

fn missing(file: &Inode, extent: Extent, reason: String) -> Refusal {
    let object = Object::Inode(file.number.0);
    let source = IoError::Missing { extent, reason };
    Refusal::Stop(FilesystemError::Io { object, source }.into())
}

fn refused(error: io::Error) -> Refusal {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Refusal::Stop(JobError::Output(error)),
        _ => system_error("write the output", b"", &error),
    }
}
