//! Why a catalog could not be made, read or searched.

use std::io;
use std::path::Path;

use thiserror::Error;

use crate::base::bytes::Truncated;
use crate::filesystem::FilesystemError;
use crate::repository::RepositoryError;

/// A failure of the catalog. The volume that it describes is not touched by it.
#[derive(Debug, Error)]
pub enum CatalogError {
    /// The repository failed.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// The filesystem cannot be read at all.
    #[error(transparent)]
    Filesystem(#[from] FilesystemError),
    /// A page is not what it should be.
    #[error("catalog page {number} is damaged: {what}")]
    Page {
        /// Which page.
        number: u64,
        /// How.
        what: String,
    },
    /// Names are sorted on disk, and that failed.
    #[error("names cannot be sorted in a temporary file")]
    Scratch(#[from] io::Error),
    /// The local index failed. It can be thrown away at any time.
    #[error("the local index of files cannot be used; removing {path} makes it anew")]
    Index {
        /// Where it lies.
        path: String,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// What changed does not explain what is found: the catalog has to be made anew.
    #[error("inode {inode} is not where the earlier catalog and the changes since then say")]
    Inconsistent {
        /// Which inode betrayed it.
        inode: u64,
    },
}

impl CatalogError {
    pub(super) fn page(number: u64, what: impl Into<String>) -> Self {
        Self::Page { number, what: what.into() }
    }

    pub(super) fn index(path: &Path) -> impl Fn(rusqlite::Error) -> Self + use<> {
        let path = path.display().to_string();
        move |source| Self::Index { path: path.clone(), source }
    }

    /// A page that ends too early.
    pub(super) fn cut(number: u64) -> impl Fn(Truncated) -> Self {
        move |error| Self::page(number, error.to_string())
    }
}
