//! What a file without a name is, by how its content begins.

use crate::filesystem::{FileKind, Filesystem, Inode};

/// The beginning that is looked at.
const HEAD_BYTES: usize = 512;

/// A beginning, and the ending that names of such files have.
const BEGINNINGS: &[(usize, &[u8], &str)] = &[
    (0, b"\x89PNG\r\n\x1a\n", ".png"),
    (0, b"\xFF\xD8\xFF", ".jpg"),
    (0, b"GIF8", ".gif"),
    (0, b"%PDF-", ".pdf"),
    (0, b"PK\x03\x04", ".zip"),
    (0, b"\x1F\x8B\x08", ".gz"),
    (0, b"BZh", ".bz2"),
    (0, b"\xFD7zXZ\0", ".xz"),
    (0, b"\x28\xB5\x2F\xFD", ".zst"),
    (0, b"7z\xBC\xAF\x27\x1C", ".7z"),
    (257, b"ustar", ".tar"),
    (0, b"\x7FELF", ".elf"),
    (0, b"SQLite format 3\0", ".sqlite"),
    (0, b"RIFF", ".riff"),
    (4, b"ftyp", ".mp4"),
    (0, b"OggS", ".ogg"),
    (0, b"ID3", ".mp3"),
    (0, b"fLaC", ".flac"),
    (0, b"#!", ".sh"),
    (0, b"<?xml", ".xml"),
    (0, b"{\\rtf", ".rtf"),
    (0, b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1", ".ole"),
    (0, b"QFI\xFB", ".qcow2"),
];

/// The ending for a name of this file; empty where its content says nothing.
pub(super) fn ending(filesystem: &dyn Filesystem, file: &Inode) -> &'static str {
    if file.kind != FileKind::Regular || file.encrypted {
        return "";
    }
    let mut head = [0; HEAD_BYTES];
    match filesystem.read(file, 0, &mut head) {
        Ok(length) => of(head.get(..length).unwrap_or_default()),
        Err(_unreadable) => "",
    }
}

fn of(head: &[u8]) -> &'static str {
    let begins = |(at, bytes, _): &&(usize, &[u8], &str)| head.get(*at..).is_some_and(|rest| rest.starts_with(bytes));
    match BEGINNINGS.iter().find(begins) {
        Some((_, _, ending)) => ending,
        None if is_text(head) => ".txt",
        None => "",
    }
}

/// A head may end in the middle of a character.
fn is_text(head: &[u8]) -> bool {
    let valid = match str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => match head.get(..error.valid_up_to()).map(str::from_utf8) {
            Some(Ok(text)) => text,
            _ => return false,
        },
        Err(_) => return false,
    };
    !valid.is_empty() && valid.chars().all(|letter| !letter.is_control() || matches!(letter, '\n' | '\r' | '\t'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_known_by_its_beginning() {
        for (head, ending) in [
            (&b"\x89PNG\r\n\x1a\nrest"[..], ".png"),
            (b"#!/bin/sh\n", ".sh"),
            (b"plain words,\nthen more", ".txt"),
            ("caf\u{e9}".as_bytes(), ".txt"),
            (&"caf\u{e9}".as_bytes()[..4], ".txt"),
            (b"\xFF\xFE\x00", ""),
            (b"nul\0inside", ""),
            (b"", ""),
        ] {
            assert_eq!(of(head), ending, "{head:?}");
        }
        let mut archive = vec![b'x'; 257];
        archive.extend(b"ustar");
        assert_eq!(of(&archive), ".tar");
    }
}
