//! XFS, versions 4 and 5, read as the kernel would show it after recovery.

mod log;
