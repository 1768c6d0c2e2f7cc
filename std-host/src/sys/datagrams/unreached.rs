//! Packets that reached nobody: the error queue of a socket (`IP_RECVERR`, `IPV6_RECVERR`).
//!
//! The queue keeps what a router or the destination has answered, with the address that the packet was sent to. Taking
//! the last of them also takes the pending error, which the next call would report otherwise.

use super::control::{Control, note_refusal, word};
use super::{header_for_receiving, sender, set_option};
use socket2::SockAddrStorage;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Asks the system to keep them.
pub(crate) fn keep_unreached(fd: BorrowedFd<'_>, family_v6: bool) {
    // A socket of IPv6 that sends to IPv4 too is told of that by the option of IPv4.
    let v4 = (libc::IPPROTO_IP, libc::IP_RECVERR);
    let v6 = (libc::IPPROTO_IPV6, libc::IPV6_RECVERR);
    for (level, name) in [v4].into_iter().chain(family_v6.then_some(v6)) {
        let on: libc::c_int = 1;
        if let Err(error) = set_option(fd, level, name, &on) {
            note_refusal(level, name, &error);
        }
    }
}

/// The next of them: where it went and why it did not arrive.
pub(crate) fn next_unreached(fd: BorrowedFd<'_>) -> Option<(SocketAddr, io::Error)> {
    loop {
        let (mut name, mut control) = (SockAddrStorage::zeroed(), Control::EMPTY);
        let mut vector = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        // The payload does not matter: who could not be reached by one packet was not by another.
        let mut header = header_for_receiving(&mut name, &mut control, &mut vector, &mut []);
        let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
        // SAFETY: the header points to a name, a control buffer and a vector of no bytes, all of the stated lengths and
        // borrowed mutably until after this call. The descriptor is open while it is borrowed.
        let received = unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut header, flags) };
        if received < 0 {
            return None;
        }
        let mut why = None;
        control.for_each(header.msg_controllen, |level, kind, data| {
            let is_error = matches!(
                (level, kind),
                (libc::IPPROTO_IP, libc::IP_RECVERR) | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
            );
            // sock_extended_err: the error's number, then who says so.
            if let (true, Some(number), Some(&origin)) = (is_error, word(data, 0), data.get(4)) {
                why = Some((number, origin));
            }
        });
        let to = sender(&mut name, header.msg_namelen);
        // What this host itself says of a packet its call has said already.
        if let (Some(to), Some((number, libc::SO_EE_ORIGIN_ICMP | libc::SO_EE_ORIGIN_ICMP6))) = (to, why) {
            let number = i32::try_from(number).unwrap_or(libc::EIO);
            return Some((to, io::Error::from_raw_os_error(number)));
        }
    }
}
