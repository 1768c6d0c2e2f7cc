//! How connections come about: listeners with their backlogs, accepting and connecting.

use super::poll::{Edge, What};
use super::stream::Link;
use super::world::{EndKey, Flight, ListenerKey, Route, State};
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use wharf_host::event_loop::Address;
use wharf_host::event_loop::net::{NetId, Resolved};

/// EMFILE, which has this number on every system that Wharf runs on. The loop knows it by its number alone.
pub(super) const NO_DESCRIPTORS: i32 = 24;
/// A client whose connection found the backlog full tries again after this time.
const RETRY: Duration = Duration::from_secs(1);

/// A listening socket and the connections that wait to be accepted.
#[derive(Debug)]
pub(super) struct Backlog {
    pub(super) addr: Address,
    owner: Option<(usize, NetId)>,
    shared: bool,
    most: usize,
    waiting: VecDeque<EndKey>,
    /// Until the release nobody seems to wait.
    held: bool,
}

impl Backlog {
    pub(super) fn is_ready(&self) -> bool {
        !self.held && !self.waiting.is_empty()
    }

    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < self.most
    }

    fn answers(&self, to: SocketAddr) -> bool {
        let own = self.addr.inet();
        own.is_some_and(|own| own.port() == to.port() && (own.ip() == to.ip() || own.ip().is_unspecified()))
    }
}

impl State {
    pub(super) fn bind(
        &mut self,
        mut addr: SocketAddr,
        most: u32,
        shared: bool,
        net: Option<usize>,
    ) -> io::Result<ListenerKey> {
        if addr.port() == 0 {
            addr.set_port(self.fresh_port());
        }
        let addr = Address::Inet(addr);
        if self.listeners.values().any(|other| other.addr == addr && !(shared && other.shared)) {
            return Err(ErrorKind::AddrInUse.into());
        }
        Ok(self.add_listener(addr, most, shared, net))
    }

    pub(super) fn add_listener(&mut self, addr: Address, most: u32, shared: bool, net: Option<usize>) -> ListenerKey {
        let key = ListenerKey(self.fresh());
        let owner = net.map(|net| (net, self.nets[net].insert(What::Listener(key))));
        let most = usize::try_from(most).unwrap_or(usize::MAX).max(1);
        self.listeners.insert(key, Backlog { addr, owner, shared, most, waiting: VecDeque::new(), held: false });
        key
    }

    /// The socket of a loop's listener.
    pub(super) fn listener_id(&self, key: ListenerKey) -> Option<NetId> {
        self.listeners[&key].owner.map(|(_, id)| id)
    }

    /// Those who wait are turned away.
    pub(super) fn close_listener(&mut self, key: ListenerKey) {
        let Some(backlog) = self.listeners.remove(&key) else { return };
        if backlog.owner.is_some() {
            self.remove_path_of(key, &backlog.addr);
        }
        for end in backlog.waiting {
            self.close_end(end, true);
        }
    }

    pub(super) fn accept(&mut self, net: usize, key: ListenerKey) -> io::Result<(NetId, Address)> {
        self.calls.accepts += 1;
        if self.strikes(self.faults.interrupted) {
            return Err(ErrorKind::Interrupted.into());
        }
        if !self.listeners[&key].is_ready() {
            return Err(ErrorKind::WouldBlock.into());
        }
        if self.strikes(self.faults.would_block) {
            self.hold_listener(key);
            return Err(ErrorKind::WouldBlock.into());
        }
        self.take_descriptor()?;
        let end = self.next_waiting(key).expect("somebody waits at a listener that is ready");
        let id = self.adopt_end(net, end);
        Ok((id, self.ends[&end].remote.clone()))
    }

    /// Somebody who waits, for a descriptor or for a test.
    pub(super) fn next_waiting(&mut self, key: ListenerKey) -> Option<EndKey> {
        self.listeners.get_mut(&key)?.waiting.pop_front()
    }

    pub(super) fn shed(&mut self, key: ListenerKey) -> Option<Address> {
        self.calls.accepts += 1;
        let end = self.next_waiting(key)?;
        let peer = self.ends[&end].remote.clone();
        self.close_end(end, false);
        Some(peer)
    }

    pub(super) fn connect(&mut self, net: usize, to: SocketAddr, source: Option<SocketAddr>) -> io::Result<NetId> {
        self.calls.connects += 1;
        self.take_descriptor()?;
        let local = source.unwrap_or_else(|| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0));
        let local = self.with_port(local);
        let end = self.add_end(local.into(), to.into(), Link::Connecting);
        let after = match self.routes.get(&to) {
            Some(Route::Slow(span) | Route::Refused(span)) => Some(*span),
            Some(Route::Silent) => None,
            None => Some(self.span(self.faults.slow_connect)),
        };
        if let Some(after) = after {
            self.depart(self.now.saturating_add(after), Flight::Connect(end));
        }
        Ok(self.adopt_end(net, end))
    }

    /// A connection of a test's peer, which waits for nothing.
    pub(super) fn connect_at_once(&mut self, to: SocketAddr) -> Option<EndKey> {
        let key = self.listener_for(to).filter(|key| self.listeners[key].has_room())?;
        let local = self.with_port(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0));
        let end = self.add_end(local.into(), to.into(), Link::Connecting);
        self.establish(end, key);
        Some(end)
    }

    pub(super) fn connect_arrives(&mut self, end: EndKey) {
        let Some(to) = self.ends.get(&end).and_then(|end| end.remote.inet()) else { return };
        let refused = matches!(self.routes.get(&to), Some(Route::Refused(_))) || self.strikes(self.faults.refused);
        match self.listener_for(to).filter(|_| !refused) {
            Some(key) if self.listeners[&key].has_room() => {
                self.establish(end, key);
                self.edge_of_connect(end);
            }
            Some(_) => self.depart(self.now.saturating_add(RETRY), Flight::Connect(end)),
            None => {
                let failed = self.ends.get_mut(&end).expect("it was just looked at");
                (failed.link, failed.error) = (Link::Failed, Some(ErrorKind::ConnectionRefused));
                self.edge_of_connect(end);
            }
        }
    }

    /// Whether a connection is established.
    pub(super) fn connected(&mut self, key: EndKey) -> io::Result<bool> {
        let end = self.ends.get_mut(&key).expect("an end exists while something names it");
        match (end.error.take(), end.link) {
            (Some(error), _) => Err(error.into()),
            (None, Link::Failed) => Err(ErrorKind::NotConnected.into()),
            (None, link) => Ok(link != Link::Connecting),
        }
    }

    /// Asks what a name stands for.
    pub(super) fn resolve(&mut self, net: usize, query: u64, host: &str, port: u16) {
        let known = self.names.get(host).cloned();
        let (after, outcome) = known.map_or_else(
            || (Duration::ZERO, Err(ErrorKind::NotFound.into())),
            |(after, addrs)| (after, Ok(addrs.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())),
        );
        let answer = Resolved { query, outcome };
        self.depart(self.now.saturating_add(after), Flight::Answer { net, answer });
    }

    pub(super) fn release_listener(&mut self, key: ListenerKey) {
        if let Some(backlog) = self.listeners.get_mut(&key) {
            backlog.held = false;
            self.announce_waiting(key);
        }
    }

    /// Of several listeners at an address one is chosen, as the kernel does by the client's address.
    fn listener_for(&mut self, to: SocketAddr) -> Option<ListenerKey> {
        let open: Vec<_> = self.listeners.iter().filter(|(_, at)| at.answers(to)).map(|(key, _)| *key).collect();
        if open.is_empty() { None } else { Some(open[self.rng.index(open.len())]) }
    }

    pub(super) fn establish(&mut self, client: EndKey, listener: ListenerKey) {
        let (local, remote) = (self.ends[&client].remote.clone(), self.ends[&client].local.clone());
        let server = self.add_end(local, remote, Link::Up(client));
        self.ends.get_mut(&client).expect("it is connecting").link = Link::Up(server);
        let backlog = self.listeners.get_mut(&listener).expect("it was just found");
        backlog.waiting.push_back(server);
        if backlog.waiting.len() == 1 {
            self.announce_waiting(listener);
        }
    }

    fn announce_waiting(&mut self, key: ListenerKey) {
        let backlog = &self.listeners[&key];
        if let (true, Some((net, id))) = (backlog.is_ready(), backlog.owner) {
            self.nets[net].edge(id, Edge::READ);
        }
    }

    fn hold_listener(&mut self, key: ListenerKey) {
        self.listeners.get_mut(&key).expect("it was just looked at").held = true;
        let at = self.now.saturating_add(self.span(self.faults.hold));
        self.depart(at, Flight::ReleaseListener(key));
    }

    pub(super) fn take_descriptor(&mut self) -> io::Result<()> {
        if self.has_descriptor() { Ok(()) } else { Err(io::Error::from_raw_os_error(NO_DESCRIPTORS)) }
    }

    /// Makes an end the socket of a loop.
    pub(super) fn adopt_end(&mut self, net: usize, end: EndKey) -> NetId {
        let id = self.nets[net].insert(What::Stream(end));
        self.ends.get_mut(&end).expect("an end exists while something names it").owner = Some((net, id));
        id
    }

    fn with_port(&mut self, mut addr: SocketAddr) -> SocketAddr {
        if addr.port() == 0 {
            addr.set_port(self.fresh_port());
        }
        addr
    }
}
