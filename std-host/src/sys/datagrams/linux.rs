//! Batches: up to [`BATCH`] datagrams with one system call.

use super::control::Control;
use super::{empty_header, for_family, header_for_receiving, header_for_sending, info, portable};
use crate::event_loop::net::{Arena, More, Out};
use socket2::{SockAddr, SockAddrStorage};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The most datagrams of one call.
const BATCH: usize = 64;

/// Memory for the headers of a batch. The pointers in it are of use only during the call that wrote them.
pub(super) struct Batch {
    headers: Box<[libc::mmsghdr]>,
    vectors: Box<[libc::iovec]>,
    names: Box<[SockAddrStorage]>,
    controls: Box<[Control]>,
    /// Of packets to be sent. Always of room for a batch.
    targets: Vec<SockAddr>,
}

impl Batch {
    pub(super) fn new() -> Self {
        let vector = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        Self {
            headers: vec![libc::mmsghdr { msg_hdr: empty_header(), msg_len: 0 }; BATCH].into(),
            vectors: vec![vector; BATCH].into(),
            names: std::iter::repeat_with(SockAddrStorage::zeroed).take(BATCH).collect(),
            controls: vec![Control::EMPTY; BATCH].into(),
            targets: Vec::with_capacity(BATCH),
        }
    }

    pub(super) fn receive(&mut self, fd: BorrowedFd<'_>, arena: &mut Arena, max: usize) -> io::Result<More> {
        // Of one datagram a batch costs more than the plain call.
        if max == 1 {
            return portable::receive(fd, arena, max);
        }
        let places = self.headers.iter_mut().zip(&mut self.vectors).zip(&mut self.names).zip(&mut self.controls);
        let mut asked = 0;
        for ((((header, vector), name), control), payload) in places.zip(arena.free()).take(max) {
            header.msg_hdr = header_for_receiving(name, control, vector, payload);
            asked += 1;
        }
        if asked == 0 {
            return Ok(More::Maybe);
        }
        let count = u32::try_from(asked).expect("a batch is short");
        // SAFETY: the first `asked` headers point to a name, a control buffer, a vector and a free place of the arena
        // each, all of the stated lengths, all different, and all borrowed mutably until after this call. No time limit
        // is given. The descriptor is open while it is borrowed.
        let received = unsafe {
            libc::recvmmsg(
                fd.as_raw_fd(),
                self.headers.as_mut_ptr(),
                count,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        for ((header, name), control) in self.headers.iter().zip(&mut self.names).zip(&self.controls).take(received) {
            let len = usize::try_from(header.msg_len).expect("the length of a datagram is small");
            arena.fill(info(name, control, &header.msg_hdr), len);
        }
        Ok(if received < asked { More::No } else { More::Maybe })
    }

    pub(super) fn send(&mut self, fd: BorrowedFd<'_>, packets: &[Out<'_>], family_v6: bool) -> io::Result<usize> {
        if let [_] = packets {
            return taken(portable::send(fd, packets, family_v6));
        }
        let packets = &packets[..packets.len().min(BATCH)];
        let nobody = || SockAddr::from(std::net::SocketAddr::from(([0; 4], 0)));
        self.targets.clear();
        self.targets
            .extend(packets.iter().map(|packet| packet.to.map_or_else(nobody, |to| for_family(to, family_v6).into())));
        let places = self.headers.iter_mut().zip(&mut self.vectors).zip(&self.targets);
        for (((header, vector), target), packet) in places.zip(packets) {
            header.msg_hdr = header_for_sending(packet.to.map(|_| target), vector, packet.payload);
        }
        let count = u32::try_from(packets.len()).expect("a batch is short");
        // SAFETY: the first `count` headers point to a payload, a vector and perhaps a target each, of the stated
        // lengths and borrowed until after this call, which writes to nothing but the headers. The descriptor is open
        // while it is borrowed.
        let sent = unsafe {
            libc::sendmmsg(
                fd.as_raw_fd(),
                self.headers.as_mut_ptr(),
                count,
                (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _,
            )
        };
        taken(usize::try_from(sent).map_err(|_| io::Error::last_os_error()))
    }
}

/// How many packets the system has taken. One that the device has dropped is lost like any other on its way; the system
/// says so only because of `IP_RECVERR`.
fn taken(outcome: io::Result<usize>) -> io::Result<usize> {
    match outcome {
        Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(1),
        outcome => outcome,
    }
}
