//! Names as bytes: which of them a directory may hold, and how they are shown without touching a terminal.

/// The longest name of any Linux filesystem.
pub const MAX_NAME_BYTES: usize = 255;

/// True for a name that a directory may hold: not empty, not `.` or `..`, without slash and NUL, and not too long.
#[must_use]
pub fn is_plain_name(name: &[u8]) -> bool {
    let reserved = matches!(name, b"" | b"." | b"..");
    !reserved && name.len() <= MAX_NAME_BYTES && !name.iter().any(|byte| matches!(byte, b'/' | 0))
}

/// A name or path for people: what a terminal or a log could obey is escaped as `\n`, `\xNN` or `\u{N}`, a backslash is doubled.
#[must_use]
pub fn printable(name: &[u8]) -> String {
    let mut out = String::with_capacity(name.len());
    for piece in name.utf8_chunks() {
        piece.valid().chars().for_each(|letter| push_letter(&mut out, letter));
        piece.invalid().iter().for_each(|byte| push_byte(&mut out, *byte));
    }
    out
}

fn push_letter(out: &mut String, letter: char) {
    match letter {
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\t' => out.push_str("\\t"),
        '\r' => out.push_str("\\r"),
        letter if letter.is_ascii_control() => push_byte(out, u8::try_from(letter).unwrap_or(b'?')),
        letter if letter.is_control() || is_invisible(letter) => out.push_str(&format!("\\u{{{:x}}}", u32::from(letter))),
        letter => out.push(letter),
    }
}

fn push_byte(out: &mut String, byte: u8) {
    out.push_str(&format!("\\x{byte:02x}"));
}

/// Letters without a shape that turn, join or hide what stands beside them.
fn is_invisible(letter: char) -> bool {
    matches!(letter,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_lead_one_step_down_are_plain() {
        for name in [&b"a"[..], b"...", b"..a", b" ", b"\n", b"\xff", &[b'x'; 255]] {
            assert!(is_plain_name(name), "{name:?}");
        }
        for name in [&b""[..], b".", b"..", b"a/b", b"/", b"a\0", &[b'x'; 256]] {
            assert!(!is_plain_name(name), "{name:?}");
        }
    }

    #[test]
    fn nothing_that_a_terminal_obeys_is_shown_raw() {
        for (name, shown) in [
            (&b"plain name.txt"[..], "plain name.txt"),
            ("Gr\u{fc}\u{df}e".as_bytes(), "Gr\u{fc}\u{df}e"),
            (b"a\\b", "a\\\\b"),
            (b"a\nb\tc\rd", "a\\nb\\tc\\rd"),
            (b"\x1b[2J", "\\x1b[2J"),
            (b"\x7f\x00", "\\x7f\\x00"),
            (b"\xff\xc3(", "\\xff\\xc3("),
            ("\u{9b}31m".as_bytes(), "\\u{9b}31m"),
            ("a\u{202e}b".as_bytes(), "a\\u{202e}b"),
        ] {
            assert_eq!(printable(name), shown);
        }
        let all: Vec<u8> = (0..=255).collect();
        assert!(printable(&all).chars().all(|letter| !letter.is_control()));
    }
}
