//! What damage of a repository cost, and what other places gave back: in words, and in the shapes of `--json`.

use serde::Serialize;

use super::file_views::{FileFindingView, finding_kind};
use super::{output, text};
use crate::filesystem::printable;
use crate::job::affected::{AffectedFiles, KnownBy};
use crate::job::extract::FileFinding;
use crate::repository::FoundElsewhere;

/// Files that are said; `--json` has them all.
const SAID_FILES: usize = 20;
/// Missing ranges of one file that are said.
const SAID_RANGES: usize = 4;
/// Points that are said.
const SAID_POINTS: usize = 4;

/// What came from other places.
#[derive(Debug, Serialize)]
pub(super) struct FoundElsewhereView {
    found_bytes: u64,
    points: Vec<String>,
    gave_up: bool,
}

impl From<&FoundElsewhere> for FoundElsewhereView {
    fn from(found: &FoundElsewhere) -> Self {
        let points = found.points.iter().map(ToString::to_string).collect();
        Self { found_bytes: found.bytes, points, gave_up: found.gave_up }
    }
}

/// Which files of a volume, or of a partition of it, lack bytes.
#[derive(Debug, Serialize)]
pub(super) struct AffectedView {
    partition: Option<u32>,
    known_by: &'static str,
    doubt: Option<String>,
    findings: Vec<FileFindingView>,
    findings_left_out: u64,
    structure_bytes: u64,
    free_bytes: u64,
    outside_bytes: u64,
}

impl From<&AffectedFiles> for AffectedView {
    fn from(files: &AffectedFiles) -> Self {
        Self {
            partition: files.partition,
            known_by: match files.known_by {
                KnownBy::Catalog => "catalog",
                KnownBy::Walk => "walk",
                KnownBy::Nothing => "nothing",
            },
            doubt: files.doubt.clone(),
            findings: files.findings.list.iter().map(FileFindingView::from).collect(),
            findings_left_out: files.findings.left_out,
            structure_bytes: files.structures.bytes(),
            free_bytes: files.free.bytes(),
            outside_bytes: files.outside.bytes(),
        }
    }
}

/// Says that what was given back is whole although a pack is damaged, and that more could be.
pub(super) fn say_found_elsewhere(found: &FoundElsewhere) {
    if found.bytes > 0 {
        output::warn(&found_text(found));
    }
    if found.gave_up {
        output::warn(
            "too much is damaged for all of it to be looked for in other points; 'icecore cp' of single files looks for what they lack",
        );
    }
}

fn found_text(found: &FoundElsewhere) -> String {
    let said: Vec<String> = found.points.iter().take(SAID_POINTS).map(|point| point.short()).collect();
    let more = match found.points.len().saturating_sub(SAID_POINTS) {
        0 => String::new(),
        count => format!(" and {count} more"),
    };
    format!(
        "{} bytes were damaged in their own place and came from point {}{more}, verified; 'icecore check --deep' names the damage, \
         'icecore backup --full' stores a volume anew",
        found.bytes,
        said.join(", "),
    )
}

/// Names the files that are hit.
pub(super) fn say_affected(all: &[AffectedFiles]) {
    for files in all {
        let whose = files.partition.map_or_else(String::new, |number| format!("partition {number}: "));
        let list = &files.findings.list;
        list.iter().take(SAID_FILES).for_each(|finding| output::warn(&format!("{whose}{}", finding_text(finding))));
        let more = files.findings.count().saturating_sub(list.len().min(SAID_FILES) as u64);
        if more > 0 {
            output::warn(&format!("{whose}... and {}; --json lists them", text::count(more, "more file")));
        }
        if let Some(doubt) = &files.doubt {
            output::warn(&format!("{whose}there may be more files that lack bytes: {doubt}"));
        }
    }
}

fn finding_text(finding: &FileFinding) -> String {
    let said: Vec<String> = finding.missing.iter().take(SAID_RANGES).map(ToString::to_string).collect();
    let more = match finding.missing.len().saturating_sub(SAID_RANGES) {
        0 => String::new(),
        count => format!(" and {}", text::count(count as u64, "more range")),
    };
    let ranges = if said.is_empty() { String::new() } else { format!(" ({}{more})", said.join(", ")) };
    format!("{}: {}{ranges}: {}", finding_kind(finding.kind), printable(&finding.path), finding.reason)
}

/// What the lost ranges are, in lines below the result.
pub(super) fn affected_text(all: &[AffectedFiles]) -> String {
    let sum = |bytes: fn(&AffectedFiles) -> u64| all.iter().map(bytes).sum::<u64>();
    let files = match (sum(|files| files.findings.count()), all.iter().any(|files| files.known_by != KnownBy::Nothing)) {
        (_, false) => String::new(),
        (0, true) => "no file is hit\n".to_owned(),
        (count, true) => format!("hit: {}, see above\n", text::count(count, "name")),
    };
    let structures = match sum(|files| if files.known_by == KnownBy::Nothing { 0 } else { files.structures.bytes() }) {
        0 => String::new(),
        bytes => format!(
            "{bytes} of these bytes are no file's data: the file system's own structures, its journal, or space that is only reserved; \
             'icecore check-volume' says what that hits, and 'icecore salvage' takes files out without mounting\n"
        ),
    };
    let harmless = match sum(|files| files.free.bytes() + files.outside.bytes()) {
        0 => String::new(),
        bytes => format!("{bytes} of these bytes lie where no file is: harmless\n"),
    };
    format!("{files}{structures}{harmless}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;
    use crate::base::extent::Extent;
    use crate::job::extract::FileFindingKind;
    use crate::repository::ids::PointId;

    #[test]
    fn few_points_and_ranges_are_said_and_the_rest_is_counted() {
        let point = |number| PointId { time: Timestamp(1), random: [number; 10] };
        let found = FoundElsewhere { bytes: 10, points: (0..6).map(point).collect(), ..FoundElsewhere::default() };
        let said = found_text(&found);
        assert!(said.contains("from point 00000000, 01010101, 02020202, 03030303 and 2 more, verified"), "{said}");
        let missing = (0..5).map(|at| Extent::new(at * 100, 10)).collect();
        let finding = FileFinding { path: b"/a\n".to_vec(), kind: FileFindingKind::Partial, reason: "because".to_owned(), missing };
        let ranges = "(bytes 0+10, bytes 100+10, bytes 200+10, bytes 300+10 and 1 more range)";
        assert_eq!(finding_text(&finding), format!("partial: /a\\n {ranges}: because"));
    }
}
