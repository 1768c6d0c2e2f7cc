//! A UDP socket that a test moves by hand.

use super::World;
use super::datagrams::UdpKey;
use std::io;
use std::net::SocketAddr;
use wharf_host::event_loop::net::{Ecn, Out, PacketInfo, UdpSetting};

/// A UDP socket that a test holds: its calls meet no faults, its packets do. Dropping it closes it.
#[derive(Debug)]
pub struct UdpPeer {
    world: World,
    key: UdpKey,
}

impl UdpPeer {
    pub(super) const fn new(world: World, key: UdpKey) -> Self {
        Self { world, key }
    }

    /// The address that it is bound to.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.world.state().udp(self.key).local()
    }

    /// Sends one packet.
    ///
    /// # Panics
    /// If there is no such way: the wrong family, or a broadcast that is not allowed.
    pub fn send(&self, to: SocketAddr, payload: &[u8]) {
        let mut state = self.world.state();
        // What became of the one before does not matter here.
        state.udp(self.key).forget_error();
        assert_eq!(state.send_packets(self.key, &[Out::to(to, payload)]).expect("the packet leaves"), 1);
    }

    /// Marks the packets sent from now on.
    pub fn mark(&self, ecn: Ecn) {
        self.world.state().udp(self.key).ecn = ecn;
    }

    /// Takes all that has arrived: whose it was, and what.
    #[must_use]
    pub fn receive(&self) -> Vec<(SocketAddr, Vec<u8>)> {
        self.receive_whole().into_iter().map(|(info, payload)| (info.peer, payload)).collect()
    }

    /// Takes all that has arrived, with all that is known of it.
    #[must_use]
    pub fn receive_whole(&self) -> Vec<(PacketInfo, Vec<u8>)> {
        self.world.state().take_arrived(self.key)
    }

    /// The next of its packets that reached nobody: where it went.
    #[must_use]
    pub fn next_unreached(&self) -> Option<SocketAddr> {
        self.world.state().next_unreached(self.key).map(|(to, _)| to)
    }

    /// Exchanges packets with `peer` alone, or with everybody.
    ///
    /// # Errors
    /// As for a socket of a loop.
    pub fn connect(&self, peer: Option<SocketAddr>) -> io::Result<()> {
        self.world.state().connect_udp(self.key, peer)
    }

    /// Changes the socket.
    ///
    /// # Errors
    /// As for a socket of a loop.
    pub fn set(&self, setting: &UdpSetting) -> io::Result<()> {
        self.world.state().set_udp(self.key, setting)
    }
}

impl Drop for UdpPeer {
    fn drop(&mut self) {
        self.world.state().close_udp(self.key);
    }
}
