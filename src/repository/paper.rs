//! Keys as text that survives paper: base 32 without look-alikes, in groups of five, with a checksum.

use thiserror::Error;
use zeroize::Zeroizing;

/// Crockford's alphabet: no I, L, O or U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const GROUP: usize = 5;
/// 32 bytes of key and 3 of checksum are exactly 56 digits.
const DIGITS: usize = 56;

/// Text that is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PaperError {
    /// Wrong number of digits.
    #[error("a key has {DIGITS} digits in groups of {GROUP}, and this has {0}")]
    Length(usize),
    /// A character outside the alphabet.
    #[error("{0:?} is no digit of a key")]
    Digit(char),
    /// The checksum is wrong: something was mistyped.
    #[error("the key's checksum is wrong; compare it with the original, group by group")]
    Checksum,
}

/// Writes a key as groups of digits.
#[must_use]
pub fn to_text(key: &[u8; 32]) -> Zeroizing<String> {
    let mut bytes = Zeroizing::new(key.to_vec());
    bytes.extend_from_slice(&checksum(key));
    let mut out = Zeroizing::new(String::new());
    for (index, digit) in digits(&bytes).enumerate() {
        if index > 0 && index % GROUP == 0 {
            out.push('-');
        }
        out.push(char::from(ALPHABET[usize::from(digit)]));
    }
    out
}

/// Reads a key; spaces, hyphens and case do not matter, and O, I, L are taken for the digits they look like.
pub fn from_text(text: &str) -> Result<Zeroizing<[u8; 32]>, PaperError> {
    let mut values = Zeroizing::new(Vec::with_capacity(DIGITS));
    for c in text.chars().filter(|c| !c.is_whitespace() && *c != '-') {
        values.push(value(c).ok_or(PaperError::Digit(c))?);
    }
    if values.len() != DIGITS {
        return Err(PaperError::Length(values.len()));
    }
    let mut bytes = Zeroizing::new([0u8; 35]);
    for (eight, five) in values.chunks_exact(8).zip(bytes.chunks_exact_mut(5)) {
        let bits = eight.iter().fold(0u64, |bits, value| bits << 5 | u64::from(*value));
        five.copy_from_slice(&bits.to_be_bytes()[3..]);
    }
    let mut key = Zeroizing::new([0; 32]);
    key.copy_from_slice(&bytes[..32]);
    if checksum(&key) == bytes[32..] { Ok(key) } else { Err(PaperError::Checksum) }
}

fn checksum(key: &[u8; 32]) -> [u8; 3] {
    let hash = blake3::derive_key("icecore v1 paper checksum", key);
    [hash[0], hash[1], hash[2]]
}

/// Splits 35 bytes into 56 values of five bits.
fn digits(bytes: &[u8]) -> impl Iterator<Item = u8> + '_ {
    bytes.chunks(5).flat_map(|five| {
        let bits = five.iter().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
        (0..8).rev().map(move |place| (bits >> (place * 5) & 31) as u8)
    })
}

fn value(c: char) -> Option<u8> {
    let c = match c.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    };
    ALPHABET.iter().position(|digit| char::from(*digit) == c).and_then(|place| u8::try_from(place).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_key_comes_back_from_paper(key in any::<[u8; 32]>()) {
            let text = to_text(&key);
            prop_assert_eq!(*from_text(&text).unwrap(), key);
            prop_assert_eq!(*from_text(&text.to_lowercase().replace('-', " ").replace('0', "o").replace('1', "l")).unwrap(), key);
        }

        #[test]
        fn one_mistyped_digit_is_noticed(key in any::<[u8; 32]>(), place in 0usize..DIGITS, shift in 1u8..32) {
            let plain = to_text(&key).replace('-', "");
            let mut digits = plain.into_bytes();
            let old = ALPHABET.iter().position(|d| *d == digits[place]).unwrap() as u8;
            digits[place] = ALPHABET[usize::from((old + shift) % 32)];
            prop_assert_eq!(from_text(str::from_utf8(&digits).unwrap()).unwrap_err(), PaperError::Checksum);
        }
    }

    #[test]
    fn what_is_no_key_is_named() {
        assert_eq!(from_text("ABC").unwrap_err(), PaperError::Length(3));
        assert_eq!(from_text("AB!").unwrap_err(), PaperError::Digit('!'));
    }
}
