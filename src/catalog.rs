//! The file catalog: which files a recovery point holds, kept beside its volume, and searched through a local index.
//!
//! ```text
//!   filesystem ──build──► pages of a second tree in the repository, sharing what did not change
//!                              │ only pages that differ are read
//!                              ▼
//!                         local index (SQLite): find, history
//! ```
//! The pages are the truth and are read as hostile bytes. The index is a copy that may be thrown away at any time. Whatever a
//! catalog could not see is counted in it, so that nobody takes "not in the catalog" for "not in the volume".

mod build;
mod content;
mod error;
mod header;
pub mod index;
mod layout;
mod lists;
mod read;
mod record;
mod sorter;
#[cfg(test)]
mod tests;
mod varint;

pub use build::{Basis, Built, Earlier, PutPage, build, prepare};
pub use content::{Content, Place};
pub use error::CatalogError;
pub use header::{Header, filesystem_of};
pub use layout::CATALOG_PAGES;
pub use read::{Link, PageContent, PageSource, holds_links, page_of_inode, read_contents, read_header};
pub use record::Record;
