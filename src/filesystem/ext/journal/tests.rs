//! Tests of journal replay: a journal writer and a plain model, hostile bytes, and real journals with e2fsck as second opinion.

mod cases;
mod fast;
mod image;
mod logbook;
mod random;
mod real;
mod real_fast;
mod written;
