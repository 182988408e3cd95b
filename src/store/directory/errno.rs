//! What an error of the operating system means to a caller of the store.

use nix::errno::Errno;
use std::io;

use crate::store::StoreErrorKind;

/// The kind of failure that `error` is.
pub(super) fn kind_of(error: &io::Error) -> StoreErrorKind {
    let Some(number) = error.raw_os_error() else {
        return if error.kind() == io::ErrorKind::NotFound { StoreErrorKind::NotFound } else { StoreErrorKind::Permanent };
    };
    match Errno::from_raw(number) {
        // A name below a file cannot exist, so ENOTDIR is a missing object, not a broken store.
        Errno::ENOENT | Errno::ENOTDIR => StoreErrorKind::NotFound,
        Errno::ENOSPC | Errno::EDQUOT => StoreErrorKind::Full,
        Errno::EACCES | Errno::EPERM | Errno::EROFS => StoreErrorKind::Denied,
        // The local machine is short of something, or a network file system lost its server for a while.
        Errno::EAGAIN | Errno::EINTR | Errno::EBUSY | Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE => StoreErrorKind::Temporary,
        Errno::ETIMEDOUT | Errno::ESTALE | Errno::EHOSTDOWN | Errno::EHOSTUNREACH => StoreErrorKind::Temporary,
        Errno::ENETDOWN | Errno::ENETUNREACH | Errno::ECONNRESET | Errno::ECONNREFUSED => StoreErrorKind::Temporary,
        _ => StoreErrorKind::Permanent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_has_its_kind() {
        let check = |number: Errno, expected| assert_eq!(kind_of(&number.into()), expected, "{number}");
        check(Errno::ENOENT, StoreErrorKind::NotFound);
        check(Errno::ENOSPC, StoreErrorKind::Full);
        check(Errno::EDQUOT, StoreErrorKind::Full);
        check(Errno::EROFS, StoreErrorKind::Denied);
        check(Errno::EACCES, StoreErrorKind::Denied);
        check(Errno::ESTALE, StoreErrorKind::Temporary);
        check(Errno::EMFILE, StoreErrorKind::Temporary);
        check(Errno::EIO, StoreErrorKind::Permanent);
        check(Errno::ELOOP, StoreErrorKind::Permanent);
    }
}
