//! `--metrics FILE`: what a command tells machines, as the textfile collector of node_exporter reads it.

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Context as _;
use tempfile::Builder;

use crate::telemetry::{BackupFacts, Metrics};

/// Replaces `file` at once, so that nobody reads half of it.
pub(super) fn tell(file: &Path, facts: &BackupFacts<'_>) -> anyhow::Result<()> {
    let metrics = Metrics::new()?;
    metrics.tell_backup(facts);
    write(file, &metrics.text()?).with_context(|| {
        format!("the backup is complete, but its metrics cannot be written to {}; the directory must exist", file.display())
    })
}

fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Who collects runs as somebody else.
    let mut new = Builder::new().prefix(".icecore-metrics.").permissions(Permissions::from_mode(0o644)).tempfile_in(folder)?;
    new.write_all(text.as_bytes())?;
    new.persist(file)?;
    Ok(())
}
