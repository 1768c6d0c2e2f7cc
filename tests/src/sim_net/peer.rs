//! The other side of a socket, moved by hand.

use super::World;
use super::world::{EndKey, ListenerKey};
use std::io::IoSlice;
use std::net::SocketAddr;

/// How a peer's input has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// In order, after the last byte.
    InOrder,
    /// By a reset.
    Reset,
}

/// The side of a connection that a test holds: without faults of its own. Dropping it closes it.
#[derive(Debug)]
pub struct Peer {
    world: World,
    end: EndKey,
}

impl Peer {
    pub(super) const fn new(world: World, end: EndKey) -> Self {
        Self { world, end }
    }

    /// Sends as much of `bytes` as fits. After a reset that is nothing.
    #[must_use = "the rest does not fit"]
    pub fn send(&self, bytes: &[u8]) -> usize {
        let mut sent = 0;
        let mut state = self.world.state();
        while sent < bytes.len() {
            match state.write(self.end, &[IoSlice::new(&bytes[sent..])]) {
                Ok(count) => sent += count,
                Err(_) => break,
            }
        }
        sent
    }

    /// Takes all that has arrived.
    #[must_use]
    pub fn receive(&self) -> Vec<u8> {
        self.receive_at_most(usize::MAX)
    }

    /// Takes at most `most` of what has arrived.
    #[must_use]
    pub fn receive_at_most(&self, most: usize) -> Vec<u8> {
        let (mut all, mut part) = (Vec::new(), [0; 4096]);
        let mut state = self.world.state();
        while all.len() < most {
            let asked = part.len().min(most - all.len());
            match state.read(self.end, &mut part[..asked]) {
                Ok(0) => break,
                Ok(count) => all.extend_from_slice(&part[..count]),
                Err(_) => break,
            }
        }
        all
    }

    /// How the other side has ended, if it has.
    #[must_use]
    pub fn ended(&self) -> Option<Ended> {
        let state = self.world.state();
        let end = &state.ends[&self.end];
        if end.reset { Some(Ended::Reset) } else { end.has_ended().then_some(Ended::InOrder) }
    }

    /// Ends this side; the other may go on.
    pub fn end(&self) {
        // After a reset there is nothing to end.
        let _ = self.world.state().end_output(self.end);
    }

    /// Resets the connection; UNIX sockets know no reset but that of a close over unread bytes.
    pub fn reset(self) {
        self.world.state().close_socket(self.end, true);
    }

    /// The address of this side.
    ///
    /// # Panics
    /// On a UNIX socket.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.world.state().ends[&self.end].local.inet().expect("the peer is a TCP socket")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.world.state().close_end(self.end, false);
    }
}

/// A listener that a test holds. Dropping it closes it; a path stays behind then, as that of a process that crashed.
#[derive(Debug)]
pub struct PeerListener {
    world: World,
    key: ListenerKey,
}

impl PeerListener {
    pub(super) const fn new(world: World, key: ListenerKey) -> Self {
        Self { world, key }
    }

    /// The address to connect to.
    ///
    /// # Panics
    /// On a UNIX socket.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.world.state().listeners[&self.key].addr.inet().expect("the listener is a TCP socket")
    }

    /// The next connection that waits.
    #[must_use]
    pub fn accept(&self) -> Option<Peer> {
        let end = self.world.state().next_waiting(self.key)?;
        Some(Peer::new(self.world.clone(), end))
    }
}

impl Drop for PeerListener {
    fn drop(&mut self) {
        self.world.state().close_listener(self.key);
    }
}
