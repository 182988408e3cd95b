//! One answer to one question, whoever gives it: what changed between two cuts, and what makes that believable.

use thiserror::Error;

use crate::base::extent::ExtentSet;
use crate::repository::format::changes::Rung;

/// Somebody who may know what changed between the cut of the last point and this one.
pub trait ChangeSource {
    /// Who it is.
    fn rung(&self) -> Rung;

    /// The name of the cut that it counts from; `None` when it cannot name one, and whoever called it vouches for that.
    fn counts_from(&self) -> Option<&str>;

    /// What this cut is to be called, so that a later answer can count from it.
    fn cut_name(&self) -> Option<&str>;

    /// What changed. Asked at most once, and only if the answer could count.
    fn changes(&mut self) -> Result<Answer, SourceError>;
}

/// What changed. There is nothing between these two: an answer that may be short is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Whatever changed lies in these ranges. More may lie in them.
    Exact {
        /// In bytes of the volume.
        ranges: ExtentSet,
        /// Why that is sure, in words.
        proof: String,
    },
    /// It is not known.
    Unknown {
        /// Why not, in words.
        reason: String,
    },
}

/// Why a source was not even asked to the end.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SourceError {
    /// What it was asked has to be changed first.
    #[error("{0}")]
    Refused(String),
    /// Somebody wants the work to end.
    #[error("stopped on request")]
    Stopped,
}
