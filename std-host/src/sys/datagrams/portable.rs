//! One datagram with a system call: for systems without batches, and where a batch is one datagram.

use super::control::Control;
use super::{for_family, header_for_receiving, header_for_sending, info};
use crate::event_loop::net::{Arena, More, Out};
use socket2::{SockAddr, SockAddrStorage};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

pub(super) fn receive(fd: BorrowedFd<'_>, arena: &mut Arena, max: usize) -> io::Result<More> {
    let Some(payload) = arena.free().take(max).next() else { return Ok(More::Maybe) };
    let (mut name, mut control) = (SockAddrStorage::zeroed(), Control::EMPTY);
    let mut vector = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
    let mut header = header_for_receiving(&mut name, &mut control, &mut vector, payload);
    // SAFETY: the header points to a name, a control buffer, a vector and a free place of the arena, all of the stated
    // lengths and borrowed mutably until after this call. The descriptor is open while it is borrowed.
    let received = unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT) };
    let len = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    arena.fill(info(&mut name, &control, &header), len);
    Ok(More::Maybe)
}

pub(super) fn send(fd: BorrowedFd<'_>, packets: &[Out<'_>], family_v6: bool) -> io::Result<usize> {
    let Some(packet) = packets.first() else { return Ok(0) };
    let target = packet.to.map(|to| SockAddr::from(for_family(to, family_v6)));
    let mut vector = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
    let header = header_for_sending(target.as_ref(), &mut vector, packet.payload);
    // SAFETY: the header points to a payload, a vector and perhaps a target, of the stated lengths and borrowed until
    // after this call, which writes to none of them. The descriptor is open while it is borrowed.
    let sent = unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const header, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
    usize::try_from(sent).map(|_| 1).map_err(|_| io::Error::last_os_error())
}
