//! The face of a UDP port for threads: calls that wait.
//!
//! The way of a call to the loop and back is that of every kind of port, in `calls`. What a UDP port is asked for is in
//! `ask`; `desk` is what waits on the loop, and `serve` what is tried for it. Nothing is locked while a call waits, so
//! whatever one thread waits for, another may do. A handle keeps the buffers of its calls: once they have grown to the
//! largest request, a call allocates nothing.

mod ask;
mod desk;
mod face;
mod serve;
mod spawn;
mod told;

pub(super) use desk::Desk;
pub(super) use face::reach;
pub use told::UdpTold;

use super::running::{ReadUdp, RunningUdp, UdpBroadcast, check};
use super::site::Site;
use super::subscribers::UdpSubscriber;
use crate::services::port::calls::{Calls, Events, Feed, Pool, pair};
use crate::services::port::common::Common;
use crate::services::port::{Addr, Error, Subport};
use ask::{Answer, Ask, State};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use told::{Ear, Watch};
use wharf_core::port::datagrams::{MAX_PAYLOAD, MAX_PAYLOAD_V4, Pending};

/// Room that no datagram fills: what a larger buffer has beyond it makes no difference.
const MOST_ROOM: usize = MAX_PAYLOAD + 1;

/// Reaches a UDP port from any thread but that of its loop, which would wait for itself. It may outlive the port and the
/// loop.
///
/// Calls that wait take a timeout: zero is one attempt, and `None` waits without limit. The answer is always the loop's, so a
/// loop that is not run, or is busy in a callback, keeps a call beyond its time. The addresses -1 and 0 mean the same but for
/// [`UdpPort::write`]. Every call may fail with [`Error::OnLoopThread`] and [`Error::Ended`], and with [`Error::OutOfRange`]
/// for any other address. Whoever has clones of a handle shares nothing but the port with them.
pub struct UdpPort {
    calls: Arc<Calls<Site>>,
    common: Arc<Common>,
    pool: Pool<Site>,
}

impl UdpPort {
    pub(super) fn new(calls: Arc<Calls<Site>>, common: Arc<Common>) -> Self {
        Self { calls, common, pool: Pool::default() }
    }

    /// The name of the port.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.common.name
    }

    /// Where the port is bound, with the real port number; `None` while it is down.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.common.local()
    }

    /// Opens the port, unless it is up, and waits until it is bound.
    ///
    /// # Errors
    /// [`Error::PortDown`] says what failed, and where; the port is down then, and opens by itself after `reopen` if it has
    /// `auto_connect`. [`Error::Timeout`], after which only `auto_connect` opens it.
    pub fn connect(&self, timeout: Option<Duration>) -> Result<(), Error> {
        self.call(Ask::Connect, timeout, |_| (), |_, _| ())
    }

    /// Closes the port, and gives up what is unread and unsent. When this returns its socket is gone, and whoever waited
    /// for it has been told.
    ///
    /// # Errors
    /// Only those of every call.
    pub fn disconnect(&self) -> Result<(), Error> {
        self.call(Ask::Disconnect, None, |_| (), |_, _| ())
    }

    /// The next bytes of a datagram, and where they come from. What is left of it comes with the next read, or is lost with
    /// `rest = "discard"`. In FIFO mode it waits for a datagram, and readers are served in the order of their calls. In asyn
    /// mode an empty cache gives no bytes and no reason, at once.
    ///
    /// # Errors
    /// [`Error::EmptyBuffer`]; [`Error::NotConnected`] if the port is down, or goes down; [`Error::Timeout`] if nothing came.
    pub fn read(&self, addr: Addr, buffer: &mut [u8], timeout: Option<Duration>) -> Result<ReadUdp, Error> {
        check(addr)?;
        if buffer.is_empty() {
            return Err(Error::EmptyBuffer);
        }
        let room = buffer.len().min(MOST_ROOM);
        self.call(
            Ask::Read,
            timeout,
            |state| {
                state.reserve(room);
                state.len = room;
            },
            |Answer { len, eom, from, .. }, state| {
                buffer[..len].copy_from_slice(&state.bytes[..len]);
                ReadUdp { len, eom, from }
            },
        )
    }

    /// Says that nobody reads any more. Until the next read nothing is kept for readers while there are subscribers.
    ///
    /// # Errors
    /// Only those of every call.
    pub fn leave(&self) -> Result<(), Error> {
        self.call(Ask::Leave, None, |_| (), |_, _| ())
    }

    /// Queues a datagram: at 0 for the sender of the one last read, by whomever, and at -1 for everybody, as
    /// [`UdpPort::broadcast`] does; then what is taken is the sum. Threads that read side by side had better
    /// [`UdpPort::reply`].
    ///
    /// # Errors
    /// As for [`UdpPort::reply`]; [`Error::NobodyToAnswer`] if nothing has been read yet.
    pub fn write(&self, addr: Addr, bytes: &[u8], timeout: Option<Duration>) -> Result<usize, Error> {
        check(addr)?;
        match addr {
            Addr::Port => self.share(bytes, timeout, |state| {
                let mut sum =
                    UdpBroadcast { outcomes: std::mem::take(&mut state.notes.outcomes), ..Default::default() };
                sum.count(state.len);
                state.notes.outcomes = sum.outcomes;
                sum.accepted
            }),
            Addr::Slot(_) => {
                fits(bytes, MAX_PAYLOAD)?;
                self.call(Ask::Write, timeout, |state| state.put(bytes), |_, state| state.len)
            }
        }
    }

    /// Queues a datagram for this peer, whether it has been heard or not. It waits for room in the queue, not for the
    /// network. Datagrams of several writers go in the order of their calls.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] in asyn mode; [`Error::PortDown`]; [`Error::Full`] if there was no room in time, which is while 64
    /// datagrams or 256 KiB wait; [`Error::TooLong`] for more than 65 507 bytes, or 65 527 to an IPv6 peer.
    pub fn reply(&self, peer: SocketAddr, bytes: &[u8], timeout: Option<Duration>) -> Result<(), Error> {
        fits(bytes, if peer.is_ipv4() { MAX_PAYLOAD_V4 } else { MAX_PAYLOAD })?;
        self.call(Ask::Reply(peer), timeout, |state| state.put(bytes), |_, _| ())
    }

    /// Queues a datagram for every peer heard within `peer_ttl`: for those for whom there is room at once, then within the
    /// timeout for the others. No peer at all is no error. One whose time is over while other writers wait goes ahead of them
    /// to those for whom there is room.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] in asyn mode; [`Error::PortDown`].
    pub fn broadcast(&self, bytes: &[u8], timeout: Option<Duration>) -> Result<UdpBroadcast, Error> {
        let mut result = UdpBroadcast::default();
        self.broadcast_into(bytes, timeout, &mut result).map(|()| result)
    }

    /// [`UdpPort::broadcast`] into a result that is used again, so that nothing is allocated for it.
    ///
    /// # Errors
    /// As for [`UdpPort::broadcast`]; `result` stays as it was then.
    pub fn broadcast_into(
        &self,
        bytes: &[u8],
        timeout: Option<Duration>,
        result: &mut UdpBroadcast,
    ) -> Result<(), Error> {
        self.share(bytes, timeout, |state| {
            result.outcomes.clone_from(&state.notes.outcomes);
            result.count(state.len);
        })
    }

    /// Waits until what is queued is with the system.
    ///
    /// # Errors
    /// [`Error::Timeout`] tells how many bytes are left; [`Error::NotConnected`] if the port is down, or goes down before.
    pub fn drain(&self, addr: Addr, timeout: Option<Duration>) -> Result<(), Error> {
        check(addr)?;
        self.call(Ask::Drain, timeout, |_| (), |_, _| ())
    }

    /// Discards what has been received and not been read; how many bytes that was. Subscribers lose nothing.
    ///
    /// # Errors
    /// [`Error::NotConnected`] while the port is down.
    pub fn flush(&self, addr: Addr) -> Result<usize, Error> {
        check(addr)?;
        self.call(Ask::Flush, None, |_| (), |answer, _| answer.len)
    }

    /// Who sent the datagram last read; `None` before the first.
    ///
    /// # Errors
    /// Only those of every call.
    pub fn peer(&self, addr: Addr) -> Result<Option<SocketAddr>, Error> {
        check(addr)?;
        self.call(Ask::Peer, None, |_| (), |answer, _| answer.peer)
    }

    /// Bytes that wait to be read, and to be sent.
    ///
    /// # Errors
    /// Only those of every call.
    pub fn pending(&self, addr: Addr) -> Result<Pending, Error> {
        check(addr)?;
        self.call(Ask::Pending, None, |_| (), |answer, _| answer.pending)
    }

    /// A UDP port has no children.
    ///
    /// # Errors
    /// Always [`Error::OutOfRange`].
    pub fn child_name(&self, index: u16) -> Result<String, Error> {
        Err(no_child(index))
    }

    /// The names of all children, of which there are none.
    pub fn child_names(&self) -> impl Iterator<Item = String> {
        std::iter::empty()
    }

    /// A UDP port has no children.
    ///
    /// # Errors
    /// Always [`Error::OutOfRange`].
    pub fn subport(&self, index: u16) -> Result<Subport, Error> {
        Err(no_child(index))
    }

    /// The text of an option.
    ///
    /// # Errors
    /// [`Error::Option`] for a key that the port does not have.
    pub fn option(&self, addr: Addr, key: &str) -> Result<String, Error> {
        let key = key.to_owned();
        self.run(move |port| port.option(addr, &key))?
    }

    /// Sets an option.
    ///
    /// # Errors
    /// [`Error::Option`] says what is wrong with the key or the value; the old value stays.
    pub fn set_option(&self, addr: Addr, key: &str, value: &str) -> Result<(), Error> {
        let (key, value) = (key.to_owned(), value.to_owned());
        self.run(move |port| port.set_option(addr, &key, &value))?
    }

    /// Hears from now on what happens at the port, and gets every datagram whole. While there is one who does, the port
    /// keeps nothing for readers that have not read yet.
    ///
    /// # Errors
    /// Only those of every call.
    pub fn subscribe(&self) -> Result<Events<UdpTold>, Error> {
        self.hear(Ear)
    }

    /// Hears from now on what happens at the port, and gets no datagrams: nothing changes for those who do.
    ///
    /// # Errors
    /// Only those of every call.
    pub fn watch(&self) -> Result<Events<UdpTold>, Error> {
        self.hear(Watch)
    }

    /// Has the loop call `f` with the port, and waits for what it returns.
    ///
    /// # Errors
    /// Only those of every call.
    pub fn run<R: Send + 'static>(
        &self,
        f: impl FnOnce(&mut RunningUdp<'_>) -> R + Send + 'static,
    ) -> Result<R, Error> {
        self.calls.run(f)
    }

    fn hear<S: UdpSubscriber + Send + 'static>(
        &self,
        subscriber: fn(Feed<UdpTold>) -> S,
    ) -> Result<Events<UdpTold>, Error> {
        let (events, feed) = pair();
        let subscriber = subscriber(feed);
        self.run(move |port| port.subscribe(Box::new(subscriber)))?;
        Ok(events)
    }

    fn share<R>(
        &self,
        bytes: &[u8],
        timeout: Option<Duration>,
        take: impl FnOnce(&mut State) -> R,
    ) -> Result<R, Error> {
        // One byte more than anybody can get says as much as a thousand.
        let bytes = &bytes[..bytes.len().min(MAX_PAYLOAD + 1)];
        self.call(Ask::Broadcast, timeout, |state| state.put(bytes), |_, state| take(state))
    }

    fn call<R>(
        &self,
        ask: Ask,
        timeout: Option<Duration>,
        prepare: impl FnOnce(&mut State),
        take: impl FnOnce(Answer, &mut State) -> R,
    ) -> Result<R, Error> {
        self.calls.call(&self.pool, ask, timeout, prepare, take)
    }
}

impl Clone for UdpPort {
    /// Another handle, with buffers of its own.
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.calls), Arc::clone(&self.common))
    }
}

impl std::fmt::Debug for UdpPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UdpPort").field("name", &self.name()).finish_non_exhaustive()
    }
}

/// Whether a datagram can be sent at all: one that cannot is not copied.
const fn fits(bytes: &[u8], max: usize) -> Result<(), Error> {
    if bytes.len() > max { Err(Error::TooLong { len: bytes.len(), max }) } else { Ok(()) }
}

fn no_child(index: u16) -> Error {
    Error::OutOfRange { addr: index.into(), slots: 0 }
}
