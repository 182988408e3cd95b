//! Proofs of the catalog over a filesystem that is only a toy, but whose bytes lie on a disk and whose journal is replayed.

mod build;
mod pages;
