//! UNIX sockets: paths that go with their listeners, and abstract names.
//!
//! The world has a file system, as far as listeners need one: a path is a socket, which is *stale* once its listener is
//! gone, or some other file. Mode bits mean nothing, because all loops belong to the same user. A connection comes
//! about at once or not at all, and no name belongs to the client's side.

use super::stream::Link;
use super::world::{EndKey, ListenerKey, State};
use super::{Peer, PeerListener, World};
use std::io::{self, ErrorKind};
use std::path::Path;
use wharf_host::event_loop::Address;
use wharf_host::event_loop::net::NetId;

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Socket(ListenerKey),
    File,
}

impl World {
    /// A listener on a UNIX socket that the test holds: a path, or with a leading `@` an abstract name.
    ///
    /// # Panics
    /// If the address is in use.
    #[must_use]
    pub fn listen_unix(&self, at: impl AsRef<Path>) -> PeerListener {
        let key = self.state().bind_unix(&Address::unix(at), 512, None);
        PeerListener::new(self.clone(), key.expect("the address of a test's listener is free"))
    }

    /// A connection to a UNIX socket that the test holds the other side of. `None` if nobody listens there or the
    /// backlog is full.
    #[must_use]
    pub fn connect_unix(&self, to: impl AsRef<Path>) -> Option<Peer> {
        let mut state = self.state();
        let key = state.unix_listener(&Address::unix(&to)).ok().filter(|key| state.listeners[key].has_room())?;
        let end = state.connect_to(key);
        drop(state);
        Some(Peer::new(self.clone(), end))
    }

    /// Puts a file that is no socket at a path, in place of whatever is there.
    pub fn put_file(&self, path: impl AsRef<Path>) {
        self.state().paths.insert(path.as_ref().into(), Node::File);
    }

    /// Removes what is at a path. A listener there goes on, but nobody finds it.
    pub fn remove_file(&self, path: impl AsRef<Path>) {
        self.state().paths.remove(path.as_ref());
    }

    /// Whether there is anything at a path.
    #[must_use]
    pub fn has_file(&self, path: impl AsRef<Path>) -> bool {
        self.state().paths.contains_key(path.as_ref())
    }
}

impl State {
    pub(super) fn bind_unix(&mut self, at: &Address, most: u32, net: Option<usize>) -> io::Result<ListenerKey> {
        match at {
            Address::Path(path) => match self.paths.get(path) {
                None => {}
                Some(Node::Socket(key)) if !self.listeners.contains_key(key) => {}
                Some(Node::Socket(_)) => return Err(ErrorKind::AddrInUse.into()),
                Some(Node::File) => return Err(ErrorKind::AlreadyExists.into()),
            },
            Address::Abstract(_) => {
                if self.unix_listener(at).is_ok() {
                    return Err(ErrorKind::AddrInUse.into());
                }
            }
            Address::Inet(_) | Address::Unnamed => return Err(ErrorKind::InvalidInput.into()),
        }
        let key = self.add_listener(at.clone(), most, false, net);
        if let Address::Path(path) = at {
            self.paths.insert(path.clone(), Node::Socket(key));
        }
        Ok(key)
    }

    pub(super) fn connect_unix(&mut self, net: usize, to: &Address) -> io::Result<NetId> {
        self.calls.connects += 1;
        self.take_descriptor()?;
        let key = self.unix_listener(to)?;
        if self.strikes(self.faults.refused) {
            return Err(ErrorKind::ConnectionRefused.into());
        }
        if !self.listeners[&key].has_room() || self.strikes(self.faults.would_block) {
            return Err(ErrorKind::WouldBlock.into());
        }
        let end = self.connect_to(key);
        Ok(self.adopt_end(net, end))
    }

    /// The path of a listener that is gone goes with it, unless another file has taken its place.
    pub(super) fn remove_path_of(&mut self, key: ListenerKey, at: &Address) {
        if let Address::Path(path) = at
            && self.paths.get(path) == Some(&Node::Socket(key))
        {
            self.paths.remove(path);
        }
    }

    /// Two ends that are connected to each other, and to nobody else.
    pub(super) fn add_pair(&mut self) -> [EndKey; 2] {
        let one = self.add_end(Address::Unnamed, Address::Unnamed, Link::Connecting);
        let other = self.add_end(Address::Unnamed, Address::Unnamed, Link::Up(one));
        self.ends.get_mut(&one).expect("it was just made").link = Link::Up(other);
        [one, other]
    }

    /// Who answers at an address, or why nobody does.
    fn unix_listener(&self, at: &Address) -> io::Result<ListenerKey> {
        let found = match at {
            Address::Path(path) => match self.paths.get(path).ok_or(ErrorKind::NotFound)? {
                Node::Socket(key) => Some(*key).filter(|key| self.listeners.contains_key(key)),
                Node::File => None,
            },
            Address::Abstract(_) => self.listeners.iter().find(|(_, other)| other.addr == *at).map(|(key, _)| *key),
            Address::Inet(_) | Address::Unnamed => return Err(ErrorKind::InvalidInput.into()),
        };
        found.ok_or_else(|| ErrorKind::ConnectionRefused.into())
    }

    fn connect_to(&mut self, key: ListenerKey) -> EndKey {
        let to = self.listeners[&key].addr.clone();
        let end = self.add_end(Address::Unnamed, to, Link::Connecting);
        self.establish(end, key);
        end
    }
}

#[cfg(test)]
mod tests {
    use super::super::Ended;
    use super::*;
    use std::io::IoSlice;
    use wharf_host::event_loop::net::{Net, UnixListenOptions};

    #[test]
    fn a_path_goes_with_its_listener_and_a_stale_one_is_replaced() {
        let world = World::strict();
        let (mut net, at) = (world.net(), Address::unix("/run/a"));
        let options = UnixListenOptions::default();
        drop(world.listen_unix("/run/a"));
        assert!(world.has_file("/run/a"));
        assert_eq!(net.connect_unix(&at).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        let id = net.listen_unix(&at, &options).unwrap();
        assert_eq!(net.listen_unix(&at, &options).unwrap_err().kind(), ErrorKind::AddrInUse);
        net.close(id, false);
        assert!(!world.has_file("/run/a"));
        assert_eq!(net.connect_unix(&at).unwrap_err().kind(), ErrorKind::NotFound);

        world.put_file("/run/a");
        assert_eq!(net.listen_unix(&at, &options).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(net.connect_unix(&at).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        world.remove_file("/run/a");
        let first = net.listen_unix(&at, &options).unwrap();
        // Another has taken the path meanwhile, and keeps it.
        world.remove_file("/run/a");
        let second = net.listen_unix(&at, &options).unwrap();
        net.close(first, false);
        assert!(world.connect_unix("/run/a").is_some() && net.accept_unix(second).is_ok());
        drop(net);
        assert!(!world.has_file("/run/a"));
    }

    #[test]
    fn an_abstract_name_is_no_path_and_is_free_once_its_listener_is_gone() {
        let world = World::strict();
        let (mut net, at) = (world.net(), Address::unix("@a"));
        assert_eq!(net.connect_unix(&at).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        let held = world.listen_unix("@a");
        assert!(!world.has_file("@a"));
        let refused = net.listen_unix(&at, &UnixListenOptions::default()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AddrInUse);
        drop(held);
        let id = net.listen_unix(&at, &UnixListenOptions::default()).unwrap();
        assert_eq!(net.local(id).unwrap(), at);
        let inet = Address::Inet("127.0.0.1:1".parse().unwrap());
        assert_eq!(net.connect_unix(&inet).unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn a_connection_is_there_at_once_unless_the_backlog_is_full() {
        let world = World::strict();
        let (mut net, at) = (world.net(), Address::unix("/run/a"));
        let options = UnixListenOptions { backlog: 1, ..UnixListenOptions::default() };
        let listener = net.listen_unix(&at, &options).unwrap();
        let client = net.connect_unix(&at).unwrap();
        assert!(net.connected(client).unwrap());
        assert_eq!((net.local(client).unwrap(), net.peer(client).unwrap()), (Address::Unnamed, at.clone()));
        assert_eq!(net.connect_unix(&at).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(world.connect_unix("/run/a").is_none());
        let (server, from) = net.accept_unix(listener).unwrap();
        assert_eq!((from, net.local(server).unwrap()), (Address::Unnamed, at.clone()));
        assert_eq!(net.write(client, &[IoSlice::new(b"hi")]).unwrap(), 2);
        let mut buf = [0; 9];
        assert_eq!(net.read(server, &mut buf).unwrap(), 2);
        let waiting = world.connect_unix("/run/a").unwrap();
        assert_eq!(net.shed_unix(listener), Some(Address::Unnamed));
        assert_eq!(waiting.ended(), Some(Ended::InOrder));
    }

    #[test]
    fn a_side_that_is_gone_takes_nothing_and_knows_no_reset_but_over_unread_bytes() {
        let world = World::strict();
        let mut net = world.net();
        let listener = net.listen_unix(&Address::unix("@a"), &UnixListenOptions::default()).unwrap();
        let accept = |net: &mut super::super::SimNet| {
            let peer = world.connect_unix("@a").unwrap();
            (net.accept_unix(listener).unwrap().0, peer)
        };
        let (id, peer) = accept(&mut net);
        peer.reset();
        assert_eq!(net.write(id, &[IoSlice::new(b"x")]).unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(net.read(id, &mut [0; 9]).unwrap(), 0);
        let (id, peer) = accept(&mut net);
        net.close(id, true);
        assert_eq!(peer.ended(), Some(Ended::InOrder));
        let (id, peer) = accept(&mut net);
        assert_eq!(net.write(id, &[IoSlice::new(b"x")]).unwrap(), 1);
        drop(peer);
        assert_eq!(net.read(id, &mut [0; 9]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}
