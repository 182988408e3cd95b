//! Whether what is shown is what the kernel would show after recovery.

/// The state of the filesystem that the answers describe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum View {
    /// It was unmounted cleanly, or has no journal: nothing had to be replayed.
    Clean,
    /// The journal held changes, and all of them were applied in memory.
    Replayed {
        /// Transactions applied.
        transactions: u64,
        /// Blocks (ext) or buffers and inodes (XFS) that differ from what lies in place.
        changes: u64,
    },
    /// The journal could not be applied completely: answers may be older than what the kernel would show, or mixed.
    Stale {
        /// Why.
        reason: String,
    },
}

impl View {
    /// Why answers may not be what the kernel would show.
    #[must_use]
    pub fn stale(&self) -> Option<&str> {
        match self {
            Self::Stale { reason } => Some(reason),
            Self::Clean | Self::Replayed { .. } => None,
        }
    }
}
