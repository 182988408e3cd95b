//! Changed-block tracking without a kernel module: programs inside the kernel mark which chunks of a disk are written.
//!
//! ```text
//!   Tracker::attach ─► add(disk) ─► begin_epoch ─► the caller's cut ─► Epoch::end ─► Cut { answer, token }
//!                                     R C F                               A            Exact | Unknown(why)
//!   in the kernel:  bpf/tracker.bpf.c, pinned in the BPF file system, marking whether a process lives or not
//! ```
//! The answer is exact, or unknown with a reason; it is never a guess. What the programs cannot see (another machine, the storage
//! behind the disk, memory-mapped storage) is out of reach by nature, so every now and then everything should be compared.

mod attach;
mod bitmap;
mod carry;
mod disk;
mod epoch;
mod epoch_changes;
mod error;
#[cfg(any(test, feature = "testkit"))]
pub mod fault;
mod layout;
mod list;
mod maps;
mod places;
mod planner;
mod programs;
mod record;
mod shared;
mod source;
mod support;
mod thin;
mod token;
mod tracker;
mod verdict;
mod witness;

pub use bitmap::Marks;
pub use epoch::{ChangeAnswer, Cut, Epoch};
pub use epoch_changes::EpochChanges;
pub use error::TrackingError;
pub use layout::{Flags, Regime};
pub use list::{ChangeList, ChangeListError};
pub use planner::{ChangePlan, Objection, PassedOver, PlanPolicy, Told, plan};
pub use source::{Answer, ChangeSource, SourceError};
pub use support::obstacles;
pub use thin::ThinChanges;
pub use token::{ChainToken, TokenError};
pub use tracker::{Added, Settings, Tracked, Tracker};
pub use verdict::Doubt;
