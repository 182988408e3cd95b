//! What the reader of a report must know about single files.

/// What is wrong with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TroubleKind {
    /// It, or what is in it, could not be read and is not in the point.
    Unreadable,
    /// It changed whenever it was read: it is kept as it came, and parts may be of different moments.
    Restless,
    /// Its content is not what it was, and its times say that it is.
    Disguised,
}

/// Something to know about one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Its path from the root of the tree.
    pub path: Vec<u8>,
    /// What is wrong.
    pub kind: TroubleKind,
    /// In words.
    pub reason: String,
}
