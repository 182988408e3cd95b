//! Each rule as a function from text to the breaches found, so that a breach can be shown to it.

use std::collections::BTreeSet;

use crate::paths::{NamedPath, names_in, tokens};
use crate::source::{SourceFile, code_of};

/// The longest file without a reason. Beyond it a reader loses the thread, and there is usually a seam.
pub(crate) const MAX_LINES: usize = 450;

/// The room that only tests may enter.
pub(crate) const CELLAR: &str = "testkit";

/// A folder of the house.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    pub(crate) name: &'static str,
    pub(crate) floor: u8,
    pub(crate) may_use: &'static [&'static str],
}

/// Names that must not appear in files whose path begins with one of `inside`, unless with one of `except`.
///
/// A name of one word is a crate; of several, any run of a path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Absence {
    pub(crate) inside: &'static [&'static str],
    pub(crate) except: &'static [&'static str],
    pub(crate) names: &'static [&'static str],
    pub(crate) because: &'static str,
}

/// The room that a file belongs to: `base` for `src/base.rs` and for all below `src/base/`.
pub(crate) fn room_of(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    match inside.split_once('/') {
        Some((room, _)) => Some(room),
        None => inside.strip_suffix(".rs").filter(|room| *room != "lib" && *room != "main"),
    }
}

pub(crate) fn unknown_room(path: &str, rooms: &[Room], doors: &[&str]) -> Option<String> {
    let known = |name: &str| rooms.iter().any(|room| room.name == name);
    let is_door = path.strip_prefix("src/").is_some_and(|name| doors.contains(&name));
    (!is_door && !room_of(path).is_some_and(known)).then(|| format!("{path}: belongs to no room of the table"))
}

pub(crate) fn rising_arrows(rooms: &[Room]) -> Vec<String> {
    let floor = |name: &str| rooms.iter().find(|room| room.name == name).map(|room| room.floor);
    let arrows = rooms.iter().flat_map(|room| room.may_use.iter().map(move |used| (room, *used)));
    let rising = arrows.filter(|(room, used)| floor(used).is_none_or(|below| below >= room.floor) || *used == CELLAR);
    rising.map(|(room, used)| format!("{} -> {used} does not point to a lower floor", room.name)).collect()
}

/// Paths of files, and of folders with a `/` at the end, that hold only modules under `#[cfg(test)] mod name;`.
pub(crate) fn test_only_files(files: &[SourceFile]) -> BTreeSet<String> {
    let mut test_only = BTreeSet::new();
    for file in files {
        let folder = match file.path.rsplit_once('/') {
            Some((folder, "lib.rs" | "main.rs")) => folder,
            _ => file.path.trim_end_matches(".rs"),
        };
        for name in names_in(&file.text).test_mods {
            test_only.insert(format!("{folder}/{name}.rs"));
            test_only.insert(format!("{folder}/{name}/"));
        }
    }
    test_only
}

fn is_test_only(path: &str, test_only: &BTreeSet<String>) -> bool {
    test_only.iter().any(|entry| path.starts_with(entry.as_str()))
}

/// The path from the crate's root, if it is one: `crate::…`, or `super::…` that climbs far enough.
fn from_crate_root(file: &str, path: &NamedPath) -> Option<Vec<String>> {
    let climbs = path.words.iter().take_while(|word| *word == "super").count();
    let mut module: Vec<&str> = file.strip_prefix("src/")?.trim_end_matches(".rs").split('/').collect();
    if path.words.first().is_some_and(|word| word == "crate") {
        return Some(path.words[1..].to_vec());
    }
    let climbs = climbs.checked_sub(path.inline_mods).filter(|climbs| *climbs > 0)?;
    module.truncate(module.len().checked_sub(climbs)?);
    let rest = path.words.iter().skip_while(|word| *word == "super");
    Some(module.into_iter().map(str::to_owned).chain(rest.cloned()).collect())
}

pub(crate) fn forbidden_arrows(file: &SourceFile, rooms: &[Room], test_only: &BTreeSet<String>) -> Vec<String> {
    let Some(room) = room_of(&file.path).and_then(|name| rooms.iter().find(|room| room.name == name)) else { return Vec::new() };
    let whole_file = is_test_only(&file.path, test_only);
    let mut breaches = Vec::new();
    for path in names_in(&file.text).paths {
        let Some(used) = from_crate_root(&file.path, &path).and_then(|words| words.into_iter().next()) else { continue };
        let cellar_open = used == CELLAR && (whole_file || path.for_tests);
        if used != room.name && !room.may_use.contains(&used.as_str()) && !cellar_open {
            breaches.push(format!("{}:{}: {} may not use {used} ({})", file.path, path.line, room.name, path.words.join("::")));
        }
    }
    breaches
}

pub(crate) fn present(absence: &Absence, files: &[SourceFile], test_only: &BTreeSet<String>) -> Vec<String> {
    let begins = |path: &str, prefixes: &[&str]| prefixes.iter().any(|prefix| path.starts_with(prefix));
    let concerned = files.iter().filter(|file| {
        begins(&file.path, absence.inside) && !begins(&file.path, absence.except) && !is_test_only(&file.path, test_only)
    });
    let mut breaches = Vec::new();
    for file in concerned {
        for path in names_in(&file.text).paths.iter().filter(|path| !path.for_tests) {
            let rooted = from_crate_root(&file.path, path).map(|words| [vec!["crate".to_owned()], words].concat());
            let words = rooted.as_ref().unwrap_or(&path.words);
            for name in absence.names.iter().filter(|name| names(words, name)) {
                breaches.push(format!("{}:{}: names {name}, but {}", file.path, path.line, absence.because));
            }
        }
    }
    breaches
}

fn names(words: &[String], name: &str) -> bool {
    let wanted: Vec<&str> = name.split("::").collect();
    match wanted.as_slice() {
        [one] => words.first().is_some_and(|word| word == one),
        several => words.windows(several.len()).any(|run| run == several),
    }
}

/// The first line is `//! Words.`; a second line of `//!` words would make the caption longer than a line.
pub(crate) fn caption_breach(file: &SourceFile) -> Option<String> {
    let mut lines = file.text.lines();
    let caption = lines.next().and_then(|line| line.strip_prefix("//! ")).is_some_and(|words| !words.trim().is_empty());
    let goes_on = lines.next().and_then(|line| line.strip_prefix("//!")).is_some_and(|words| !words.trim().is_empty());
    (!caption || goes_on).then(|| format!("{}:1: does not begin with a caption of one line, `//! …`", file.path))
}

pub(crate) fn unsafe_breaches(files: &[SourceFile], listed: &[(&str, &str)]) -> Vec<String> {
    let mut breaches = Vec::new();
    let mut seen = BTreeSet::new();
    for file in files {
        let code = code_of(&file.text);
        let Some(found) = tokens(&code).into_iter().find(|token| token.text == "unsafe") else { continue };
        seen.insert(file.path.as_str());
        if !listed.iter().any(|(path, _)| *path == file.path) {
            breaches.push(format!("{}:{}: unsafe in a file that UNSAFE_FILES does not list", file.path, found.line));
        }
    }
    let stale = listed.iter().filter(|(path, _)| !seen.contains(path));
    breaches.extend(stale.map(|(path, _)| format!("{path}: listed in UNSAFE_FILES, but nothing in it is unsafe; strike it off")));
    breaches
}

pub(crate) fn length_breaches(files: &[SourceFile], excused: &[(&str, &str)]) -> Vec<String> {
    let is_excused = |path: &str| excused.iter().any(|(excused, _)| *excused == path);
    let long = files.iter().map(|file| (file.path.as_str(), file.text.lines().count())).filter(|(_, lines)| *lines > MAX_LINES);
    let long: Vec<_> = long.collect();
    let unexcused = long.iter().filter(|(path, _)| !is_excused(path));
    let stale = excused.iter().filter(|(path, _)| !long.iter().any(|(long, _)| long == path));
    let unexcused = unexcused.map(|(path, lines)| format!("{path}: {lines} lines, more than {MAX_LINES}; look for the seam"));
    unexcused.chain(stale.map(|(path, _)| format!("{path}: listed in LONG_FILES, but not long; strike it off"))).collect()
}

/// A map names a room as `room/`, `src/room` or `room` in backticks.
pub(crate) fn unmapped(map: &str, rooms: &[Room]) -> Vec<String> {
    if map.trim().is_empty() {
        return vec!["ARCHITECTURE.md: there is none, or nothing in it".to_owned()];
    }
    let separators = |c: char| !(c.is_alphanumeric() || matches!(c, '_' | '/' | '`' | '.'));
    let words: BTreeSet<&str> = map.split(separators).collect();
    let named = |room: &str| {
        [
            format!("{room}/"),
            format!("src/{room}"),
            format!("src/{room}/"),
            format!("`{room}`"),
            format!("`{room}/`"),
            format!("`src/{room}`"),
            format!("`src/{room}/`"),
        ]
        .iter()
        .any(|way| words.contains(way.as_str()))
    };
    rooms.iter().filter(|room| !named(room.name)).map(|room| format!("ARCHITECTURE.md: does not name {}/", room.name)).collect()
}

#[cfg(test)]
#[path = "breaches.rs"]
mod breaches;
