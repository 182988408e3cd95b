//! Source files as text, and the same text with comments and literals blanked out.

use std::fs;
use std::path::Path;

/// One file of Rust.
#[derive(Debug, Clone)]
pub(crate) struct SourceFile {
    /// From the package root, with `/`.
    pub(crate) path: String,
    /// As it is.
    pub(crate) text: String,
}

/// Every `.rs` file below `folders` of `root`, sorted by path. A folder that does not exist holds none.
pub(crate) fn read_tree(root: &Path, folders: &[&str]) -> Vec<SourceFile> {
    let mut files = Vec::new();
    for folder in folders {
        if root.join(folder).is_dir() {
            read_folder(root, folder, &mut files);
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn read_folder(root: &Path, folder: &str, files: &mut Vec<SourceFile>) {
    for entry in fs::read_dir(root.join(folder)).expect("the folder can be listed") {
        let entry = entry.expect("the entry can be read");
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            read_folder(root, &path, files);
        } else if path.ends_with(".rs") {
            let text = fs::read_to_string(entry.path()).expect("the file is UTF-8");
            files.push(SourceFile { path, text });
        }
    }
}

/// `text` with every comment, string and character literal replaced by spaces, byte for byte; lines stay where they are.
pub(crate) fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let blank = blank_length(rest, code.chars().next_back());
        let taken = if blank == 0 { first.len_utf8() } else { blank };
        let (piece, after) = rest.split_at(taken);
        if blank == 0 {
            code.push_str(piece);
        } else {
            code.extend(piece.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        }
        rest = after;
    }
    code
}

/// How many bytes at the start of `rest` are a comment or a literal; 0 if none begins here.
fn blank_length(rest: &str, before: Option<char>) -> usize {
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if rest.starts_with("//") {
        rest.find('\n').unwrap_or(rest.len())
    } else if rest.starts_with("/*") {
        block_comment(rest)
    } else if rest.starts_with('"') {
        quoted(rest)
    } else if rest.starts_with('\'') {
        character(rest)
    } else if in_word {
        0
    } else {
        raw_string(rest)
    }
}

/// Block comments nest.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        let tail = &rest.as_bytes()[at..];
        let step = if tail.starts_with(b"/*") {
            depth += 1;
            2
        } else if tail.starts_with(b"*/") {
            depth -= 1;
            2
        } else {
            1
        };
        at += step;
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    rest.len()
}

/// `'a'` and `'\n'` are characters; `'a` alone is a lifetime and no literal.
fn character(rest: &str) -> usize {
    let mut inside = rest[1..].char_indices();
    match (inside.next(), inside.next()) {
        // The character after the backslash is never the closing quote.
        (Some((_, '\\')), Some((at, escaped))) => {
            let from = 1 + at + escaped.len_utf8();
            rest[from..].find('\'').map_or(rest.len(), |close| from + close + 1)
        }
        (Some(_), Some((at, '\''))) => at + 2,
        _ => 0,
    }
}

/// `r"…"`, `r#"…"#` and their `b` and `c` kinds; `r#type` is a name.
fn raw_string(rest: &str) -> usize {
    let Some(after) = ["r", "br", "cr"].iter().find_map(|prefix| rest.strip_prefix(prefix)) else { return 0 };
    let hashes = after.len() - after.trim_start_matches('#').len();
    if !after[hashes..].starts_with('"') {
        return 0;
    }
    let open = rest.len() - after.len() + hashes + 1;
    let close = format!("\"{}", "#".repeat(hashes));
    rest[open..].find(&close).map_or(rest.len(), |at| open + at + close.len())
}

#[test]
fn comments_and_literals_are_blank_and_code_is_not() {
    let check = |text: &str, expected: &str| {
        let words = |code: &str| code.split_whitespace().collect::<Vec<_>>().join(" ");
        let code = code_of(text);
        assert_eq!(words(&code), expected, "{text}");
        assert_eq!(code.lines().count(), text.lines().count(), "{text}");
    };
    check("a // b\nc", "a c");
    check("a /* b /* c */ d */ e", "a e");
    check("a \"b \\\" c\" d", "a d");
    check("a \"b \\\\\" d", "a d");
    check("a \"// b\" c", "a c");
    check("a r#\"b \" c\"# d", "a d");
    check("a br\"\\\" d", "a d");
    check("r#type var\"x\" d", "r#type var d");
    check("fn f<'a>(x: &'a str) '\\'' b '\"' c '\\u{41}' d 'é' e", "fn f<'a>(x: &'a str) b c d e");
    check("a /* b\nc */ d", "a d");
    check("a \"open", "a");
}
