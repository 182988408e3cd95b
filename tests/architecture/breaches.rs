//! Every rule is shown a breach, and must find it.

use super::*;

const ROOMS: &[Room] = &[
    Room { name: "base", floor: 0, may_use: &[] },
    Room { name: "repository", floor: 2, may_use: &["base"] },
    Room { name: "cli", floor: 6, may_use: &["base", "repository"] },
    Room { name: CELLAR, floor: 9, may_use: &["base"] },
];

fn file(path: &str, text: &str) -> SourceFile {
    SourceFile { path: path.to_owned(), text: text.to_owned() }
}

fn arrows(path: &str, text: &str) -> Vec<String> {
    forbidden_arrows(&file(path, text), ROOMS, &BTreeSet::new())
}

#[test]
fn a_forbidden_room_is_found_however_it_is_named() {
    let long =
        arrows("src/repository/point.rs", "use crate::{\n    base::{\n        clock::Clock,\n    },\n    cli::{Args, Words},\n};");
    assert_eq!(long[0], "src/repository/point.rs:5: repository may not use cli (crate::cli::Args)");
    assert_eq!(long.len(), 2);
    for (path, text) in [
        ("src/repository.rs", "use crate::cli;"),
        ("src/repository.rs", "fn f() { crate::cli::go() }"),
        ("src/repository.rs", "pub use super::cli::Args;"),
        ("src/repository/a.rs", "use super::super::cli::Args;"),
        ("src/repository/a.rs", "mod b { use super::super::super::cli::Args; }"),
        ("src/repository/a.rs", "mod b { use super::super::super::{base, cli}; }"),
        ("src/repository/a/b.rs", "use super::{super::{super::cli}};"),
        ("src/repository.rs", "macro_rules! m { () => { $crate::cli::go() } }"),
        ("src/repository.rs", "use crate::unknown::Thing;"),
        ("src/repository.rs", "use crate::testkit::Loop;"),
        ("src/repository.rs", "#[cfg(test)] mod tests { use crate::testkit::Loop; } use crate::testkit::Loop;"),
        ("src/repository.rs", "#[cfg(test)] mod tests { use crate::cli; }"),
        ("src/base/a.rs", "use crate::repository::Point;"),
        ("src/testkit/a.rs", "use crate::cli;"),
    ] {
        assert_eq!(arrows(path, text).len(), 1, "{path}: {text}");
    }
}

#[test]
fn an_allowed_room_is_not_found() {
    for (path, text) in [
        ("src/repository.rs", "use crate::base::clock::Clock; use crate::repository::point; use self::cli::X; mod cli {}"),
        ("src/repository/a.rs", "use super::cli::Own; mod t { use super::super::cli::Own; }"),
        ("src/repository/a.rs", "// use crate::cli\n/// [`crate::cli`]\nconst A: &str = \"crate::cli\";"),
        ("src/repository/a.rs", "pub(crate) fn f() {} pub(in crate::repository) fn g() {}"),
        ("src/repository.rs", "#[cfg(test)]\nmod tests {\n    use crate::testkit::Loop;\n}"),
        ("src/cli/a.rs", "use crate::{base, repository::point};"),
        ("src/lib.rs", "pub use crate::cli;"),
    ] {
        assert_eq!(arrows(path, text), [""; 0], "{path}: {text}");
    }
}

#[test]
fn a_module_file_that_is_only_for_tests_may_enter_the_cellar() {
    let parent = file("src/repository/point.rs", "#[cfg(test)]\nmod laws;\nmod real;");
    let test_only = test_only_files(&[parent]);
    let breaches = |path: &str| forbidden_arrows(&file(path, "use crate::testkit::Loop;"), ROOMS, &test_only).len();
    assert_eq!(breaches("src/repository/point/laws.rs"), 0);
    assert_eq!(breaches("src/repository/point/laws/deep.rs"), 0);
    assert_eq!(breaches("src/repository/point/real.rs"), 1);
    assert_eq!(breaches("src/repository/laws.rs"), 1);
}

#[test]
fn a_stranger_under_src_is_found() {
    let unknown = |path: &str| unknown_room(path, ROOMS, &["lib.rs"]).is_some();
    assert!(unknown("src/util.rs") && unknown("src/util/a.rs") && unknown("src/main.rs") && unknown("src/lib/a.rs"));
    assert!(!unknown("src/lib.rs") && !unknown("src/base.rs") && !unknown("src/base/a/b.rs"));
}

#[test]
fn an_arrow_upwards_or_sideways_or_into_the_cellar_is_found() {
    let rising = |used: &'static [&'static str]| {
        rising_arrows(&[
            Room { name: "a", floor: 1, may_use: used },
            Room { name: "b", floor: 1, may_use: &[] },
            Room { name: "c", floor: 0, may_use: &[] },
            Room { name: CELLAR, floor: 0, may_use: &[] },
        ])
        .len()
    };
    assert_eq!([rising(&["a"]), rising(&["b"]), rising(&["nowhere"]), rising(&[CELLAR]), rising(&["c"])], [1, 1, 1, 1, 0]);
}

#[test]
fn a_file_without_a_caption_of_one_line_is_found() {
    let breach = |text: &str| caption_breach(&file("src/a.rs", text)).is_some();
    for text in ["", "use a;", "// a", "//!", "//! ", "/// a", "\n//! a", "//! a\n//! goes on"] {
        assert!(breach(text), "{text:?}");
    }
    for text in ["//! a", "//! a\n", "//! a\n\nuse b;", "//! a\n//!\n//! more", "//! a\n#![allow(x)]"] {
        assert!(!breach(text), "{text:?}");
    }
}

#[test]
fn unsafe_outside_the_list_and_a_list_out_of_date_are_found() {
    let found = |text: &str, listed: &[(&str, &str)]| unsafe_breaches(&[file("src/a.rs", text)], listed);
    assert_eq!(found("\nfn f() { unsafe { g() } }", &[]), ["src/a.rs:2: unsafe in a file that UNSAFE_FILES does not list"]);
    assert_eq!(found("unsafe impl Send for A {}", &[]).len(), 1);
    assert_eq!(found("unsafe fn f() {}", &[("src/a.rs", "why")]).len(), 0);
    assert_eq!(found("#![expect(unsafe_code)] // unsafe\nconst A: &str = \"unsafe\";", &[]).len(), 0);
    assert_eq!(found("#![expect(unsafe_code)]", &[("src/a.rs", "why")]).len(), 1);
    assert_eq!(found("unsafe fn f() {}", &[("src/a.rs", "why"), ("src/gone.rs", "why")]).len(), 1);
}

#[test]
fn what_must_be_absent_is_found_where_it_is() {
    let rule = Absence {
        inside: &["src/repository/format"],
        except: &["src/repository/format/free"],
        names: &["std::io", "crate::store", "clap", "Instant::now"],
        because: "of reasons",
    };
    let found = |path: &str, text: &str| present(&rule, &[file(path, text)], &BTreeSet::new());
    assert_eq!(
        found("src/repository/format/a.rs", "use std::{\n  fmt,\n  io::{Read, Write},\n};")[0],
        "src/repository/format/a.rs:3: names std::io, but of reasons"
    );
    for text in [
        "use std::io;",
        "use std::{io};",
        "std::io::Error::other(1);",
        "use crate::store::Store;",
        "use clap::Parser;",
        "use clap;",
        "#[derive(clap::Parser)] struct A;",
        "Instant::now();",
        "std::time::Instant::now();",
    ] {
        assert_eq!(found("src/repository/format/a.rs", text).len(), 1, "{text}");
        assert_eq!(found("src/repository/formats.rs", text).len(), 1, "{text}");
        assert_eq!(found("src/repository/format/free.rs", text).len(), 0, "{text}");
        assert_eq!(found("src/repository/pack.rs", text).len(), 0, "{text}");
        let for_tests = format!("#[cfg(test)] mod t {{ {text} }}");
        assert_eq!(found("src/repository/format/a.rs", &for_tests).len(), 0, "{text}");
    }
    assert_eq!(found("src/repository/format/a.rs", "use super::super::super::store::Store;").len(), 1);
    for text in [
        "use crate::base::io;",
        "let std_io = 1; own::clap();",
        "clock.now();",
        "use std::time::Instant; later::now();",
        "// std::io\nlet a = \"std::io\";",
    ] {
        assert_eq!(found("src/repository/format/a.rs", text), [""; 0], "{text}");
    }
}

#[test]
fn a_file_that_is_too_long_and_an_excuse_that_is_too_old_are_found() {
    let lines = |count: usize| [file("src/a.rs", &"x\n".repeat(count))];
    assert_eq!(length_breaches(&lines(MAX_LINES), &[]).len(), 0);
    assert_eq!(length_breaches(&lines(MAX_LINES + 1), &[]), ["src/a.rs: 451 lines, more than 450; look for the seam"]);
    assert_eq!(length_breaches(&lines(MAX_LINES + 1), &[("src/a.rs", "one table")]).len(), 0);
    assert_eq!(length_breaches(&lines(MAX_LINES), &[("src/a.rs", "one table")]).len(), 1);
}

#[test]
fn a_room_that_the_map_forgets_is_found() {
    assert_eq!(unmapped("", ROOMS).len(), 1);
    let map = "base/ and `repository`, then src/cli, and (`testkit/`).";
    assert_eq!(unmapped(map, ROOMS), ["ARCHITECTURE.md: does not name cli/"; 0]);
    assert_eq!(
        unmapped("base/ `repository` testkit/ the cli is nice, so is clip/", ROOMS),
        ["ARCHITECTURE.md: does not name cli/"]
    );
}
