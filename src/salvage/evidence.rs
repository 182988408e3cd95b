//! What vouches for a file, and what class that makes it.

use std::fmt;

use crate::filesystem::{Proof, View};

/// What vouches for a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NameProof {
    /// It stands in a directory block with a right checksum, of a directory that is known.
    Checksum,
    /// It stands in its directory, in a block without checksum.
    InPlace,
    /// It stands in a block whose directory had to be concluded.
    Concluded,
    /// It stands in an older copy of a block, from the journal.
    Older,
    /// An earlier recovery point has it.
    Past,
    /// There is none: the file is called by its inode number.
    None,
}

impl NameProof {
    pub(super) fn of(proof: Proof) -> Self {
        match proof {
            Proof::Checksum | Proof::Mended => Self::Checksum,
            Proof::Plausible | Proof::OlderCopy => Self::InPlace,
        }
    }

    pub(super) fn number(self) -> i64 {
        self as i64
    }

    pub(super) fn numbered(number: i64) -> Self {
        match number {
            0 => Self::Checksum,
            1 => Self::InPlace,
            2 => Self::Concluded,
            3 => Self::Older,
            4 => Self::Past,
            _ => Self::None,
        }
    }
}

/// How sure a file is, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Confidence {
    /// Its inode, its map and its name have right checksums, and the journal was replayed. That says nothing of its data on a device.
    Verified,
    /// Nothing contradicts it, but something has no checksum, or was concluded.
    Probable,
    /// Bytes of it are lost. Which ones is known.
    Partial,
    /// Something contradicts it, or it is older than what was lost.
    Doubtful,
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Verified => "verified",
            Self::Probable => "probable",
            Self::Partial => "partial",
            Self::Doubtful => "doubtful",
        })
    }
}

/// What is known of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// What vouches for its inode and its map.
    pub inode: Proof,
    /// What vouches for its name.
    pub name: NameProof,
    /// Bytes of its content whose place is lost.
    pub missing_bytes: u64,
    /// What contradicts it.
    pub doubt: Option<String>,
    /// The recovery point that it is taken from.
    pub past: Option<String>,
    /// The answers may be older than what the kernel would show.
    pub stale: bool,
}

impl Evidence {
    pub(super) fn is_stale(view: &View) -> bool {
        view.stale().is_some()
    }

    /// The class that all this makes.
    #[must_use]
    pub fn confidence(&self) -> Confidence {
        let doubtful = self.doubt.is_some() || self.inode == Proof::OlderCopy;
        // What a point has may be older than what was lost.
        let proven = self.inode == Proof::Checksum && self.name == NameProof::Checksum && !self.stale && self.past.is_none();
        match (doubtful, self.missing_bytes, proven) {
            (true, ..) => Confidence::Doubtful,
            (false, 1.., _) => Confidence::Partial,
            (false, 0, true) => Confidence::Verified,
            (false, 0, false) => Confidence::Probable,
        }
    }

    /// Why it is not verified; empty if it is.
    #[must_use]
    pub fn reasons(&self) -> Vec<String> {
        let inode = match self.inode {
            Proof::Checksum => None,
            Proof::Mended => Some("a flipped bit of its metadata was put right".to_owned()),
            Proof::Plausible => Some("its inode has no checksum".to_owned()),
            Proof::OlderCopy => Some("its inode is an older copy from the journal".to_owned()),
        };
        let name = match self.name {
            NameProof::Checksum => None,
            NameProof::InPlace => Some("its name has no checksum".to_owned()),
            NameProof::Concluded => Some("its name stands in a block that was found without its directory".to_owned()),
            NameProof::Older => Some("its name is from an older copy in the journal".to_owned()),
            NameProof::Past => Some("its name is from an earlier recovery point".to_owned()),
            NameProof::None => Some("its name is lost".to_owned()),
        };
        let missing = (self.missing_bytes > 0).then(|| format!("{} bytes are lost", self.missing_bytes));
        let past = self.past.as_ref().map(|point| format!("from point {point}"));
        let stale = self.stale.then(|| "the journal could not be applied".to_owned());
        [past, self.doubt.clone(), missing, inode, name, stale].into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> Evidence {
        Evidence { inode: Proof::Checksum, name: NameProof::Checksum, missing_bytes: 0, doubt: None, past: None, stale: false }
    }

    #[test]
    fn one_weak_link_is_enough_to_be_less_than_verified() {
        let check = |evidence: Evidence, expected| {
            assert_eq!(evidence.confidence(), expected, "{evidence:?}");
            assert_eq!(evidence.reasons().is_empty(), expected == Confidence::Verified, "{evidence:?}");
        };
        check(sound(), Confidence::Verified);
        check(Evidence { inode: Proof::Plausible, ..sound() }, Confidence::Probable);
        check(Evidence { inode: Proof::Mended, ..sound() }, Confidence::Probable);
        check(Evidence { name: NameProof::InPlace, ..sound() }, Confidence::Probable);
        check(Evidence { name: NameProof::Concluded, ..sound() }, Confidence::Probable);
        check(Evidence { name: NameProof::None, ..sound() }, Confidence::Probable);
        check(Evidence { stale: true, ..sound() }, Confidence::Probable);
        check(Evidence { past: Some("P".to_owned()), ..sound() }, Confidence::Probable);
        check(Evidence { missing_bytes: 1, ..sound() }, Confidence::Partial);
        check(Evidence { inode: Proof::OlderCopy, ..sound() }, Confidence::Doubtful);
        check(Evidence { doubt: Some("x".to_owned()), missing_bytes: 7, ..sound() }, Confidence::Doubtful);
    }

    #[test]
    fn proofs_of_names_survive_the_table() {
        use NameProof::{Checksum, Concluded, InPlace, None, Older, Past};
        for proof in [Checksum, InPlace, Concluded, Older, Past, None] {
            assert_eq!(NameProof::numbered(proof.number()), proof);
        }
    }
}
