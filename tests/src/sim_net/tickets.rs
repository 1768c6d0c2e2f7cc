//! Tickets: real descriptors that stand for simulated sockets, outside of all loops.
//!
//! A ticket is one half of a real socket pair, of which the world keeps the other. It is known again by its device and
//! inode, whatever was made of it meanwhile; and the half that is kept shows when it is dropped, or shut down, which
//! closes the simulated socket at the next poll. What is written to a ticket reaches nobody.

use super::world::{EndKey, State};
use super::{Peer, World};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use wharf_host::event_loop::net::NetId;

/// The tickets of a world, in the order in which they were issued.
#[derive(Debug, Default)]
pub(super) struct Tickets {
    issued: Vec<Ticket>,
}

#[derive(Debug)]
struct Ticket {
    device: u64,
    inode: u64,
    end: EndKey,
    kept: UnixStream,
}

impl Tickets {
    pub(super) const fn count(&self) -> usize {
        self.issued.len()
    }
}

impl World {
    /// Tickets for the two ends of a connection, as `UnixStream::pair` gives them.
    ///
    /// # Errors
    /// Whatever the real system says, of which tickets are made.
    pub fn pair(&self) -> io::Result<(UnixStream, UnixStream)> {
        let mut state = self.state();
        let [one, other] = state.add_pair();
        Ok((state.issue(one)?.into(), state.issue(other)?.into()))
    }

    /// Puts the socket that a ticket stands for into the hands of the test. `None` if it is no ticket of this world.
    #[must_use]
    pub fn hold(&self, ticket: impl Into<OwnedFd>) -> Option<Peer> {
        let end = self.state().redeem(ticket.into())?;
        Some(Peer::new(self.clone(), end))
    }
}

impl State {
    /// A ticket for a socket, which belongs to no loop from now on.
    pub(super) fn issue(&mut self, end: EndKey) -> io::Result<OwnedFd> {
        let (ticket, kept) = UnixStream::pair()?;
        for half in [&ticket, &kept] {
            half.set_nonblocking(true)?;
        }
        let (device, inode, ticket) = identify(ticket.into())?;
        self.tickets.issued.push(Ticket { device, inode, end, kept });
        self.ends.get_mut(&end).expect("an end exists while something names it").owner = None;
        Ok(ticket)
    }

    /// Makes the socket that a ticket stands for one of a loop.
    pub(super) fn adopt(&mut self, net: usize, ticket: OwnedFd) -> io::Result<NetId> {
        // The way to anything real is missing here: a spent ticket is not connected, but cannot be told from that.
        let end = self.redeem(ticket).ok_or(ErrorKind::Unsupported)?;
        Ok(self.adopt_end(net, end))
    }

    /// Closes the sockets whose tickets nobody has any more.
    pub(super) fn close_dropped_tickets(&mut self) {
        let dropped: Vec<_> = self.tickets.issued.extract_if(.., Ticket::is_dropped).collect();
        for ticket in dropped {
            self.close_end(ticket.end, false);
        }
    }

    fn redeem(&mut self, ticket: OwnedFd) -> Option<EndKey> {
        // Held until it is found: its inode is not used again before.
        let (device, inode, _ticket) = identify(ticket).ok()?;
        let found = self.tickets.issued.iter().position(|ticket| (ticket.device, ticket.inode) == (device, inode))?;
        Some(self.tickets.issued.remove(found).end)
    }
}

impl Ticket {
    fn is_dropped(&mut self) -> bool {
        loop {
            match self.kept.read(&mut [0; 64]) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return error.kind() != ErrorKind::WouldBlock,
            }
        }
    }
}

/// Device and inode of a descriptor.
fn identify(fd: OwnedFd) -> io::Result<(u64, u64, OwnedFd)> {
    let file = File::from(fd);
    let data = file.metadata()?;
    Ok((data.dev(), data.ino(), file.into()))
}

#[cfg(test)]
mod tests {
    use super::super::Ended;
    use super::*;
    use std::io::Write;
    use std::time::Duration;
    use wharf_host::event_loop::AnyStream;
    use wharf_host::event_loop::net::Net;

    #[test]
    fn a_ticket_stands_for_its_socket_whatever_it_is_made_into() {
        let world = World::strict();
        let (mut first, mut second) = (world.net(), world.net());
        let (one, other) = world.pair().unwrap();
        let peer = world.hold(other).unwrap();
        assert_eq!((world.open(), peer.send(b"ab")), (1, 2));
        let id = first.adopt_any(one.into()).unwrap();
        let mut buf = [0; 1];
        assert_eq!((first.read(id, &mut buf).unwrap(), buf), (1, *b"a"));
        let mut ticket: UnixStream = first.take(id).unwrap().into();
        assert_eq!(first.read(id, &mut buf).unwrap_err().kind(), ErrorKind::NotConnected);
        // It leads nowhere by itself.
        ticket.write_all(b"lost").unwrap();
        assert_eq!((peer.send(b"c"), world.open(), peer.ended()), (1, 1, None));
        let as_tcp = std::net::TcpStream::from(OwnedFd::from(ticket));
        let id = second.adopt(as_tcp).unwrap();
        let mut buf = [0; 9];
        assert_eq!((second.read(id, &mut buf).unwrap(), &buf[..2]), (2, &b"bc"[..]));
        assert!(peer.receive().is_empty());
    }

    #[test]
    fn a_dropped_ticket_closes_its_socket_and_what_is_no_ticket_is_refused() {
        let world = World::strict();
        let mut net = world.net();
        let (one, other) = world.pair().unwrap();
        let peer = world.hold(other).unwrap();
        let copy = one.try_clone().unwrap();
        drop(one);
        assert_eq!((world.open(), peer.ended()), (1, None));
        drop(copy);
        net.poll(Some(Duration::ZERO), &mut Vec::new()).unwrap();
        assert_eq!((world.open(), peer.ended()), (0, Some(Ended::InOrder)));

        let real = UnixStream::pair().unwrap().0;
        assert!(world.hold(real.try_clone().unwrap()).is_none());
        assert_eq!(net.adopt_any(real.into()).unwrap_err().kind(), ErrorKind::Unsupported);
        let foreign = World::strict().pair().unwrap().0;
        assert_eq!(net.adopt_any(foreign.into()).unwrap_err().kind(), ErrorKind::Unsupported);
        // One that was used already stands for nothing.
        let (one, _other) = world.pair().unwrap();
        let spent = one.try_clone().unwrap();
        net.adopt_any(one.into()).unwrap();
        assert_eq!(net.adopt_any(AnyStream::Unix(spent)).unwrap_err().kind(), ErrorKind::Unsupported);
    }
}
