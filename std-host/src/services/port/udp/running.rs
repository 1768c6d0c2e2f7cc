//! A UDP port as whoever is on its loop sees it: the face of the port that never waits.

use super::report::UdpReport;
use super::site::Site;
use super::subscribers::UdpSubscriber;
use crate::services::port::options::{OptionError, Target, Udp};
use crate::services::port::report::Level;
use crate::services::port::trace::{Direction, Levels};
use crate::services::port::{Addr, Error};
use std::net::SocketAddr;
use std::ops::Range;
use wharf_core::port::datagrams::{self, Command, Counters, Input, Outcome, Pending, To};
use wharf_core::port::framing::Eom;
use wharf_core::{Instant, Machine};

/// What a read has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadUdp {
    /// Bytes in the buffer.
    pub len: usize,
    /// CNT if the buffer was filled or more of the datagram is left, END with its last byte, both on an exact fit. None
    /// of an empty cache in asyn mode.
    pub eom: Eom,
    /// Who sent the datagram, whether it had been cut before it got here, and when it came; `None` of an empty cache.
    pub from: Option<Origin>,
}

/// Where bytes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Who sent the datagram.
    pub peer: SocketAddr,
    /// It was longer than all of the ring, or than the system had room for; the rest is lost.
    pub truncated: bool,
    /// When it came.
    pub at: Instant,
}

/// What a datagram for all came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UdpBroadcast {
    /// Peers for whom it is queued.
    pub queued: usize,
    /// Bytes queued, over all peers.
    pub accepted: usize,
    /// The peers heard within `peer_ttl`, and what became of the datagram for each.
    pub outcomes: Vec<(SocketAddr, Outcome)>,
}

impl UdpBroadcast {
    /// Sums up the outcomes of a datagram of so many bytes.
    pub(super) fn count(&mut self, len: usize) {
        self.queued = queued(self.outcomes.iter().copied());
        self.accepted = self.queued * len;
    }
}

/// A UDP port on its loop. Nothing here waits: what cannot be done now is [`Error::WouldBlock`], and an event tells when
/// it can. The addresses -1 and 0 mean the same but for [`RunningUdp::write`].
pub struct RunningUdp<'a> {
    site: &'a Site,
    now: Instant,
}

impl<'a> RunningUdp<'a> {
    pub(super) const fn new(site: &'a Site, now: Instant) -> Self {
        Self { site, now }
    }

    /// The name of the port.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.site.common.name
    }

    /// The time of the loop at which this is.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// Why the port could not be opened the last time, if it could not.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.site.common.failure()
    }

    /// Where the port is bound, with the real port number; `None` while it is down.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.site.machine.borrow().local_addr()
    }

    /// Opens the port, unless it is up. [`PortUp`](datagrams::Event::PortUp) or `PortDown` follows.
    /// Nothing happens once the port is being stopped.
    pub fn connect(&mut self) {
        if !self.site.stopping.get() {
            // It cannot be refused.
            let _ = self.command(Command::Open);
        }
    }

    /// Opens no more, whoever asks for it.
    pub(super) fn retire(&self) {
        self.site.stopping.set(true);
    }

    /// Closes the port, and gives up what is unread and unsent. `PortDown` follows.
    pub fn disconnect(&mut self) {
        let _ = self.command(Command::Close);
        self.site.desk.not_opened(Some("it was closed meanwhile"));
    }

    /// Leaves a port that could not be opened in time closed, unless it opens by itself.
    pub(super) fn withdraw(&mut self) {
        if !self.site.options.borrow().auto_connect {
            let _ = self.command(Command::Close);
        }
    }

    /// The next bytes of a datagram. What is left of it comes with the next read, or is lost with `rest = "discard"`. In
    /// asyn mode an empty cache gives no bytes and no reason, at once.
    ///
    /// # Errors
    /// [`Error::EmptyBuffer`]; [`Error::NotConnected`] while the port is down; in FIFO mode [`Error::WouldBlock`];
    /// [`Error::OutOfRange`].
    pub fn read(&mut self, addr: Addr, buffer: &mut [u8]) -> Result<ReadUdp, Error> {
        check(addr)?;
        self.command(Command::Read { room: buffer.len() })?;
        let machine = self.site.machine.borrow();
        let Some(piece) = machine.piece() else {
            return match self.site.options.borrow().udp {
                Udp::Asyn => Ok(ReadUdp { len: 0, eom: Eom::NONE, from: None }),
                Udp::Fifo => Err(Error::WouldBlock),
            };
        };
        let [first, second] = piece.bytes;
        let len = first.len() + second.len();
        buffer[..first.len()].copy_from_slice(first);
        buffer[first.len()..len].copy_from_slice(second);
        let from = Origin { peer: piece.peer, truncated: piece.truncated, at: piece.at };
        self.trace(Some(piece.peer), Levels::DEVICE, Direction::Rx, &buffer[..len], "read");
        Ok(ReadUdp { len, eom: piece.eom, from: Some(from) })
    }

    /// Says that nobody reads any more. Until the next read nothing is kept for readers while there are subscribers.
    pub fn leave(&mut self) {
        // It cannot be refused.
        let _ = self.command(Command::Leave);
    }

    /// Queues a datagram: at 0 for the sender of the one last read, at -1 for everybody, and then what is taken is the
    /// sum.
    ///
    /// # Errors
    /// As for [`RunningUdp::reply`], [`Error::NobodyToAnswer`] if nothing has been read yet, [`Error::OutOfRange`].
    pub fn write(&mut self, addr: Addr, bytes: &[u8]) -> Result<usize, Error> {
        check(addr)?;
        match addr {
            Addr::Port => {
                self.queue(To::Everyone, bytes)?;
                let machine = self.site.machine.borrow();
                Ok(queued(machine.outcomes()) * bytes.len())
            }
            Addr::Slot(_) => self.queue(To::LastRead, bytes).map(|()| bytes.len()),
        }
    }

    /// Queues a datagram for this peer, whether it has been heard or not.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] in asyn mode, [`Error::PortDown`], [`Error::Full`] if 64 datagrams or 256 KiB wait,
    /// [`Error::TooLong`] for more than 65 507 bytes, or 65 527 to an IPv6 peer.
    pub fn reply(&mut self, peer: SocketAddr, bytes: &[u8]) -> Result<(), Error> {
        self.queue(To::Peer(peer), bytes)
    }

    /// Queues a datagram for every peer heard within `peer_ttl`. No peer keeps it from another.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] in asyn mode, [`Error::PortDown`].
    pub fn broadcast(&mut self, bytes: &[u8]) -> Result<UdpBroadcast, Error> {
        let mut result = UdpBroadcast::default();
        self.broadcast_into(bytes, &mut result).map(|()| result)
    }

    /// [`RunningUdp::broadcast`] into a result that is used again, so that nothing is allocated for it.
    ///
    /// # Errors
    /// As for [`RunningUdp::broadcast`]; `result` stays as it was then.
    pub fn broadcast_into(&mut self, bytes: &[u8], result: &mut UdpBroadcast) -> Result<(), Error> {
        self.share(bytes, &mut result.outcomes)?;
        result.count(bytes.len());
        Ok(())
    }

    /// The same for who sums up the outcomes later.
    pub(super) fn share(&mut self, bytes: &[u8], outcomes: &mut Vec<(SocketAddr, Outcome)>) -> Result<(), Error> {
        self.queue(To::Everyone, bytes)?;
        outcomes.clear();
        outcomes.extend(self.site.machine.borrow().outcomes());
        Ok(())
    }

    /// Discards what has been received and not been read; how many bytes that was. Subscribers lose nothing.
    ///
    /// # Errors
    /// [`Error::NotConnected`] while the port is down; [`Error::OutOfRange`].
    pub fn flush(&mut self, addr: Addr) -> Result<usize, Error> {
        check(addr)?;
        self.command(Command::Flush)?;
        Ok(self.site.machine.borrow().flushed())
    }

    /// Bytes that wait to be read, and to be sent.
    #[must_use]
    pub fn pending(&self) -> Pending {
        self.site.machine.borrow().pending()
    }

    /// Who sent the datagram last read; `None` before the first.
    #[must_use]
    pub fn last_read(&self) -> Option<SocketAddr> {
        self.site.machine.borrow().last_read()
    }

    /// The numbers of the datagrams that wait to be sent.
    pub(super) fn outgoing(&self) -> Range<u64> {
        self.site.machine.borrow().outgoing()
    }

    /// Whether the last socket has been closed and is not gone yet.
    pub(super) const fn is_releasing(&self) -> bool {
        self.site.is_releasing()
    }

    /// Calls of other threads that wait for something.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.site.desk.waiting()
    }

    /// What has happened since the port was made.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.site.machine.borrow().counters()
    }

    /// What the port tells of itself.
    #[must_use]
    pub fn report(&self, level: Level) -> UdpReport {
        UdpReport::take(self.site, self.now, level)
    }

    /// Has the files of trace and `mode = "log"` opened again, for whoever rotates them; false if there are none.
    pub fn reopen_files(&self) -> bool {
        self.site.seen.reopen_files(&self.site.options.borrow())
    }

    /// From now on `subscriber` hears what happens, and gets the datagrams that come. The first one of a port in asyn
    /// mode gets the one that is cached, too.
    pub fn subscribe(&mut self, subscriber: Box<dyn UdpSubscriber>) {
        let cursor = subscriber.hears_datagrams().then(|| {
            let (count, machine) = (self.site.hearers.get(), self.site.machine.borrow());
            self.site.hearers.set(count + 1);
            let backlog = count == 0 && self.site.options.borrow().udp == Udp::Asyn;
            if backlog { machine.cursor_at_unread() } else { machine.cursor() }
        });
        self.site.subscribers.borrow_mut().add(subscriber, cursor);
        if cursor.is_some() {
            // It cannot be refused.
            let _ = self.command(Command::Subscribed { count: self.site.hearers.get() });
        }
    }

    /// The text of an option.
    ///
    /// # Errors
    /// [`Error::Option`] for a key that the port does not have, [`Error::OutOfRange`].
    pub fn option(&self, addr: Addr, key: &str) -> Result<String, Error> {
        check(addr)?;
        self.site.options.borrow().option(key).map_err(|error| wrong(&error))
    }

    /// Sets an option.
    ///
    /// # Errors
    /// [`Error::Option`] says what is wrong with the key or the value; the old value stays. [`Error::OutOfRange`].
    pub fn set_option(&mut self, addr: Addr, key: &str, value: &str) -> Result<(), Error> {
        check(addr)?;
        let mut options = self.site.options.borrow().clone();
        let target = Target::Port { up: !self.site.machine.borrow().is_down() };
        let key = options.change(target, key, value).map_err(|error| wrong(&error))?;
        if let Some(setting) = options.setting(key) {
            self.command(Command::Set(setting))?;
        }
        self.site.seen.traces.set(std::iter::once(&options.slot));
        *self.site.options.borrow_mut() = options;
        Ok(())
    }

    fn queue(&mut self, to: To, bytes: &[u8]) -> Result<(), Error> {
        match self.command(Command::Write { to, bytes }) {
            Err(datagrams::Error::NotConnected) => return Err(Error::PortDown { why: self.site.common.failure() }),
            done => done?,
        }
        let machine = self.site.machine.borrow();
        let peer = match to {
            To::Peer(peer) => Some(peer),
            To::LastRead => machine.last_read(),
            To::Everyone => None,
        };
        // What reaches nobody is not on its way.
        if to != To::Everyone || machine.outcomes().any(|(_, outcome)| outcome == Outcome::Queued) {
            self.trace(peer, Levels::DEVICE, Direction::Tx, bytes, "write");
        }
        Ok(())
    }

    /// Traces bytes that went one way, if that is wanted.
    pub(super) fn trace(&self, peer: Option<SocketAddr>, level: Levels, way: Direction, bytes: &[u8], source: &str) {
        self.site.trace(peer, level, way, [bytes, &[]], source);
    }

    /// Does what the program asks for. What follows is carried out when the caller is done.
    fn command(&mut self, command: Command<'_>) -> Result<(), datagrams::Error> {
        self.site.machine.borrow_mut().handle_input(self.now, Input::Requested(command))
    }
}

/// A UDP port has the addresses -1 and 0.
pub(super) const fn check(addr: Addr) -> Result<(), Error> {
    match addr {
        Addr::Port | Addr::Slot(0) => Ok(()),
        Addr::Slot(index) => Err(Error::OutOfRange { addr: index as i32, slots: 1 }),
    }
}

/// For how many peers a datagram for all is queued.
fn queued(outcomes: impl Iterator<Item = (SocketAddr, Outcome)>) -> usize {
    outcomes.filter(|(_, outcome)| *outcome == Outcome::Queued).count()
}

fn wrong(error: &OptionError) -> Error {
    Error::Option(error.to_string())
}

impl std::fmt::Debug for RunningUdp<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunningUdp").field("name", &self.name()).finish_non_exhaustive()
    }
}
