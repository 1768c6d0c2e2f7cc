//! [`SimNet`]: what a loop sees of the world.

use super::World;
use super::datagrams::UdpKey;
use super::poll::{NetState, What};
use super::world::{EndKey, ListenerKey};
use std::fmt;
use std::io::{self, ErrorKind, IoSlice};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use wharf_core::Instant;
use wharf_host::event_loop::net::{Arena, More, Out, UdpOptions, UdpSetting};
use wharf_host::event_loop::net::{
    ConnectOptions, ListenOptions, Net, NetId, Ready, Resolved, UnixListenOptions, Wake,
};
use wharf_host::event_loop::{Address, AnyStream, Signal};

/// The system of one loop in a [`World`]: for [`Loop::with_net`](wharf_host::event_loop::Loop::with_net).
pub struct SimNet {
    world: World,
    /// Which of the world's loops this is.
    net: usize,
}

impl SimNet {
    pub(super) fn new(world: World) -> Self {
        let mut state = world.state();
        state.nets.push(NetState::new());
        let net = state.nets.len() - 1;
        drop(state);
        Self { world, net }
    }

    fn what(&self, id: NetId) -> Option<What> {
        self.world.state().nets[self.net].slot(id).map(|slot| slot.what)
    }

    fn stream(&self, id: NetId) -> io::Result<EndKey> {
        if let Some(What::Stream(key)) = self.what(id) { Ok(key) } else { Err(self.stray()) }
    }

    fn listener(&self, id: NetId) -> io::Result<ListenerKey> {
        if let Some(What::Listener(key)) = self.what(id) { Ok(key) } else { Err(self.stray()) }
    }

    fn udp(&self, id: NetId) -> io::Result<UdpKey> {
        if let Some(What::Udp(key)) = self.what(id) { Ok(key) } else { Err(self.stray()) }
    }

    fn stray(&self) -> io::Error {
        self.world.state().calls.strays += 1;
        ErrorKind::NotConnected.into()
    }
}

impl Net for SimNet {
    fn now(&mut self) -> Instant {
        self.world.now()
    }

    fn poll(&mut self, wait: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        self.world.state().poll(self.net, wait, ready);
        Ok(())
    }

    fn waker(&self) -> Wake {
        let woken = Arc::clone(&self.world.state().nets[self.net].woken);
        Arc::new(move || woken.store(true, Ordering::Release))
    }

    fn listen(&mut self, addr: SocketAddr, options: &ListenOptions) -> io::Result<NetId> {
        let mut state = self.world.state();
        let key = state.bind(addr, options.backlog, options.reuse_port, Some(self.net))?;
        Ok(state.listener_id(key).expect("the listener was just made for this loop"))
    }

    fn accept(&mut self, listener: NetId) -> io::Result<(NetId, SocketAddr)> {
        let (id, peer) = self.accept_unix(listener)?;
        Ok((id, inet(&peer)))
    }

    fn shed(&mut self, listener: NetId) -> Option<SocketAddr> {
        self.shed_unix(listener).map(|peer| inet(&peer))
    }

    fn connect(&mut self, to: SocketAddr, options: &ConnectOptions) -> io::Result<NetId> {
        self.world.state().connect(self.net, to, options.source)
    }

    fn connected(&mut self, id: NetId) -> io::Result<bool> {
        let key = self.stream(id)?;
        self.world.state().connected(key)
    }

    fn adopt(&mut self, stream: TcpStream) -> io::Result<NetId> {
        self.adopt_any(stream.into())
    }

    fn watch(&mut self, id: NetId, token: u64, write: bool) -> io::Result<()> {
        if self.world.state().watch(self.net, id, token, write) { Ok(()) } else { Err(self.stray()) }
    }

    fn read(&mut self, id: NetId, buf: &mut [u8]) -> io::Result<usize> {
        let key = self.stream(id)?;
        let mut state = self.world.state();
        state.calls.reads += 1;
        state.read(key, buf)
    }

    fn write(&mut self, id: NetId, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let key = self.stream(id)?;
        let mut state = self.world.state();
        state.calls.writes += 1;
        match state.write_failure {
            Some(why) => Err(why.into()),
            None => state.write(key, pieces),
        }
    }

    fn end_output(&mut self, id: NetId) -> io::Result<()> {
        let key = self.stream(id)?;
        self.world.state().end_output(key)
    }

    fn bind_udp(&mut self, addr: SocketAddr, options: &UdpOptions) -> io::Result<NetId> {
        self.world.state().open_udp(self.net, addr, options)
    }

    fn connect_udp(&mut self, id: NetId, peer: Option<SocketAddr>) -> io::Result<()> {
        let key = self.udp(id)?;
        self.world.state().connect_udp(key, peer)
    }

    fn set_udp(&mut self, id: NetId, setting: &UdpSetting) -> io::Result<()> {
        let key = self.udp(id)?;
        self.world.state().set_udp(key, setting)
    }

    fn receive_packets(&mut self, id: NetId, arena: &mut Arena, max: usize) -> io::Result<More> {
        let key = self.udp(id)?;
        self.world.state().receive_packets(key, arena, max)
    }

    fn send_packets(&mut self, id: NetId, packets: &[Out<'_>]) -> io::Result<usize> {
        let key = self.udp(id)?;
        self.world.state().send_packets(key, packets)
    }

    fn next_unreached(&mut self, id: NetId) -> Option<(SocketAddr, io::Error)> {
        let key = self.udp(id).ok()?;
        self.world.state().next_unreached(key).map(|(to, why)| (to, why.into()))
    }

    fn close(&mut self, id: NetId, reset: bool) {
        let slot = self.world.state().nets[self.net].remove(id);
        match slot.map(|slot| slot.what) {
            Some(What::Stream(key)) => self.world.state().close_socket(key, reset),
            Some(What::Listener(key)) => self.world.state().close_listener(key),
            Some(What::Udp(key)) => self.world.state().close_udp(key),
            None => drop(self.stray()),
        }
    }

    fn local_addr(&self, id: NetId) -> io::Result<SocketAddr> {
        self.local(id)?.inet().ok_or_else(|| ErrorKind::Unsupported.into())
    }

    /// None: to set an option of a ticket would be of no use, and that of a TCP socket is refused by what it is.
    fn fd(&self, _: NetId) -> Option<BorrowedFd<'_>> {
        None
    }

    fn take(&mut self, id: NetId) -> Option<OwnedFd> {
        let key = self.stream(id).ok()?;
        let ticket = self.world.state().issue(key).ok()?;
        self.world.state().nets[self.net].remove(id);
        Some(ticket)
    }

    fn watch_signal(&mut self, signal: Signal) -> io::Result<()> {
        self.world.state().nets[self.net].watch_signal(signal);
        Ok(())
    }

    fn next_signal(&mut self) -> Option<Signal> {
        self.world.state().nets[self.net].arrived_signals.pop()
    }

    fn listen_unix(&mut self, at: &Address, options: &UnixListenOptions) -> io::Result<NetId> {
        let mut state = self.world.state();
        let key = state.bind_unix(at, options.backlog, Some(self.net))?;
        Ok(state.listener_id(key).expect("the listener was just made for this loop"))
    }

    fn accept_unix(&mut self, listener: NetId) -> io::Result<(NetId, Address)> {
        let key = self.listener(listener)?;
        self.world.state().accept(self.net, key)
    }

    fn shed_unix(&mut self, listener: NetId) -> Option<Address> {
        let key = self.listener(listener).ok()?;
        self.world.state().shed(key)
    }

    fn connect_unix(&mut self, to: &Address) -> io::Result<NetId> {
        self.world.state().connect_unix(self.net, to)
    }

    fn adopt_any(&mut self, stream: AnyStream) -> io::Result<NetId> {
        self.world.state().adopt(self.net, stream.into())
    }

    fn local(&self, id: NetId) -> io::Result<Address> {
        match self.what(id) {
            Some(What::Stream(key)) => Ok(self.world.state().ends[&key].local.clone()),
            Some(What::Listener(key)) => Ok(self.world.state().listeners[&key].addr.clone()),
            Some(What::Udp(key)) => Ok(Address::Inet(self.world.state().udp(key).local())),
            None => Err(self.stray()),
        }
    }

    fn peer(&self, id: NetId) -> io::Result<Address> {
        let key = self.stream(id)?;
        Ok(self.world.state().ends[&key].peer())
    }

    // An answer that was forgotten comes nevertheless: the default of `forget` does nothing.
    fn resolve(&mut self, query: u64, host: &str, port: u16) -> io::Result<()> {
        self.world.state().resolve(self.net, query, host, port);
        Ok(())
    }

    fn next_resolved(&mut self) -> Option<Resolved> {
        self.world.state().nets[self.net].next_answer()
    }
}

/// A process that ends closes what it has open.
impl Drop for SimNet {
    fn drop(&mut self) {
        let ids = self.world.state().nets[self.net].ids();
        for id in ids {
            self.close(id, false);
        }
        self.world.state().nets[self.net].leave();
    }
}

impl fmt::Debug for SimNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimNet").field("net", &self.net).finish_non_exhaustive()
    }
}

/// Where something TCP is.
fn inet(addr: &Address) -> SocketAddr {
    addr.inet().unwrap_or_else(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))
}
