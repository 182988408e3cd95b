//! Every path that a file names, with groups spelled out: `use a::{b, c::d}` names `a::b` and `a::c::d`.

use crate::source::code_of;

/// A path as it is named in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedPath {
    /// Counted from 1; the line of the last word.
    pub(crate) line: usize,
    /// The words between `::`.
    pub(crate) words: Vec<String>,
    /// How many `mod name { … }` of this file stand around it.
    pub(crate) inline_mods: usize,
    /// True inside an item that is only compiled for tests.
    pub(crate) for_tests: bool,
}

/// A word, `::`, or a single sign.
#[derive(Debug, Clone)]
pub(crate) struct Token<'a> {
    pub(crate) line: usize,
    pub(crate) text: &'a str,
}

/// The tokens of code whose comments and literals are blank already.
pub(crate) fn tokens(code: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    for (line, text) in (1..).zip(code.lines()) {
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let word = rest.len() - rest.trim_start_matches(is_word).len();
            let length = if word > 0 {
                word
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            let (text, after) = rest.split_at(length);
            tokens.push(Token { line, text });
            rest = after.trim_start();
        }
    }
    tokens
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// What one walk over a file finds.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Every path, in order.
    pub(crate) paths: Vec<NamedPath>,
    /// Modules in files of their own that are only compiled for tests.
    pub(crate) test_mods: Vec<String>,
}

/// Walks over `text` and collects what it names.
pub(crate) fn names_in(text: &str) -> Names {
    let code = code_of(text);
    let mut walk = Walk {
        tokens: tokens(&code),
        lines: text.lines().collect(),
        at: 0,
        scopes: Vec::new(),
        pending: Pending::No,
        names: Names::default(),
    };
    while walk.at < walk.tokens.len() {
        walk.step();
    }
    walk.names
}

/// What a brace opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Scope {
    is_mod: bool,
    for_tests: bool,
}

/// Whether the item being read stands under an attribute that leaves it to tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pending {
    No,
    ForTests,
}

struct Walk<'a> {
    tokens: Vec<Token<'a>>,
    lines: Vec<&'a str>,
    at: usize,
    scopes: Vec<Scope>,
    pending: Pending,
    names: Names,
}

impl<'a> Walk<'a> {
    fn text(&self, at: usize) -> &'a str {
        self.tokens.get(at).map_or("", |token| token.text)
    }

    fn step(&mut self) {
        match self.text(self.at) {
            "#" if self.is_test_attribute() => self.pending = Pending::ForTests,
            "{" => self.open(),
            "}" => {
                self.scopes.pop();
                self.pending = Pending::No;
            }
            ";" => self.pending = Pending::No,
            word if word.starts_with(is_word) => {
                self.note_test_mod();
                self.path(Vec::new());
                return;
            }
            _ => {}
        }
        self.at += 1;
    }

    fn open(&mut self) {
        let is_mod = self.at >= 2 && self.text(self.at - 2) == "mod";
        self.scopes.push(Scope { is_mod, for_tests: self.pending == Pending::ForTests });
        self.pending = Pending::No;
    }

    /// `#[cfg(test)]`, `#[cfg(any(test, …))]` or the feature that tests turn on; not `#[cfg(not(test))]`.
    fn is_test_attribute(&self) -> bool {
        if self.text(self.at + 1) != "[" || self.text(self.at + 2) != "cfg" {
            return false;
        }
        let inside = self.tokens[self.at..].iter().take_while(|token| token.text != "]");
        let words: Vec<_> = inside.map(|token| token.text).collect();
        // The name of the feature is a string and blank in the tokens.
        let line = self.lines.get(self.tokens[self.at].line - 1).copied().unwrap_or_default();
        !words.contains(&"not") && (words.contains(&"test") || words.contains(&"feature") && line.contains("\"testkit\""))
    }

    fn note_test_mod(&mut self) {
        if self.text(self.at) == "mod" && self.text(self.at + 2) == ";" && self.for_tests() {
            self.names.test_mods.push(self.text(self.at + 1).to_owned());
        }
    }

    fn for_tests(&self) -> bool {
        self.pending == Pending::ForTests || self.scopes.iter().any(|scope| scope.for_tests)
    }

    /// Reads one path, or the tree of paths that a group spells, from here.
    fn path(&mut self, mut words: Vec<String>) {
        loop {
            match self.text(self.at) {
                "{" => return self.group(&words),
                word if word.starts_with(is_word) || word == "*" => {
                    words.push(word.to_owned());
                    self.at += 1;
                }
                _ => break,
            }
            if self.text(self.at) != "::" {
                break;
            }
            self.at += 1;
        }
        self.push(words);
    }

    fn group(&mut self, words: &[String]) {
        self.at += 1;
        while self.at < self.tokens.len() && self.text(self.at) != "}" {
            match self.text(self.at) {
                "as" => self.at += 2,
                word if word.starts_with(is_word) || word == "*" => self.path(words.to_vec()),
                _ => self.at += 1,
            }
        }
        self.at += 1;
    }

    fn push(&mut self, mut words: Vec<String>) {
        if words.len() > 1 && words.last().is_some_and(|word| word == "self") {
            words.pop();
        }
        let line = self.tokens[self.at.saturating_sub(1).min(self.tokens.len() - 1)].line;
        let inline_mods = self.scopes.iter().filter(|scope| scope.is_mod).count();
        self.names.paths.push(NamedPath { line, words, inline_mods, for_tests: self.for_tests() });
    }
}

#[cfg(test)]
fn named(text: &str) -> Vec<(usize, String)> {
    let paths = names_in(text).paths.into_iter().filter(|path| path.words.len() > 1);
    paths.map(|path| (path.line, path.words.join("::"))).collect()
}

#[test]
fn groups_are_spelled_out_over_lines() {
    let text = "use crate::{\n    base::{clock::{Clock, Timestamp}, io},\n    cli::Args as A,\n    store::{self, Store},\n    job::*,\n};\nlet x = crate::device::open();";
    let expected = [
        (2, "crate::base::clock::Clock"),
        (2, "crate::base::clock::Timestamp"),
        (2, "crate::base::io"),
        (3, "crate::cli::Args"),
        (4, "crate::store"),
        (4, "crate::store::Store"),
        (5, "crate::job::*"),
        (7, "crate::device::open"),
    ];
    assert_eq!(named(text), expected.map(|(line, path)| (line, path.to_owned())));
}

#[test]
fn paths_in_comments_and_strings_are_not_named_and_odd_spacing_is() {
    assert_eq!(named("// crate::cli\n/* crate::cli */ let a = \"crate::cli\"; //! [`crate::cli`]"), []);
    assert_eq!(named("crate ::\n  cli // why\n  :: Args"), [(3, "crate::cli::Args".to_owned())]);
    assert_eq!(named("use {crate::cli, std::fs};"), [(1, "crate::cli".to_owned()), (1, "std::fs".to_owned())]);
    assert_eq!(named("$crate::cli!()"), [(1, "crate::cli".to_owned())]);
    assert_eq!(named("match a::b { c => 1 }"), [(1, "a::b".to_owned())]);
    assert_eq!(named("a::b::<crate::cli::X>()"), [(1, "a::b".to_owned()), (1, "crate::cli::X".to_owned())]);
}

#[test]
fn code_for_tests_is_told_from_code_that_ships() {
    let flags = |text: &str| {
        names_in(text).paths.into_iter().filter(|path| path.words.len() > 1).map(|path| path.for_tests).collect::<Vec<_>>()
    };
    assert_eq!(flags("#[cfg(test)]\nmod tests { use a::b; fn f() { a::c(); } }\nuse a::d;"), [true, true, false]);
    assert_eq!(flags("#[cfg(test)]\nuse a::b;\nuse a::c;"), [true, false]);
    assert_eq!(flags("#[cfg(any(test, feature = \"testkit\"))]\n#[derive(Debug)]\nstruct A { b: a::b }\nuse a::c;"), [true, false]);
    assert_eq!(flags("#[cfg(feature = \"testkit\")]\nuse a::b;"), [true]);
    assert_eq!(flags("#[cfg(feature = \"other\")]\nuse a::b;"), [false]);
    assert_eq!(flags("#[cfg(not(test))]\nuse a::b;"), [false]);
    assert_eq!(flags("#[cfg(target_os = \"linux\")]\nuse test::b;"), [false]);
    assert_eq!(names_in("#[cfg(test)]\nmod laws;\nmod real;").test_mods, ["laws"]);
}
