//! Names as text: bytes that are no UTF-8 are kept as characters that nobody uses, so that every name has one text and back.

use std::str;

/// The byte NN of a name that is no text stands as U+10FFNN... of the last private plane.
const FIRST: u32 = 0x10_ff00;

fn is_byte(character: char) -> bool {
    u32::from(character) >= FIRST
}

/// The text of a name.
pub(super) fn to_text(name: &[u8]) -> String {
    let mut out = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for character in chunk.valid().chars() {
            // Only this one: what stands around it is searched for as it is.
            if is_byte(character) {
                character.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| push_byte(&mut out, byte));
            } else {
                out.push(character);
            }
        }
        chunk.invalid().iter().for_each(|byte| push_byte(&mut out, *byte));
    }
    out
}

fn push_byte(out: &mut String, byte: u8) {
    out.extend(char::from_u32(FIRST + u32::from(byte)));
}

/// The name of a text.
pub(super) fn to_name(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for character in text.chars() {
        match u32::from(character).checked_sub(FIRST).and_then(|byte| u8::try_from(byte).ok()) {
            Some(byte) => out.push(byte),
            None => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_name_comes_back(name in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(to_name(&to_text(&name)), name);
        }
    }

    #[test]
    fn names_that_look_like_escaped_bytes_are_kept_apart() {
        for name in ["plain", "ä\u{10ff41}b", "\u{10ffff}"] {
            assert_eq!(to_name(&to_text(name.as_bytes())), name.as_bytes());
        }
        assert_eq!(to_text("ärger".as_bytes()), "ärger");
        assert_ne!(to_text(b"\x41\xff"), to_text("A\u{10ffff}".as_bytes()));
    }
}
