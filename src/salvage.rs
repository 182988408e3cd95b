//! Files out of volumes that no longer mount: what scanning found, pieced together to a tree, with what vouches for each file.
//!
//! ```text
//!   Wreck ─ scan ──► inodes ─┬─ names ──► who is called what, and by whom
//!                            └─ maps ───► where content lies, what of it is lost, what is claimed twice
//!   the space that nobody claims ─ strays ──► directory blocks whose directories are lost
//!   earlier recovery points ─ past ──► inodes and names that are lost now
//!        all of it in a temporary table ──► PiecedTree, which is a Filesystem like any other, and Evidence for each file
//! ```
//! Nothing is made up: a file whose bytes are not all there shows which are missing, and what is only likely is called so. Memory does
//! not grow with the volume; what is found is kept in a temporary file.

mod account;
mod adrift;
mod claims;
mod error;
mod evidence;
mod finds;
mod guess;
mod homes;
mod inodes;
mod numbers;
mod past;
mod select;
mod summary;
mod tree;

#[cfg(test)]
mod tests;

pub use error::SalvageError;
pub use evidence::{Confidence, Evidence, NameProof};
pub use past::{MAX_PASTS, Past};
pub use summary::Summary;
pub use tree::PiecedTree;
