//! One datagram with a system call, for systems without batches.

use super::control::Control;
use super::{for_family, header_for_receiving, header_for_sending, info};
use crate::event_loop::net::{Arena, More, Out};
use socket2::{SockAddr, SockAddrStorage};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Memory for what the system says of a datagram.
pub(super) struct Single {
    name: SockAddrStorage,
    control: Control,
}

impl Single {
    pub(super) fn new() -> Self {
        Self { name: SockAddrStorage::zeroed(), control: Control::EMPTY }
    }

    pub(super) fn receive(&mut self, fd: BorrowedFd<'_>, arena: &mut Arena, max: usize) -> io::Result<More> {
        let mut vector = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        let Some(payload) = arena.free().take(max).next() else { return Ok(More::Maybe) };
        let mut header = header_for_receiving(&mut self.name, &mut self.control, &mut vector, payload);
        // SAFETY: the header points to a name, a control buffer, a vector and a free place of the arena, all of the
        // stated lengths and borrowed mutably until after this call. The descriptor is open while it is borrowed.
        let received = unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT) };
        let len = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        arena.fill(info(&mut self.name, &self.control, &header), len);
        Ok(More::Maybe)
    }

    #[expect(clippy::unused_self, reason = "the face of a batch, which has memory for this")]
    pub(super) fn send(&mut self, fd: BorrowedFd<'_>, packets: &[Out<'_>], family_v6: bool) -> io::Result<usize> {
        let Some(packet) = packets.first() else { return Ok(0) };
        let target = packet.to.map(|to| SockAddr::from(for_family(to, family_v6)));
        let mut vector = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        let header = header_for_sending(target.as_ref(), &mut vector, packet.payload);
        // SAFETY: the header points to a payload, a vector and perhaps a target, of the stated lengths and borrowed until
        // after this call, which writes to none of them. The descriptor is open while it is borrowed.
        let sent = unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const header, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
        usize::try_from(sent).map(|_| 1).map_err(|_| io::Error::last_os_error())
    }
}
