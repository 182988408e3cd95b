//! The hashes of names by which large directories are indexed.
//!
//! As fs/ext4/hash.c of Linux computes them. `debugfs -R "dx_hash -h half_md4 -s SEED NAME"` prints the same.

use super::superblock::Superblock;

/// The index keeps this value for its own end.
const END: u32 = 0xFFFF_FFFE;
/// What hashing begins with, unless the superblock has a seed.
const START: [u32; 4] = [0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476];

/// How a directory hashes names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NameHash {
    function: Function,
    unsigned: bool,
    seed: [u32; 4],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    Legacy,
    HalfMd4,
    Tea,
}

impl NameHash {
    /// The hash with the number that an index names; `None` for one that is not known.
    pub(super) fn numbered(number: u8, superblock: &Superblock) -> Option<Self> {
        let function = match number % 3 {
            _ if number > 5 => return None,
            0 => Function::Legacy,
            1 => Function::HalfMd4,
            _ => Function::Tea,
        };
        let seed = if superblock.hash_seed == [0; 4] { START } else { superblock.hash_seed };
        Some(Self { function, unsigned: number > 2 || superblock.hash_unsigned, seed })
    }

    /// The hash of a name.
    pub(super) fn of(&self, name: &[u8]) -> u32 {
        let hash = match self.function {
            Function::Legacy => self.legacy(name),
            Function::HalfMd4 => self.fold(name, half_md4)[1],
            Function::Tea => self.fold(name, tea)[0],
        };
        let hash = hash & !1;
        if hash == END { END - 2 } else { hash }
    }

    /// A byte as C promotes a character, which is signed on some machines.
    fn widen(&self, byte: u8) -> u32 {
        if self.unsigned { u32::from(byte) } else { i32::from(byte.cast_signed()).cast_unsigned() }
    }

    fn legacy(&self, name: &[u8]) -> u32 {
        let (mut last, mut before) = (0x12A3_FE2D_u32, 0x37AB_E8F9_u32);
        for byte in name {
            let hash = before.wrapping_add(last ^ self.widen(*byte).wrapping_mul(7_152_373));
            let hash = if hash & 0x8000_0000 == 0 { hash } else { hash.wrapping_sub(0x7FFF_FFFF) };
            (before, last) = (last, hash);
        }
        last << 1
    }

    /// Mixes a name into the seed, `N` words at a time.
    fn fold<const N: usize>(&self, name: &[u8], mix: fn(&mut [u32; 4], &[u32; N])) -> [u32; 4] {
        let mut state = self.seed;
        let mut rest = name;
        while !rest.is_empty() {
            mix(&mut state, &self.words(rest));
            rest = rest.get(N * 4..).unwrap_or_default();
        }
        state
    }

    /// The next words of a name, filled up with the length of all that is left of it.
    fn words<const N: usize>(&self, rest: &[u8]) -> [u32; N] {
        let length = u32::try_from(rest.len()).unwrap_or(u32::MAX);
        let padding = length | length << 8;
        let padding = padding | padding << 16;
        let mut words = [padding; N];
        for (word, bytes) in words.iter_mut().zip(rest.chunks(4)) {
            *word = bytes.iter().fold(padding, |word, byte| self.widen(*byte).wrapping_add(word << 8));
        }
        words
    }
}

/// Three rounds of MD4, cut down to eight words.
fn half_md4(state: &mut [u32; 4], words: &[u32; 8]) {
    const ROUNDS: [([usize; 8], [u32; 4], u32); 3] = [
        ([0, 1, 2, 3, 4, 5, 6, 7], [3, 7, 11, 19], 0),
        ([1, 3, 5, 7, 0, 2, 4, 6], [3, 5, 9, 13], 0x5A82_7999),
        ([3, 7, 2, 6, 1, 5, 0, 4], [3, 9, 11, 15], 0x6ED9_EBA1),
    ];
    let functions: [fn(u32, u32, u32) -> u32; 3] =
        [|x, y, z| z ^ (x & (y ^ z)), |x, y, z| (x & y).wrapping_add((x ^ y) & z), |x, y, z| x ^ y ^ z];
    let [mut a, mut b, mut c, mut d] = *state;
    for ((order, shifts, constant), function) in ROUNDS.iter().zip(functions) {
        for (word, shift) in order.iter().zip(shifts.iter().cycle()) {
            let mixed = a.wrapping_add(function(b, c, d)).wrapping_add(words[*word]).wrapping_add(*constant);
            (a, b, c, d) = (d, mixed.rotate_left(*shift), b, c);
        }
    }
    add(state, &[a, b, c, d]);
}

/// The Tiny Encryption Algorithm, sixteen rounds.
fn tea(state: &mut [u32; 4], key: &[u32; 4]) {
    let (mut first, mut second, mut sum) = (state[0], state[1], 0_u32);
    let half = |other: u32, sum: u32, left: u32, right: u32| {
        (other << 4).wrapping_add(left) ^ other.wrapping_add(sum) ^ (other >> 5).wrapping_add(right)
    };
    for _round in 0..16 {
        sum = sum.wrapping_add(0x9E37_79B9);
        first = first.wrapping_add(half(second, sum, key[0], key[1]));
        second = second.wrapping_add(half(first, sum, key[2], key[3]));
    }
    add(state, &[first, second, 0, 0]);
}

fn add(state: &mut [u32; 4], more: &[u32; 4]) {
    state.iter_mut().zip(more).for_each(|(word, more)| *word = word.wrapping_add(*more));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `debugfs -R "dx_hash -h FUNCTION NAME"` prints for a short name, a long one, one that is not ASCII, and a single letter.
    #[test]
    fn hashes_are_those_of_e2fsprogs() {
        let names: [&[u8]; 4] = [b"hello", b"a-name-that-is-longer-than-thirty-two-bytes", "\u{fc}ber".as_bytes(), b"x"];
        for (function, expected) in [
            (Function::Legacy, [0x3225_2546, 0xA124_A784, 0x0650_1132, 0xB26F_0BDC]),
            (Function::HalfMd4, [0x1746_DA32, 0xD3E5_6B26, 0xEF0D_47E0, 0x497E_F0FE]),
            (Function::Tea, [0x6F5B_B1A8, 0x1C92_60D6, 0x0952_5F06, 0xE958_E760]),
        ] {
            let hash = NameHash { function, unsigned: false, seed: START };
            assert_eq!(names.map(|name| hash.of(name)), expected, "{function:?}");
        }
    }

    #[test]
    fn a_seed_and_the_sign_of_bytes_matter() {
        let umlaut = "\u{fc}ber".as_bytes();
        for (function, expected) in
            [(Function::Legacy, 0xF0D0_D12E), (Function::HalfMd4, 0x210D_BBF6), (Function::Tea, 0xD56F_F3B0)]
        {
            assert_eq!(NameHash { function, unsigned: true, seed: START }.of(umlaut), expected, "{function:?}");
        }
        // With the seed aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee.
        let seed = [0xAAAA_AAAA, 0xCC4C_BBBB, 0xEEEE_DD8D, 0xEEEE_EEEE];
        assert_eq!(NameHash { function: Function::HalfMd4, unsigned: false, seed }.of(umlaut), 0xC9E2_431A);
    }
}
