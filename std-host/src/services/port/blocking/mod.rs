//! The face of a TCP port for threads: calls that wait.
//!
//! The way of a call to the loop and back is that of every kind of port, in `calls`. What a TCP port is asked for is in
//! `ask`; `desk` is what waits on the loop, and `serve` what is tried for it. Nothing is locked while a call waits, so
//! whatever one thread waits for, another may do.
//!
//! A handle keeps the buffers of its calls for the calls to come. Once they have grown to the largest request, a call
//! allocates nothing, here or on the loop.

mod ask;
mod desk;
mod face;
mod serve;
mod spawn;
mod subport;
mod told;

pub use ask::Pending;
pub(super) use desk::Desk;
pub(super) use face::reach;
pub use subport::Subport;
pub use told::Told;

use super::calls::{Calls, Events, Pool, pair};
use super::common::Common;
use super::error::Error;
use super::running::{Addr, Read, Running};
use super::sending::Broadcast;
use super::site::Site;
use ask::{Answer, Ask, State, Whom};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use wharf_core::port::server::{OnClose, Outcome};
use wharf_core::slots::SlotId;

/// Reaches a port from any thread but that of its loop, which would wait for itself. It may outlive the port and the loop.
///
/// Calls that wait take a timeout: zero is one attempt, and `None` waits without limit. The answer is always the loop's, so a
/// loop that is not run, or is busy in a callback, keeps a call beyond its time. Every call may fail with
/// [`Error::OnLoopThread`] and [`Error::Ended`], and with [`Error::OutOfRange`] for a slot that the port does not have.
/// Whoever has clones of a handle shares nothing but the port with them.
pub struct Port {
    calls: Arc<Calls<Site>>,
    common: Arc<Common>,
    pool: Pool<Site>,
}

impl Port {
    pub(super) fn new(calls: Arc<Calls<Site>>, common: Arc<Common>) -> Self {
        Self { calls, common, pool: Pool::default() }
    }

    /// The name of the port.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.common.name
    }

    /// The number of slots.
    #[must_use]
    pub fn slots(&self) -> u32 {
        self.common.slots
    }

    /// Where the port listens; `None` while it is down.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.common.local()
    }

    /// Opens the port, unless it is up, and waits until it listens.
    ///
    /// # Errors
    /// [`Error::PortDown`] says what failed, and where; the port is down then, and opens by itself after `reopen` if it has
    /// `auto_connect`. [`Error::Timeout`], after which only `auto_connect` opens it.
    pub fn connect(&self, timeout: Option<Duration>) -> Result<(), Error> {
        self.call(Ask::Connect, timeout, |_| (), |_, _| ())
    }

    /// Closes the port. When this returns it does not listen any more. With [`OnClose::Drop`] the clients begin to leave,
    /// each for at most `linger`; a [`Port::connect`] that follows waits for them.
    ///
    /// # Errors
    /// Only those of every call.
    pub fn disconnect(&self, clients: OnClose) -> Result<(), Error> {
        self.call(Ask::Disconnect(clients), None, |_| (), |_, _| ())
    }

    /// The next bytes of a slot, as far as they make a message or fill the buffer. Readers of a slot are served in the
    /// order of their calls.
    ///
    /// At the timeout, what is known to be data is given although no message has ended.
    ///
    /// # Errors
    /// [`Error::EmptyBuffer`]; [`Error::NotASlot`] for the whole port; [`Error::NotConnected`] if nobody is there, or once
    /// the end of the input has been given; [`Error::Timeout`] if there was nothing.
    pub fn read(&self, addr: Addr, buffer: &mut [u8], timeout: Option<Duration>) -> Result<Read, Error> {
        self.read_whom(self.slot(addr)?, buffer, timeout)
    }

    /// Queues a message with the output terminator behind it, for a slot or, as [`Port::broadcast`] does, for every client:
    /// how many bytes of it were taken. It waits for room in the queue, not for the network. Messages of several writers
    /// come one after the other, in the order of their calls.
    ///
    /// A message that fits into the queue goes there whole, or with `overflow = "partial"` as far as it fits; a longer one
    /// goes in pieces. With `overflow` `"disconnect"` or `"drop_oldest"` it does not wait.
    ///
    /// # Errors
    /// [`Error::Timeout`] tells how many bytes had been taken; [`Error::NotConnected`] if nobody is there, or not any more;
    /// [`Error::OutputEnded`]; for the whole port those of [`Port::broadcast`].
    pub fn write(&self, addr: Addr, bytes: &[u8], timeout: Option<Duration>) -> Result<usize, Error> {
        match addr {
            Addr::Port => self.call(
                Ask::Broadcast,
                timeout,
                |state| state.put(bytes),
                |_, state| state.notes.shares.iter().map(|share| taken(share.outcome, state.len)).sum(),
            ),
            Addr::Slot(_) => self.write_whom(self.slot(addr)?, bytes, timeout),
        }
    }

    /// [`Port::write`] for exactly this client.
    ///
    /// # Errors
    /// As for [`Port::write`], but [`Error::Stale`] once it has left.
    pub fn write_to(&self, slot: SlotId, bytes: &[u8], timeout: Option<Duration>) -> Result<usize, Error> {
        self.write_whom(self.client(slot)?, bytes, timeout)
    }

    /// Queues a message for every client: for those with room at once, then within the timeout for the others. No client
    /// keeps it from another, and no client at all is no error.
    ///
    /// # Errors
    /// [`Error::PortDown`].
    pub fn broadcast(&self, bytes: &[u8], timeout: Option<Duration>) -> Result<Broadcast, Error> {
        let mut result = Broadcast::default();
        self.broadcast_into(bytes, timeout, &mut result).map(|()| result)
    }

    /// [`Port::broadcast`] into a result that is used again, so that nothing is allocated for it.
    ///
    /// # Errors
    /// As for [`Port::broadcast`]; `result` stays as it was then.
    pub fn broadcast_into(&self, bytes: &[u8], timeout: Option<Duration>, result: &mut Broadcast) -> Result<(), Error> {
        self.call(
            Ask::Broadcast,
            timeout,
            |state| state.put(bytes),
            |_, state| {
                let outcomes = || state.notes.shares.iter().map(|share| share.outcome);
                result.outcomes.clear();
                result.outcomes.extend(outcomes());
                result.queued = outcomes().map(|outcome| u32::from(outcome == Outcome::Queued)).sum();
                result.accepted = outcomes().map(|outcome| taken(outcome, state.len)).sum();
            },
        )
    }

    /// Waits until what is queued for a slot, or for every client, is with the system.
    ///
    /// # Errors
    /// [`Error::Timeout`] tells how many bytes are left; [`Error::NotConnected`] if nobody is in the slot, or if its client
    /// has left before all was sent.
    pub fn drain(&self, addr: Addr, timeout: Option<Duration>) -> Result<(), Error> {
        self.call(Ask::Drain(self.whom(addr)?), timeout, |_| (), |_, _| ())
    }

    /// Ends our output to a client once everything queued is with the system. Input goes on.
    ///
    /// # Errors
    /// [`Error::NotASlot`], [`Error::NotConnected`].
    pub fn shutdown(&self, addr: Addr) -> Result<(), Error> {
        self.done(Ask::ShutDown(self.slot(addr)?))
    }

    /// Discards what a client has sent and nobody has read; how many bytes that was.
    ///
    /// # Errors
    /// [`Error::NotASlot`], [`Error::NotConnected`].
    pub fn flush(&self, addr: Addr) -> Result<usize, Error> {
        self.count(Ask::Flush(self.slot(addr)?))
    }

    /// Closes a client after what is queued has been sent, for which it has `linger`. False: nobody was there.
    ///
    /// # Errors
    /// [`Error::NotASlot`].
    pub fn drop_client(&self, addr: Addr) -> Result<bool, Error> {
        self.found(Ask::Drop(self.slot(addr)?))
    }

    /// Closes a client at once, by a reset. False: nobody was there.
    ///
    /// # Errors
    /// [`Error::NotASlot`].
    pub fn abort_client(&self, addr: Addr) -> Result<bool, Error> {
        self.found(Ask::Abort(self.slot(addr)?))
    }

    /// Waits until a client is in a slot, or in any: then the lowest. One that is about to leave does not count.
    ///
    /// # Errors
    /// [`Error::Timeout`].
    pub fn wait_client(&self, addr: Addr, timeout: Option<Duration>) -> Result<SlotId, Error> {
        self.await_whom(self.whom(addr)?, timeout)
    }

    /// Where the client of a slot comes from.
    ///
    /// # Errors
    /// [`Error::NotASlot`].
    pub fn peer(&self, addr: Addr) -> Result<Option<SocketAddr>, Error> {
        Ok(self.who(self.slot(addr)?)?.peer)
    }

    /// Who sits in a slot.
    ///
    /// # Errors
    /// [`Error::NotASlot`].
    pub fn slot_id(&self, addr: Addr) -> Result<Option<SlotId>, Error> {
        Ok(self.who(self.slot(addr)?)?.slot)
    }

    /// Bytes that wait in the queues of a slot, or of all together.
    ///
    /// # Errors
    /// Only those of every call.
    pub fn pending(&self, addr: Addr) -> Result<Pending, Error> {
        self.pending_whom(self.whom(addr)?)
    }

    /// The name of a slot, which it has whoever sits in it.
    ///
    /// # Errors
    /// [`Error::OutOfRange`].
    pub fn child_name(&self, index: u16) -> Result<String, Error> {
        self.whom(Addr::Slot(index)).map(|_| format!("{}:{index}", self.name()))
    }

    /// The names of all slots.
    pub fn child_names(&self) -> impl Iterator<Item = String> {
        (0..self.slots()).map(|index| format!("{}:{index}", self.name()))
    }

    /// A handle of one slot.
    ///
    /// # Errors
    /// [`Error::OutOfRange`].
    pub fn subport(&self, index: u16) -> Result<Subport, Error> {
        let whom = self.whom(Addr::Slot(index))?;
        Ok(Subport::new(self.clone(), index, whom))
    }

    /// The text of an option, of the port's default or of a slot.
    ///
    /// # Errors
    /// [`Error::Option`] for a key that a port does not have.
    pub fn option(&self, addr: Addr, key: &str) -> Result<String, Error> {
        let key = key.to_owned();
        self.run(move |port| port.option(addr, &key))?
    }

    /// Sets an option of a slot, or of the port: then it is set for the slots to come and for every slot.
    ///
    /// # Errors
    /// [`Error::Option`] says what is wrong with the key or the value; the old value stays.
    pub fn set_option(&self, addr: Addr, key: &str, value: &str) -> Result<(), Error> {
        let (key, value) = (key.to_owned(), value.to_owned());
        self.run(move |port| port.set_option(addr, &key, &value))?
    }

    /// Hears from now on what happens at the port.
    ///
    /// # Errors
    /// Only those of every call.
    pub fn subscribe(&self) -> Result<Events, Error> {
        let (events, subscriber) = pair();
        self.run(move |port| port.subscribe(Box::new(subscriber)))?;
        Ok(events)
    }

    /// Has the loop call `f` with the port, and waits for what it returns.
    ///
    /// # Errors
    /// Only those of every call.
    pub fn run<R: Send + 'static>(&self, f: impl FnOnce(&mut Running<'_>) -> R + Send + 'static) -> Result<R, Error> {
        self.calls.run(f)
    }

    fn read_whom(&self, whom: Whom, buffer: &mut [u8], timeout: Option<Duration>) -> Result<Read, Error> {
        if buffer.is_empty() {
            return Err(Error::EmptyBuffer);
        }
        let room = buffer.len();
        self.call(
            Ask::Read(whom),
            timeout,
            |state| {
                // No queue has more to give.
                state.reserve(room.min(self.common.rx_queue));
                state.len = room;
            },
            |Answer { len, eom, slot, .. }, state| {
                buffer[..len].copy_from_slice(&state.bytes[..len]);
                Read { len, eom, slot }
            },
        )
    }

    fn write_whom(&self, whom: Whom, bytes: &[u8], timeout: Option<Duration>) -> Result<usize, Error> {
        self.call(Ask::Write(whom), timeout, |state| state.put(bytes), |_, state| state.len)
    }

    fn await_whom(&self, whom: Whom, timeout: Option<Duration>) -> Result<SlotId, Error> {
        self.call(Ask::AwaitClient(whom), timeout, |_| (), |answer, _| answer.slot)?.ok_or(Error::NotConnected)
    }

    fn who(&self, whom: Whom) -> Result<Answer, Error> {
        self.call(Ask::Who(whom), None, |_| (), |answer, _| answer)
    }

    fn pending_whom(&self, whom: Whom) -> Result<Pending, Error> {
        self.call(Ask::Pending(whom), None, |_| (), |answer, _| answer.pending)
    }

    fn done(&self, ask: Ask) -> Result<(), Error> {
        self.call(ask, None, |_| (), |_, _| ())
    }

    fn count(&self, ask: Ask) -> Result<usize, Error> {
        self.call(ask, None, |_| (), |answer, _| answer.len)
    }

    fn found(&self, ask: Ask) -> Result<bool, Error> {
        self.call(ask, None, |_| (), |answer, _| answer.found)
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

    fn whom(&self, addr: Addr) -> Result<Whom, Error> {
        match addr {
            Addr::Slot(index) if u32::from(index) >= self.slots() => {
                Err(Error::OutOfRange { addr: index.into(), slots: self.slots() })
            }
            Addr::Slot(_) | Addr::Port => Ok(Whom { addr, client: None }),
        }
    }

    fn slot(&self, addr: Addr) -> Result<Whom, Error> {
        if addr == Addr::Port { Err(Error::NotASlot) } else { self.whom(addr) }
    }

    fn client(&self, slot: SlotId) -> Result<Whom, Error> {
        let index = slot.index();
        let out_of_range = Error::OutOfRange { addr: i32::try_from(index).unwrap_or(i32::MAX), slots: self.slots() };
        let addr = u16::try_from(index).map(Addr::Slot).map_err(|_| out_of_range)?;
        Ok(Whom { client: Some(slot), ..self.whom(addr)? })
    }
}

impl Clone for Port {
    /// Another handle, with buffers of its own.
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.calls), Arc::clone(&self.common))
    }
}

impl std::fmt::Debug for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Port").field("name", &self.name()).finish_non_exhaustive()
    }
}

/// Bytes that a slot has taken of a message for all.
const fn taken(outcome: Outcome, len: usize) -> usize {
    match outcome {
        Outcome::Queued => len,
        Outcome::Partial { accepted } => accepted as usize,
        Outcome::Full | Outcome::Closed | Outcome::Free => 0,
    }
}
