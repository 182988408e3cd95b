//! Page-aligned memory that is kept between batches, so that direct I/O needs no copy.

/// The alignment that every block device accepts.
const ALIGNMENT: usize = 4096;

/// Memory of one thread.
#[derive(Debug, Default)]
pub(super) struct AlignedMemory {
    bytes: Vec<u8>,
}

impl AlignedMemory {
    /// Two aligned slices of `length` bytes, zeroed: one for what should be, one for what is.
    pub(super) fn pair(&mut self, length: usize) -> (&mut [u8], &mut [u8]) {
        let padded = length.next_multiple_of(ALIGNMENT);
        self.bytes.clear();
        self.bytes.resize(2 * padded + ALIGNMENT, 0);
        let skip = self.bytes.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        let (first, second) = self.bytes[skip..].split_at_mut(padded);
        (&mut first[..length], &mut second[..length])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_slices_are_aligned_zeroed_and_as_long_as_asked() {
        let mut memory = AlignedMemory::default();
        for length in [1, 4096, 5000, 1 << 20] {
            let (a, b) = memory.pair(length);
            assert_eq!((a.as_ptr() as usize % ALIGNMENT, b.as_ptr() as usize % ALIGNMENT), (0, 0));
            assert_eq!((a.len(), b.len()), (length, length));
            assert!(a.iter().chain(b.iter()).all(|byte| *byte == 0));
            a.fill(1);
            b.fill(2);
        }
    }
}
