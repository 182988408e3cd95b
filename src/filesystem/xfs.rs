//! XFS, versions 4 and 5, read as the kernel would show it after recovery.

#[allow(dead_code, reason = "the reader that uses it is not here yet")]
mod log;
