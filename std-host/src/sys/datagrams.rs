//! Datagrams: many with one system call where the system can, each with what the system knows of it.
//!
//! | file | holds |
//! | --- | --- |
//! | `linux` | batches, by `recvmmsg` and `sendmmsg` |
//! | `portable` | one datagram a call, by `recvmsg` and `sendmsg`: without batches, and for batches of one |
//! | `control` | control messages: which are asked for and what they say |
//! | `unreached` | packets that reached nobody, where the system keeps them: on Linux |
//!
//! A call sets up its headers from slices that it borrows, and nothing outlives the call but memory for the next
//! headers: [`Datagrams`] owns that, and so no datagram costs an allocation.

#![expect(unsafe_code, reason = "the standard library has neither control messages nor batches")]

mod control;
#[cfg(target_os = "linux")]
mod linux;
mod portable;
#[cfg(target_os = "linux")]
mod unreached;

pub(crate) use control::announce;
#[cfg(target_os = "linux")]
pub(crate) use unreached::{keep_unreached, next_unreached};

use crate::event_loop::net::{Arena, Membership, More, Out, PacketInfo};
use control::Control;
use socket2::{InterfaceIndexOrAddress, SockAddr, SockAddrStorage, SockRef};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Memory for the headers of one call.
pub(crate) struct Datagrams {
    way: Way,
}

/// How the system is asked.
enum Way {
    #[cfg(target_os = "linux")]
    Batches(linux::Batch),
    #[cfg(any(test, not(target_os = "linux")))]
    Singly,
}

impl Datagrams {
    /// The best way that the system has.
    pub(crate) fn new() -> Self {
        #[cfg(target_os = "linux")]
        let way = Way::Batches(linux::Batch::new());
        #[cfg(not(target_os = "linux"))]
        let way = Way::Singly;
        Self { way }
    }

    /// Receives at most `max` datagrams into the free places of `arena`, without waiting.
    ///
    /// An error means that nothing was received; then the next call may succeed.
    pub(crate) fn receive(&mut self, fd: BorrowedFd<'_>, arena: &mut Arena, max: usize) -> io::Result<More> {
        match &mut self.way {
            #[cfg(target_os = "linux")]
            Way::Batches(batch) => batch.receive(fd, arena, max),
            #[cfg(any(test, not(target_os = "linux")))]
            Way::Singly => portable::receive(fd, arena, max),
        }
    }

    /// Sends the first of `packets`, without waiting. `family_v6` says that the socket is one of IPv6, which reaches
    /// IPv4 by mapped addresses. An error belongs to the first packet, or to one that was sent before.
    pub(crate) fn send(&mut self, fd: BorrowedFd<'_>, packets: &[Out<'_>], family_v6: bool) -> io::Result<usize> {
        match &mut self.way {
            #[cfg(target_os = "linux")]
            Way::Batches(batch) => batch.send(fd, packets, family_v6),
            #[cfg(any(test, not(target_os = "linux")))]
            Way::Singly => portable::send(fd, packets, family_v6),
        }
    }
}

/// The address by which a socket of IPv6 reaches `addr`; unchanged for a socket of IPv4.
pub(crate) fn for_family(addr: SocketAddr, family_v6: bool) -> SocketAddr {
    match addr {
        SocketAddr::V4(v4) if family_v6 => (v4.ip().to_ipv6_mapped(), v4.port()).into(),
        SocketAddr::V4(_) | SocketAddr::V6(_) => addr,
    }
}

/// The address that a mapped one stands for.
pub(crate) fn unmapped(addr: SocketAddr) -> SocketAddr {
    match addr.ip().to_canonical() {
        IpAddr::V4(v4) => SocketAddr::from((v4, addr.port())),
        IpAddr::V6(_) => addr,
    }
}

/// Takes the peer of a connected socket away.
pub(crate) fn disconnect(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: all fields of a `sockaddr` are integers, for which zeros are values.
    let mut nobody: libc::sockaddr = unsafe { std::mem::zeroed() };
    nobody.sa_family = libc::sa_family_t::try_from(libc::AF_UNSPEC).expect("AF_UNSPEC is 0");
    let len = libc::socklen_t::try_from(size_of::<libc::sockaddr>()).expect("an address is short");
    // SAFETY: the descriptor is open while it is borrowed, and `nobody` is an address of `len` bytes.
    let outcome = unsafe { libc::connect(fd.as_raw_fd(), &raw const nobody, len) };
    if outcome == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    // The BSDs dissolve the association and then complain of the address family.
    let done = cfg!(not(target_os = "linux")) && error.raw_os_error() == Some(libc::EAFNOSUPPORT);
    if done { Ok(()) } else { Err(error) }
}

/// Enters a group or leaves it.
pub(crate) fn set_membership(fd: BorrowedFd<'_>, member: &Membership, join: bool) -> io::Result<()> {
    let (socket, interface) = (SockRef::from(&fd), member.interface.unwrap_or(0));
    let index = InterfaceIndexOrAddress::Index(interface);
    match (member.group, member.source, join) {
        (IpAddr::V4(group), None, true) => socket.join_multicast_v4_n(&group, &index),
        (IpAddr::V4(group), None, false) => socket.leave_multicast_v4_n(&group, &index),
        (IpAddr::V6(group), None, true) => socket.join_multicast_v6(&group, interface),
        (IpAddr::V6(group), None, false) => socket.leave_multicast_v6(&group, interface),
        (group, Some(source), _) if group.is_ipv4() == source.is_ipv4() => {
            set_source_membership(fd, group, interface, source, join)
        }
        (_, Some(_), _) => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// RFC 3678, section 5.1.2: by interface index and alike for both families.
fn set_source_membership(
    fd: BorrowedFd<'_>,
    group: IpAddr,
    interface: u32,
    source: IpAddr,
    join: bool,
) -> io::Result<()> {
    let level = if group.is_ipv4() { libc::IPPROTO_IP } else { libc::IPPROTO_IPV6 };
    let name = if join { libc::MCAST_JOIN_SOURCE_GROUP } else { libc::MCAST_LEAVE_SOURCE_GROUP };
    let storage = |ip: IpAddr| {
        let addr = SockAddr::from(SocketAddr::new(ip, 0));
        // SAFETY: a `SockAddr` holds a whole `sockaddr_storage`, which is plain data.
        unsafe { addr.as_ptr().cast::<libc::sockaddr_storage>().read() }
    };
    let request =
        libc::group_source_req { gsr_interface: interface, gsr_group: storage(group), gsr_source: storage(source) };
    set_option(fd, level, name, &request)
}

/// Sets an option whose value is the plain data `value`.
fn set_option<V: Copy>(fd: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int, value: &V) -> io::Result<()> {
    let len = libc::socklen_t::try_from(size_of::<V>()).expect("the value of an option is short");
    // SAFETY: the descriptor is open while it is borrowed, and the system reads `len` bytes of `value`, which has as
    // many.
    let outcome = unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const *value).cast(), len) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A header of zeros: no address, no payload, no control messages.
fn empty_header() -> libc::msghdr {
    // SAFETY: a `msghdr` consists of integers and raw pointers, for which zeros are values.
    unsafe { std::mem::zeroed() }
}

/// A header that has the system write a datagram to `payload`, its sender to `name` and what it knows to `control`. It
/// holds pointers to all four.
fn header_for_receiving(
    name: &mut SockAddrStorage,
    control: &mut Control,
    vector: &mut libc::iovec,
    payload: &mut [u8],
) -> libc::msghdr {
    *vector = libc::iovec { iov_base: payload.as_mut_ptr().cast(), iov_len: payload.len() };
    let mut header = empty_header();
    (header.msg_namelen, header.msg_name) = (name.size_of(), (&raw mut *name).cast());
    (header.msg_iov, header.msg_iovlen) = (&raw mut *vector, 1);
    (header.msg_control, header.msg_controllen) = control.as_buffer();
    header
}

/// A header that has the system send `payload` to `name`. It holds pointers to all three, none of which is written to.
fn header_for_sending(name: Option<&SockAddr>, vector: &mut libc::iovec, payload: &[u8]) -> libc::msghdr {
    *vector = libc::iovec { iov_base: payload.as_ptr().cast_mut().cast(), iov_len: payload.len() };
    let mut header = empty_header();
    if let Some(name) = name {
        (header.msg_name, header.msg_namelen) = (name.as_ptr().cast_mut().cast(), name.len());
    }
    (header.msg_iov, header.msg_iovlen) = (&raw mut *vector, 1);
    header
}

/// What the system wrote beside a payload.
fn info(name: &mut SockAddrStorage, control: &Control, header: &libc::msghdr) -> PacketInfo {
    let peer = sender(name, header.msg_namelen);
    let said = control.read(header.msg_controllen);
    PacketInfo {
        peer: peer.unwrap_or_else(|| SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))),
        local: said.local.map(|ip| ip.to_canonical()),
        interface: said.interface,
        ecn: said.ecn,
        truncated: header.msg_flags & libc::MSG_TRUNC != 0,
        dropped: said.dropped,
    }
}

/// The address of `len` bytes that the system wrote to `name`, which is zeroed again.
fn sender(name: &mut SockAddrStorage, len: libc::socklen_t) -> Option<SocketAddr> {
    let name = std::mem::replace(name, SockAddrStorage::zeroed());
    let len = len.min(name.size_of());
    // SAFETY: the name was zeroed before the system wrote an address of `len` bytes to it, so that all of it is
    // initialised.
    let name = unsafe { SockAddr::new(name, len) };
    name.as_socket().map(unmapped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_loop::net::Ecn;
    use std::net::{Ipv4Addr, UdpSocket};
    use std::os::fd::AsFd;

    const V4: &str = "127.0.0.1:0";
    const V6: &str = "[::1]:0";

    /// Both ways of asking the system.
    fn ways() -> Vec<Datagrams> {
        vec![Datagrams::new(), Datagrams { way: Way::Singly }]
    }

    /// A socket that tells all that it can.
    fn bound(addr: &str) -> (UdpSocket, SocketAddr) {
        let socket = UdpSocket::bind(addr).unwrap();
        let local = socket.local_addr().unwrap();
        announce(socket.as_fd(), local.is_ipv6());
        (socket, local)
    }

    fn send_all(way: &mut Datagrams, from: &UdpSocket, packets: &[Out<'_>]) {
        let (mut sent, v6) = (0, from.local_addr().unwrap().is_ipv6());
        while sent < packets.len() {
            sent += way.send(from.as_fd(), &packets[sent..], v6).unwrap();
        }
    }

    /// Receives so many, which have arrived: loopback delivers within the call that sends.
    fn receive_all(way: &mut Datagrams, socket: &UdpSocket, arena: &mut Arena, count: usize) {
        arena.clear();
        while arena.len() < count {
            way.receive(socket.as_fd(), arena, count - arena.len()).unwrap();
        }
    }

    #[test]
    fn datagrams_of_both_families_keep_bytes_peer_and_order() {
        for mut way in ways() {
            for addr in [V4, V6] {
                let ((to, to_addr), (from, from_addr)) = (bound(addr), bound(addr));
                let payloads = [&b"first"[..], b"", b"third", &[7; 100]];
                send_all(&mut way, &from, &payloads.map(|payload| Out::to(to_addr, payload)));
                let mut arena = Arena::new(8, 100);
                receive_all(&mut way, &to, &mut arena, 4);
                for (index, sent) in payloads.iter().enumerate() {
                    let (info, payload) = arena.packet(index).unwrap();
                    assert_eq!((info.peer, payload, info.truncated), (from_addr, *sent, false));
                }
            }
        }
    }

    #[test]
    fn a_datagram_tells_where_it_came_in() {
        for mut way in ways() {
            for (addr, any) in [(V4, "0.0.0.0:0"), (V6, "[::]:0")] {
                let ((to, to_addr), (from, from_addr)) = (bound(any), bound(addr));
                let target = SocketAddr::new(from_addr.ip(), to_addr.port());
                send_all(&mut way, &from, &[Out::to(target, b"x")]);
                let mut arena = Arena::new(1, 8);
                receive_all(&mut way, &to, &mut arena, 1);
                let (info, _) = arena.packet(0).unwrap();
                assert_eq!((info.local, info.ecn), (Some(target.ip()), Some(Ecn::NotCapable)), "{addr}");
                assert!(info.interface.is_some_and(|index| index > 0));
            }
        }
    }

    #[test]
    fn a_datagram_tells_of_congestion() {
        for mut way in ways() {
            let ((to, to_addr), (from, _)) = (bound(V4), bound(V4));
            SockRef::from(&from).set_tos_v4(0b11).unwrap();
            send_all(&mut way, &from, &[Out::to(to_addr, b"x")]);
            let ((to_v6, to_v6_addr), (from_v6, _)) = (bound(V6), bound(V6));
            set_option(from_v6.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &0b10_i32).unwrap();
            send_all(&mut way, &from_v6, &[Out::to(to_v6_addr, b"x")]);
            let mut arena = Arena::new(1, 8);
            for (socket, ecn) in [(to, Ecn::CongestionExperienced), (to_v6, Ecn::Capable0)] {
                receive_all(&mut way, &socket, &mut arena, 1);
                assert_eq!(arena.packet(0).unwrap().0.ecn, Some(ecn));
            }
        }
    }

    #[test]
    fn one_socket_serves_both_families_and_shows_ipv4_as_ipv4() {
        for mut way in ways() {
            let ((both, both_addr), (v4, v4_addr)) = (bound("[::]:0"), bound(V4));
            let target = SocketAddr::from((Ipv4Addr::LOCALHOST, both_addr.port()));
            send_all(&mut way, &v4, &[Out::to(target, b"there")]);
            send_all(&mut way, &both, &[Out::to(v4_addr, b"back")]);
            let mut arena = Arena::new(1, 8);
            receive_all(&mut way, &both, &mut arena, 1);
            let (info, payload) = arena.packet(0).unwrap();
            assert_eq!((info.peer, info.local, payload), (v4_addr, Some(target.ip()), &b"there"[..]));
            assert_eq!(info.ecn, Some(Ecn::NotCapable));
            receive_all(&mut way, &v4, &mut arena, 1);
            assert_eq!(arena.packet(0).unwrap().0.peer, target);
        }
    }

    #[test]
    fn a_long_datagram_is_cut_and_says_so_and_touches_no_other_place() {
        for mut way in ways() {
            let ((to, to_addr), (from, _)) = (bound(V4), bound(V4));
            let payloads = [&b"1234"[..], b"12345", b"12"];
            send_all(&mut way, &from, &payloads.map(|payload| Out::to(to_addr, payload)));
            let mut arena = Arena::new(3, 4);
            receive_all(&mut way, &to, &mut arena, 3);
            let seen = [0, 1, 2].map(|index| arena.packet(index).map(|(info, bytes)| (info.truncated, bytes)).unwrap());
            assert_eq!(seen, [(false, &b"1234"[..]), (true, b"1234"), (false, b"12")]);
        }
    }

    #[test]
    fn no_more_is_taken_than_asked_for_and_than_there_is_room() {
        for mut way in ways() {
            let ((to, to_addr), (from, _)) = (bound(V4), bound(V4));
            send_all(&mut way, &from, &[Out::to(to_addr, b"x"); 100]);
            let mut arena = Arena::new(70, 4);
            way.receive(to.as_fd(), &mut arena, 0).unwrap();
            assert!(arena.is_empty());
            assert_eq!(way.receive(to.as_fd(), &mut arena, 1).unwrap(), More::Maybe);
            assert_eq!(arena.len(), 1);
            while arena.room() > 0 {
                assert_eq!(way.receive(to.as_fd(), &mut arena, usize::MAX).unwrap(), More::Maybe);
            }
            way.receive(to.as_fd(), &mut arena, usize::MAX).unwrap();
            assert_eq!(arena.len(), 70);
            receive_all(&mut way, &to, &mut arena, 30);
            arena.clear();
            let none = way.receive(to.as_fd(), &mut arena, 1).unwrap_err();
            assert_eq!(none.kind(), io::ErrorKind::WouldBlock);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_batch_is_one_call_and_a_short_one_says_that_there_is_no_more() {
        let mut way = Datagrams::new();
        let ((to, to_addr), (from, _)) = (bound(V4), bound(V4));
        assert_eq!(way.send(from.as_fd(), &[Out::to(to_addr, b"x"); 40], false).unwrap(), 40);
        let mut arena = Arena::new(32, 4);
        assert_eq!(way.receive(to.as_fd(), &mut arena, 32).unwrap(), More::Maybe);
        assert_eq!(arena.len(), 32);
        arena.clear();
        assert_eq!(way.receive(to.as_fd(), &mut arena, 32).unwrap(), More::No);
        assert_eq!(arena.len(), 8);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn drops_for_want_of_room_are_counted() {
        for mut way in ways() {
            let ((to, to_addr), (from, _)) = (bound(V4), bound(V4));
            SockRef::from(&to).set_recv_buffer_size(1).unwrap();
            send_all(&mut way, &from, &[Out::to(to_addr, &[0; 1000]); 60]);
            let mut arena = Arena::new(60, 1000);
            while way.receive(to.as_fd(), &mut arena, 60).is_ok() {}
            let kept = u32::try_from(arena.len()).unwrap();
            assert!(kept < 60);
            // The counter travels with a packet that is queued after the drops.
            send_all(&mut way, &from, &[Out::to(to_addr, b"x")]);
            receive_all(&mut way, &to, &mut arena, 1);
            assert_eq!(arena.packet(0).unwrap().0.dropped, Some(60 - kept));
        }
    }

    #[test]
    fn an_error_belongs_to_the_first_packet() {
        for mut way in ways() {
            let ((to, to_addr), (from, _)) = (bound(V4), bound(V4));
            let good = Out::to(to_addr, b"x");
            let huge = vec![0; 70_000];
            let bad = Out::to(to_addr, &huge);
            let refused = way.send(from.as_fd(), &[bad, good], false).unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(libc::EMSGSIZE));
            assert_eq!(way.send(from.as_fd(), &[good, bad], false).unwrap(), 1);
            let mut arena = Arena::new(2, 4);
            receive_all(&mut way, &to, &mut arena, 1);
            assert!(way.receive(to.as_fd(), &mut arena, 1).is_err());
        }
    }

    #[test]
    fn a_disconnected_socket_hears_everybody() {
        for mut way in ways() {
            let ((socket, addr), (peer, peer_addr), (other, _)) = (bound("127.0.0.1:0"), bound(V4), bound(V4));
            socket.connect(peer_addr).unwrap();
            assert_eq!(way.send(socket.as_fd(), &[Out::connected(b"x")], false).unwrap(), 1);
            assert!(peer.recv(&mut [0]).is_ok());
            send_all(&mut way, &other, &[Out::to(addr, b"x")]);
            let mut arena = Arena::new(1, 4);
            assert!(way.receive(socket.as_fd(), &mut arena, 1).is_err());
            disconnect(socket.as_fd()).unwrap();
            assert!(socket.peer_addr().is_err());
            let nobody = way.send(socket.as_fd(), &[Out::connected(b"x")], false).unwrap_err();
            assert_eq!(nobody.raw_os_error(), Some(libc::EDESTADDRREQ));
        }
    }
}
