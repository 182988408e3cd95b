//! What a source is, and how it can be read.

use std::path::Path;
use std::sync::Arc;

use super::Line;
use crate::cli::context::Context;
use crate::cli::failure::chain_text;
use crate::cli::text;
use crate::device::{self, DeviceError, DeviceFile, Engine, Mounted, ReaderOptions, SourceKind, SourceOptions};

pub(super) fn look(context: &Context, path: &Path) -> Vec<Line> {
    match open(path) {
        Err(error) => {
            let said = chain_text(&error.into());
            vec![Line::no("source", said, "check the path, and that this user may read it")]
        }
        Ok(source) => vec![geometry(&source), direct(&source), mounted(&source), engine_line(context, "engine", path)],
    }
}

/// Looking is allowed even while it is mounted.
fn open(path: &Path) -> Result<DeviceFile, DeviceError> {
    device::open(path, &SourceOptions { live: true })
}

fn geometry(source: &DeviceFile) -> Line {
    let geometry = source.geometry();
    let kind = match geometry.kind {
        SourceKind::BlockDevice => "block device",
        SourceKind::File => "file",
    };
    let (size, logical, physical) = (text::size(geometry.size), geometry.logical_block, geometry.physical_block);
    let path = source.path().display();
    Line::ok("source", format!("{path}: {kind} of {size} ({} bytes), blocks of {logical} and {physical} bytes", geometry.size))
}

fn direct(source: &DeviceFile) -> Line {
    let (what, advice) = match source.is_direct() {
        true => ("reads go past the page cache", ""),
        false => ("its filesystem refuses direct reads", "they go through the page cache, which is kept clean"),
    };
    Line::if_so(source.is_direct(), "direct", what, advice)
}

fn mounted(source: &DeviceFile) -> Line {
    match source.mounted() {
        Mounted::No => Line::ok("mounted", "not mounted where this process can see it"),
        Mounted::ReadOnly(point) => Line::ok("mounted", format!("read-only at {}", point.display())),
        Mounted::ReadWrite(point) => {
            let what = format!("read-write at {}", point.display());
            Line::limited("mounted", what, "back up a snapshot of it, or use --live for a copy that is crash-consistent at best")
        }
    }
}

/// Which engine reads `path`, and why.
pub(super) fn engine_line(context: &Context, name: &'static str, path: &Path) -> Line {
    let started =
        open(path).and_then(|source| device::reader(Arc::new(source), ReaderOptions::default(), Arc::clone(&context.clock)));
    match started {
        Err(error) => Line::no(name, chain_text(&error.into()), "reading is not possible like this"),
        Ok(reader) => {
            let report = reader.engine();
            match report.engine {
                Engine::Uring { .. } => Line::ok(name, report.to_string()),
                Engine::Pread => Line::limited(name, report.to_string(), "a few threads read instead, at somewhat more cost"),
            }
        }
    }
}
