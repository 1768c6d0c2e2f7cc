//! UDP sockets of the real system.

use super::{UdpOptions, UdpSetting};
use crate::sys::datagrams;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

pub(super) struct UdpSocket {
    socket: mio::net::UdpSocket,
    /// Where it was bound, with the port that the system chose.
    bound: SocketAddr,
    connected: bool,
}

impl UdpSocket {
    pub(super) fn bind(addr: SocketAddr, options: &UdpOptions) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        if addr.is_ipv6() {
            socket.set_only_v6(options.v6only)?;
        }
        if options.reuse_port {
            socket.set_reuse_port(true)?;
        }
        // All before the first packet can arrive.
        datagrams::announce(socket.as_fd(), addr.is_ipv6());
        hear_own_groups_alone(&socket, addr.is_ipv6());
        #[cfg(target_os = "linux")]
        datagrams::keep_unreached(socket.as_fd(), addr.is_ipv6());
        socket.bind(&addr.into())?;
        let socket = mio::net::UdpSocket::from_std(socket.into());
        let bound = socket.local_addr()?;
        Ok(Self { socket, bound, connected: false })
    }

    pub(super) const fn is_v6(&self) -> bool {
        self.bound.is_ipv6()
    }

    pub(super) fn connect(&mut self, peer: Option<SocketAddr>) -> io::Result<()> {
        if self.connected {
            // Also before another peer: the local address that fits the last one may not fit the next.
            self.disconnect()?;
        }
        if let Some(peer) = peer {
            self.socket.connect(datagrams::for_family(peer, self.is_v6()))?;
            self.connected = true;
        }
        Ok(())
    }

    fn disconnect(&mut self) -> io::Result<()> {
        datagrams::disconnect(self.socket.as_fd())?;
        self.connected = false;
        if self.socket.local_addr()?.port() != self.bound.port() {
            // Linux gives a port back that it has chosen itself.
            SockRef::from(&self.socket).bind(&self.bound.into())?;
        }
        Ok(())
    }

    pub(super) fn set(&self, setting: &UdpSetting) -> io::Result<()> {
        let socket = SockRef::from(&self.socket);
        match *setting {
            UdpSetting::Broadcast(on) => socket.set_broadcast(on),
            UdpSetting::MulticastLoop(on) if self.is_v6() => socket.set_multicast_loop_v6(on),
            UdpSetting::MulticastLoop(on) => socket.set_multicast_loop_v4(on),
            UdpSetting::MulticastTtl(ttl) if self.is_v6() => socket.set_multicast_hops_v6(ttl.into()),
            UdpSetting::MulticastTtl(ttl) => socket.set_multicast_ttl_v4(ttl.into()),
            UdpSetting::Join(ref membership) => datagrams::set_membership(self.fd(), membership, true),
            UdpSetting::Leave(ref membership) => datagrams::set_membership(self.fd(), membership, false),
        }
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(super) fn into_fd(self) -> OwnedFd {
        std::net::UdpSocket::from(self.socket).into()
    }
}

/// Linux delivers packets to every group that anybody on the host has joined, unless told otherwise.
#[cfg(target_os = "linux")]
fn hear_own_groups_alone(socket: &Socket, v6: bool) {
    let v4_done = socket.set_multicast_all_v4(false);
    let done = if v6 { v4_done.and(socket.set_multicast_all_v6(false)) } else { v4_done };
    if let Err(error) = done {
        tracing::debug!(%error, "a socket may hear groups that it has not joined");
    }
}

#[cfg(not(target_os = "linux"))]
const fn hear_own_groups_alone(_: &Socket, _: bool) {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::super::OsNet;
    use crate::event_loop::net::{Net, Out, Ready, UdpOptions};
    use std::net::UdpSocket;
    use std::time::Duration;

    #[test]
    fn a_packet_that_reached_nobody_makes_no_room_for_others() {
        let mut net = OsNet::new(1, None).unwrap();
        let id = net.bind_udp("127.0.0.1:0".parse().unwrap(), &UdpOptions::default()).unwrap();
        net.watch(id, 7, false).unwrap();
        // It hears another peer alone, and keeps others from its address.
        let gone = UdpSocket::bind("127.0.0.1:0").unwrap();
        gone.connect("127.0.0.1:9").unwrap();
        assert_eq!(net.send_packets(id, &[Out::to(gone.local_addr().unwrap(), b"x")]).unwrap(), 1);
        let mut ready = Vec::new();
        net.poll(Some(Duration::from_secs(10)), &mut ready).unwrap();
        assert_eq!(ready, [Ready { token: 7, read: true, write: false, hung_up: true }]);
        assert_eq!(net.next_unreached(id).unwrap().0, gone.local_addr().unwrap());
        assert!(net.next_unreached(id).is_none());
    }
}
