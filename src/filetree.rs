//! A tree of files on a mounted filesystem becomes a volume: what changed is found, read, and given its place.
//!
//! ```text
//!   survey: walk ─► known by the earlier tree? ─► records and work, in a temporary table
//!   lay:    holes and rewritten places ─► new contents ─► appendices ─► records ─► state        ascending, as windows
//! ```
//! `filesystem::file_tree` reads what is laid here; `docs/decisions/0010-file-trees.md` says why it is laid so. Memory is bounded for
//! any number of files: what grows with them is in the table, which is a nameless file.

mod appendices;
mod error;
mod fill;
mod identity;
mod keep;
mod lay;
mod ledger;
mod long;
mod names;
mod occupancy;
mod opener;
mod packing;
mod records;
mod stream;
mod survey;
mod trouble;
mod vanished;

pub use error::FileTreeError;
pub use lay::{LaidTree, lay};
pub use stream::LayOut;
pub use survey::{Survey, SurveyRequest, survey};
pub use trouble::{Trouble, TroubleKind};
