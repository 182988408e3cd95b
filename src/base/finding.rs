//! What went wrong with the user's data: reported beside a result, never instead of one.

use super::extent::Extent;
use std::fmt;

/// Something the reader of a report must know about the data itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The source could not be read here; the point records the range as unreadable.
    Unreadable {
        /// Bytes of the volume.
        extent: Extent,
    },
    /// The change list said "unchanged", a re-read said otherwise; the whole volume was read instead.
    ChangeListWrong {
        /// The chunk whose re-read betrayed the list.
        extent: Extent,
    },
    /// The repository cannot give these bytes back.
    Damaged {
        /// Bytes of the volume.
        extent: Extent,
        /// Which object failed, and how.
        reason: String,
    },
}

impl Finding {
    /// The bytes of the volume that it is about.
    #[must_use]
    pub fn extent(&self) -> Extent {
        match self {
            Self::Unreadable { extent } | Self::ChangeListWrong { extent } | Self::Damaged { extent, .. } => *extent,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { extent } => write!(f, "{extent}: unreadable on the source"),
            Self::ChangeListWrong { extent } => write!(f, "{extent}: changed, though the change list says unchanged"),
            Self::Damaged { extent, reason } => write!(f, "{extent}: {reason}"),
        }
    }
}
