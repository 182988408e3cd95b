//! The lists beside files that lack bytes: which ones, of which path.

use serde::Serialize;

use super::Incomplete;
use crate::base::extent::Extent;
use crate::filesystem::{FileKind, Inode, InodeNumber, Spot};
use crate::job::JobError;
use crate::job::extract::{Attributes, Destination, ExtractOptions, Refusal};

const DIRECTORIES: [&[u8]; 2] = [b"lost+found", b"partial"];
const MODE: u16 = 0o600;

#[derive(Serialize)]
struct List<'a> {
    schema: &'static str,
    /// The path, as far as it is text.
    path: String,
    path_hex: String,
    inode: u64,
    size_bytes: u64,
    reason: &'a str,
    missing: Vec<Range>,
}

#[derive(Serialize)]
struct Range {
    offset_bytes: u64,
    length_bytes: u64,
}

/// Writes a list beside each file. The target was filled a moment ago, so what fails now fails for all.
pub(super) fn write(destination: &mut dyn Destination, files: &[Incomplete], options: ExtractOptions) -> Result<(), JobError> {
    let directory = Attributes::new(&Inode::made_up(InodeNumber(0), FileKind::Directory, 0o755), Vec::new(), options);
    let result = enter(destination, &directory).and_then(|()| files.iter().try_for_each(|file| one(destination, file, options)));
    for _level in 0..=DIRECTORIES.len() {
        destination.leave().map_err(stop)?;
    }
    result.map_err(stop)?;
    destination.finish()
}

fn enter(destination: &mut dyn Destination, attributes: &Attributes) -> Result<(), Refusal> {
    destination.enter(&Spot { directory: b"", name: b"" }, attributes)?;
    let mut path: Vec<u8> = Vec::new();
    for name in DIRECTORIES {
        destination.enter(&Spot { directory: &path, name }, attributes)?;
        path = [path.as_slice(), name].join(&b'/');
    }
    Ok(())
}

fn one(destination: &mut dyn Destination, file: &Incomplete, options: ExtractOptions) -> Result<(), Refusal> {
    let kept_as = file.kept_as.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let name = [kept_as, b".json"].concat();
    let spot = Spot { directory: b"lost+found/partial", name: &name };
    let attributes = Attributes::new(&Inode::made_up(InodeNumber(0), FileKind::Regular, MODE), Vec::new(), options);
    let text = text(file);
    destination.begin(&spot, &attributes, text.len() as u64, None)?;
    destination.write(Extent::new(0, text.len() as u64), &text)?;
    destination.end(&spot, &attributes)?;
    Ok(())
}

fn text(file: &Incomplete) -> Vec<u8> {
    let list = List {
        schema: "icecore.holes.v1",
        path: String::from_utf8_lossy(&file.path).into_owned(),
        path_hex: file.path.iter().map(|byte| format!("{byte:02x}")).collect(),
        inode: file.inode.0,
        size_bytes: file.size,
        reason: &file.reason,
        missing: file.missing.iter().map(|range| Range { offset_bytes: range.offset, length_bytes: range.length }).collect(),
    };
    // Plain text and numbers always serialise.
    serde_json::to_vec_pretty(&list).unwrap_or_default()
}

fn stop(refusal: Refusal) -> JobError {
    match refusal {
        Refusal::Stop(error) => error,
        Refusal::Here(reason) | Refusal::Withheld(reason) => {
            JobError::Refused(format!("the list of missing bytes cannot be written to lost+found/partial: {reason}"))
        }
    }
}
