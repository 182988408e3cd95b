//! What the manifest says of a volume that is a tree of files.
//!
//! ```text
//! field := version u8 (1) | inodes u64 | content bytes u64 | troubled u64
//! ```

use super::bounds::{FormatError, In};
use crate::base::bytes::{ByteReader, PutBytes};

const WHAT: &str = "tree of files";
/// Also that of the layout of the volume: a later one cannot be read here.
const VERSION: u8 = 1;

/// What the volume of a point holds that is a tree of files and was never on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FileTreeFacts {
    /// Inodes.
    pub inodes: u64,
    /// Bytes of content, as long as files are.
    pub content_bytes: u64,
    /// Files and directories that could not be read, or not while they held still.
    pub troubled: u64,
}

impl FileTreeFacts {
    /// The value of the field.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        [self.inodes, self.content_bytes, self.troubled].into_iter().for_each(|number| out.put_u64(number));
        out
    }

    /// Reads what [`Self::encode`] wrote under `tag`; a later version is a field that is not known.
    pub(super) fn parse(bytes: &[u8], tag: u16) -> Result<Self, FormatError> {
        let mut reader = ByteReader::new(bytes);
        if reader.u8().within(WHAT)? != VERSION {
            return Err(FormatError::UnknownField { what: WHAT, tag });
        }
        let mut number = || reader.u64().within(WHAT);
        Ok(Self { inodes: number()?, content_bytes: number()?, troubled: number()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::format::fields::{FieldWriter, Fields};

    #[test]
    fn a_tree_of_files_is_refused_by_whoever_does_not_know_it_or_its_version() {
        let facts = FileTreeFacts { inodes: 1, content_bytes: 2, troubled: 3 };
        let mut bytes = facts.encode();
        assert_eq!(FileTreeFacts::parse(&bytes, 0x8002), Ok(facts));
        let fields = FieldWriter::default().put(0x8000, b"tree").put(0x8002, &bytes).finish();
        let before = Fields::parse(&fields, "recovery point", &[0x8000, 0x8001]).unwrap_err();
        assert_eq!(before, FormatError::UnknownField { what: "recovery point", tag: 0x8002 });
        bytes[0] += 1;
        assert!(matches!(FileTreeFacts::parse(&bytes, 0x8002), Err(FormatError::UnknownField { tag: 0x8002, .. })));
    }
}
