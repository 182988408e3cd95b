//! Everything persisted, and the rules over it.

pub mod retention;
