//! The rules of the house, checked on its source text: rooms and arrows, captions, unsafe, what must be absent, and length.
//!
//! `ARCHITECTURE.md` says why; the tables below say what. A rule that makes the code worse is changed here, in the same commit.
#![allow(clippy::expect_used, reason = "a file that cannot be read fails the test, and that is right")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[path = "architecture/paths.rs"]
mod paths;
#[path = "architecture/rules.rs"]
mod rules;
#[path = "architecture/source.rs"]
mod source;

use rules::{Absence, Room};
use source::{SourceFile, read_tree};

/// Every room, its floor, and the rooms it may use. A room may only use rooms of lower floors; the cellar is for tests.
const ROOMS: &[Room] = &[
    Room { name: "base", floor: 0, may_use: &[] },
    Room { name: "device", floor: 1, may_use: &["base"] },
    Room { name: "store", floor: 1, may_use: &["base"] },
    Room { name: "files", floor: 1, may_use: &["base"] },
    Room { name: "repository", floor: 2, may_use: &["base", "store"] },
    Room { name: "filesystem", floor: 2, may_use: &["base"] },
    Room { name: "catalog", floor: 3, may_use: &["base", "repository", "filesystem"] },
    Room { name: "salvage", floor: 3, may_use: &["base", "filesystem"] },
    Room { name: "filetree", floor: 3, may_use: &["base", "files", "filesystem"] },
    Room { name: "tracking", floor: 3, may_use: &["base", "repository"] },
    Room {
        name: "job",
        floor: 4,
        may_use: &["base", "device", "store", "files", "repository", "filesystem", "catalog", "salvage", "filetree", "tracking"],
    },
    Room { name: "rpc", floor: 5, may_use: &["base"] },
    Room { name: "telemetry", floor: 5, may_use: &["base", "repository", "tracking"] },
    Room {
        name: "cli",
        floor: 6,
        may_use: &[
            "base",
            "device",
            "store",
            "files",
            "repository",
            "filesystem",
            "catalog",
            "salvage",
            "filetree",
            "tracking",
            "job",
            "rpc",
            "telemetry",
        ],
    },
    Room {
        name: rules::CELLAR,
        floor: 9,
        may_use: &["base", "device", "store", "repository", "filesystem", "catalog", "salvage", "tracking", "job", "rpc"],
    },
];

/// Files that are no room: the front door of the library, and the binary.
const DOORS: &[&str] = &["lib.rs", "main.rs"];

/// The only files that say `unsafe`, and what each needs it for.
const UNSAFE_FILES: &[(&str, &str)] = &[
    ("src/device/kernel.rs", "ioctls and system calls that nix has no safe face for"),
    ("src/device/memory.rs", "aligned memory that the kernel writes into while the pool owns it"),
    ("src/device/uring/ring.rs", "the io_uring itself: submissions and registrations"),
    ("src/tracking/shared.rs", "the words of a map, shared with the programs that set them"),
    ("tests/store_directory.rs", "the ioctl that crashes a filesystem"),
    ("src/testkit/cache.rs", "asking the kernel which pages are cached"),
    ("src/testkit/refusal.rs", "a seccomp filter that refuses io_uring"),
];

/// Files longer than [`rules::MAX_LINES`], and why no seam was found.
const LONG_FILES: &[(&str, &str)] = &[];

/// What must not be named where. Code under `#[cfg(test)]` is free.
const ABSENCES: &[Absence] = &[
    Absence {
        inside: &["src/repository/format"],
        except: &[],
        names: &["std::fs", "std::io", "std::net", "std::os", "crate::store", "crate::device", "nix", "libc", "object_store"],
        because: "the format is bytes in and bytes out, and does no I/O",
    },
    Absence {
        inside: &["src/job"],
        except: &[],
        names: &["clap", "tokio", "kube", "k8s_openapi", "prometheus", "indicatif", "comfy_table"],
        because: "a job takes its seams as arguments and returns a report, whoever asks",
    },
    Absence {
        inside: &["src/"],
        except: &["src/cli"],
        names: &["clap", "clap_complete", "clap_mangen", "indicatif", "comfy_table"],
        because: "only the command line knows how it is called and how it looks",
    },
    Absence {
        inside: &["src/"],
        except: &["src/cli", "src/main.rs"],
        names: &["anyhow"],
        because: "an error inside the library is an enum that a caller can match",
    },
    Absence {
        inside: &["src/"],
        except: &["src/base/clock.rs"],
        names: &["Instant::now", "SystemTime::now", "jiff::Timestamp::now", "Zoned::now"],
        because: "time is an argument: take a base::clock::Clock",
    },
    Absence {
        inside: &["src/"],
        except: &["src/store"],
        names: &["object_store"],
        because: "the clouds stay hidden behind the blocking face of the store",
    },
    Absence {
        inside: &["src/"],
        except: &["src/store", "src/rpc", "src/files/uring.rs", "src/testkit/csi_server"],
        names: &["tokio", "tokio_uring"],
        because: "the core runs on plain threads; a runtime stays hidden behind the blocking face of its room",
    },
    Absence {
        inside: &["src/"],
        except: &["src/rpc", "src/testkit/csi_server"],
        names: &["tonic", "prost", "crate::rpc::wire"],
        because: "the messages of other programs' services end in rpc",
    },
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn src() -> Vec<SourceFile> {
    let files = read_tree(root(), &["src"]);
    assert!(files.len() > 10, "only {} files found under src: the checks would prove nothing", files.len());
    files
}

fn all() -> Vec<SourceFile> {
    read_tree(root(), &["src", "tests", "benches"])
}

/// Fails with every breach on a line of its own.
#[track_caller]
fn none(breaches: Vec<String>) {
    assert!(breaches.is_empty(), "the rules of the house are broken:\n  {}\n", breaches.join("\n  "));
}

#[test]
fn a_room_uses_only_the_rooms_its_row_allows() {
    let files = src();
    let test_only = rules::test_only_files(&files);
    none(files.iter().flat_map(|file| rules::forbidden_arrows(file, ROOMS, &test_only)).collect());
}

#[test]
fn arrows_point_to_lower_floors_only() {
    none(rules::rising_arrows(ROOMS));
}

#[test]
fn every_file_under_src_belongs_to_a_known_room() {
    none(src().iter().filter_map(|file| rules::unknown_room(&file.path, ROOMS, DOORS)).collect());
}

#[test]
fn every_row_of_the_table_is_a_room_that_stands() {
    let standing: BTreeSet<String> = src().iter().filter_map(|file| rules::room_of(&file.path).map(str::to_owned)).collect();
    let empty = ROOMS.iter().filter(|room| !standing.contains(room.name));
    none(empty.map(|room| format!("ROOMS has a row for {0}, but there is no src/{0}.rs nor src/{0}/", room.name)).collect());
}

#[test]
fn every_file_begins_with_a_caption_of_one_line() {
    none(all().iter().filter_map(rules::caption_breach).collect());
}

#[test]
fn unsafe_stays_in_the_listed_files() {
    none(rules::unsafe_breaches(&all(), UNSAFE_FILES));
}

#[test]
fn what_must_be_absent_is_absent() {
    let files = src();
    let test_only = rules::test_only_files(&files);
    none(ABSENCES.iter().flat_map(|absence| rules::present(absence, &files, &test_only)).collect());
}

#[test]
fn files_are_short_or_say_why_not() {
    none(rules::length_breaches(&all(), LONG_FILES));
}

#[test]
fn the_map_names_every_room() {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap_or_default();
    none(rules::unmapped(&map, ROOMS));
}
