//! Error numbers for which the standard library has no stable name.

use std::io;

/// A connection has been begun and goes on by itself.
pub(crate) fn is_in_progress(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EINPROGRESS)
}

/// There are no descriptors or no memory left: the same call may succeed later.
pub(crate) fn is_exhaustion(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

/// The descriptor can never accept: it is no listening socket, or none at all.
pub(crate) fn is_not_listening(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBADF | libc::EINVAL | libc::ENOTSOCK))
}

/// What reading a descriptor that is no socket says at its end: a terminal whose other side is gone, or a descriptor
/// that is not open for reading and is read because its readers have gone.
pub(crate) fn is_end_of_file(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EIO | libc::EBADF))
}
