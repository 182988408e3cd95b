//! What is searched for: part of a name, or a pattern with `*`, `?` and `[`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::str::Chars;

use globset::{GlobBuilder, GlobMatcher};

use super::names::to_text;

/// What the index is asked for: characters that stand together in every name that matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Prefilter {
    /// Three and more, as SQLite's GLOB wants them.
    Glob(String),
    /// Two.
    Pair(String),
}

/// A pattern, read.
#[derive(Debug, Clone)]
pub struct Pattern {
    matcher: Matcher,
    /// It says something of directories too.
    is_path: bool,
    prefilter: Option<Prefilter>,
}

#[derive(Debug, Clone)]
enum Matcher {
    Part(Vec<u8>),
    Glob(Box<GlobMatcher>),
}

impl Pattern {
    /// Reads a pattern. Without a slash it is about names; with one, about paths, and it must reach into the last name.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let is_path = text.contains(&b'/');
        let last = text.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        if !text.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[')) {
            let prefilter = prefilter(&to_text(last));
            return Ok(Self { matcher: Matcher::Part(text.to_vec()), is_path, prefilter });
        }
        let glob = String::from_utf8(text.to_vec()).map_err(|_| "a pattern must be UTF-8".to_owned())?;
        let prefilter = prefilter(&longest_literal(&String::from_utf8_lossy(last)));
        let whole = if is_path && !glob.starts_with('/') { format!("/**/{glob}") } else { glob };
        let built = GlobBuilder::new(&whole).literal_separator(true).backslash_escape(true).build();
        let matcher = built.map_err(|error| error.kind().to_string())?.compile_matcher();
        Ok(Self { matcher: Matcher::Glob(Box::new(matcher)), is_path, prefilter })
    }

    /// What the index is asked for, if it can be asked.
    pub(super) fn prefilter(&self) -> Option<&Prefilter> {
        self.prefilter.as_ref()
    }

    /// False if no path that ends in this name matches.
    pub(super) fn may_match(&self, name: &[u8]) -> bool {
        self.is_path || self.matches_text(name, 0)
    }

    /// True if the path matches; it ends in a name of which [`Self::may_match`] was true.
    pub(super) fn matches(&self, path: &[u8]) -> bool {
        let name_at = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        !self.is_path || self.matches_text(path, name_at)
    }

    /// True if a whole path from the root matches.
    #[must_use]
    pub fn covers(&self, path: &[u8]) -> bool {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        self.may_match(name) && self.matches(path)
    }

    fn matches_text(&self, text: &[u8], must_reach: usize) -> bool {
        match &self.matcher {
            Matcher::Part(part) if part.is_empty() => true,
            Matcher::Part(part) => {
                let mut ends = (part.len()..=text.len()).rev().take_while(|end| *end >= must_reach);
                ends.any(|end| text.get(end - part.len()..end) == Some(part))
            }
            Matcher::Glob(glob) => glob.is_match(Path::new(OsStr::from_bytes(text))),
        }
    }
}

fn prefilter(literal: &str) -> Option<Prefilter> {
    match literal.chars().count() {
        0 | 1 => return None,
        2 => return Some(Prefilter::Pair(literal.to_owned())),
        _ => {}
    }
    let escaped = literal.chars().map(|c| if matches!(c, '*' | '?' | '[') { format!("[{c}]") } else { c.to_string() });
    Some(Prefilter::Glob(format!("*{}*", escaped.collect::<String>())))
}

/// The longest run of characters that stand for themselves.
fn longest_literal(glob: &str) -> String {
    let (mut longest, mut now, mut depth) = (String::new(), String::new(), 0u32);
    let mut characters = glob.chars();
    while let Some(character) = characters.next() {
        match character {
            '[' => skip_class(&mut characters),
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            // What follows would stand for itself; without it the literal is only shorter.
            '\\' => drop(characters.next()),
            '*' | '?' | ',' => {}
            other if depth == 0 => {
                now.push(other);
                continue;
            }
            _ => {}
        }
        if now.chars().count() > longest.chars().count() {
            longest = now.clone();
        }
        now.clear();
    }
    if now.chars().count() > longest.chars().count() { now } else { longest }
}

/// A `]` that comes first is in the class.
fn skip_class(characters: &mut Chars<'_>) {
    if matches!(characters.next(), Some('!' | '^')) {
        characters.next();
    }
    characters.find(|character| *character == ']');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, path: &str, expected: bool) {
        let pattern = Pattern::parse(pattern.as_bytes()).unwrap();
        let name = path.rsplit('/').next().unwrap_or_default();
        let found = pattern.may_match(name.as_bytes()) && pattern.matches(path.as_bytes());
        assert_eq!(found, expected, "{path} with {pattern:?}");
    }

    #[test]
    fn patterns_match_names_and_with_a_slash_paths() {
        for (pattern, path, expected) in [
            ("pass", "/etc/passwd", true),
            ("pass", "/etc/pass/x", false),
            ("etc/pass", "/etc/passwd", true),
            ("etc/pass", "/etc/passwd/x", false),
            ("etc/", "/etc/x", true),
            ("/etc/passwd", "/etc/passwd", true),
            ("*.conf", "/etc/a.conf", true),
            ("*.conf", "/etc/a.conf.old", false),
            ("a?c", "/x/abc", true),
            ("[ab]*", "/x/b", true),
            ("etc/*.conf", "/root/etc/a.conf", true),
            ("/etc/*.conf", "/root/etc/a.conf", false),
            ("/etc/**/*.conf", "/etc/deep/er/a.conf", true),
            ("/etc/*.conf", "/etc/deep/a.conf", false),
            ("*", "/any", true),
            ("", "/any", true),
        ] {
            check(pattern, path, expected);
        }
        assert!(Pattern::parse(b"[a").is_err());
    }

    #[test]
    fn the_index_is_asked_for_what_every_match_holds() {
        let asked = |pattern: &str| Pattern::parse(pattern.as_bytes()).unwrap().prefilter;
        let glob = |text: &str| Some(Prefilter::Glob(text.to_owned()));
        let pair = |text: &str| Some(Prefilter::Pair(text.to_owned()));
        assert_eq!(asked("report"), glob("*report*"));
        assert_eq!(asked("a.report*.{pdf,txt}"), glob("*a.report*"));
        assert_eq!(asked("dir/b*.conf"), glob("*.conf*"));
        assert_eq!(asked("x[abcdef]y"), None);
        assert_eq!(asked("ab"), pair("ab"));
        assert_eq!(asked("*.c"), pair(".c"));
        for class in ["[]abc]", "[!]abc]", "[a}bcd]", "{a]bcd,x}", "\\"] {
            assert_eq!(asked(&format!("{class}xyz*")), glob("*xyz*").filter(|_| class != "\\").or(pair("yz")), "{class}");
        }
        assert_eq!(asked("a"), None);
        assert_eq!(asked("directory/"), None);
        assert_eq!(asked("ärg"), glob("*ärg*"));
    }
}
