//! Randomness as an argument, so that a seed can replay a whole run.

use std::fmt;
use thiserror::Error;

/// The source of randomness failed; nothing secret may be made without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the system's random generator failed")]
pub struct EntropyError;

/// Where random bytes come from.
pub trait Entropy: Send + Sync + fmt::Debug {
    /// Fills `out` with random bytes.
    fn fill(&self, out: &mut [u8]) -> Result<(), EntropyError>;

    /// A uniformly random number.
    fn u64(&self) -> Result<u64, EntropyError> {
        let mut bytes = [0; 8];
        self.fill(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }
}
