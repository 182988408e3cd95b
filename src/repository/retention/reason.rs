//! Why a point stays or goes, in words for a dry run.

use std::fmt;

use super::{Bucket, Within};

/// Why a point stays, or why it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// A person asked to keep it.
    Pinned,
    /// Something in progress needs it.
    Held(String),
    /// It is dated after now.
    AfterNow,
    /// There are no rules.
    EmptyPolicy,
    /// It is the `nth` newest of all; `of` are asked for.
    Last {
        /// Its place, from 1.
        nth: u32,
        /// How many places the rule has.
        of: u32,
    },
    /// It is the newest of its bucket, and that is the `nth` newest that holds a point; `of` are asked for.
    NewestOf {
        /// The bucket.
        bucket: Bucket,
        /// The place of the bucket, from 1.
        nth: u32,
        /// How many buckets the rule asks for.
        of: u32,
    },
    /// It is no older than this before the newest point.
    Within(Within),
    /// Nothing asks for it: it goes.
    NoRule,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pinned => f.write_str("pinned"),
            Self::Held(why) => write!(f, "held: {why}"),
            Self::AfterNow => f.write_str("dated after now; check the clock of the machine that cut it"),
            Self::EmptyPolicy => f.write_str("the policy has no rules and keeps everything"),
            Self::Last { nth, of } => write!(f, "last {nth} of {}", Asked(*of)),
            Self::NewestOf { bucket, nth, of } => write!(f, "newest of {bucket} ({} {nth} of {})", bucket.period(), Asked(*of)),
            Self::Within(within) => write!(f, "within {within} of the newest"),
            Self::NoRule => f.write_str("no rule keeps it"),
        }
    }
}

/// A count, or the word for all of them.
struct Asked(u32);

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == u32::MAX { f.write_str("all") } else { write!(f, "{}", self.0) }
    }
}
