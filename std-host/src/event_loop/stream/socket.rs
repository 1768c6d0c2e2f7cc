//! Streams as their users see them.

use super::{Phase, StreamState};
use crate::event_loop::context::ContextKey;
use crate::event_loop::handler::Handler;
use crate::event_loop::state::Core;
use crate::event_loop::{Address, CloseReason, Error, LoopMut};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::os::fd::BorrowedFd;
use wharf_core::slots::SlotId;

/// Names a socket; stale after its close, never somebody else's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketId(pub(in crate::event_loop) SlotId);

/// A socket's operations, reached by its id: [`LoopMut::stream`]. A [`Socket`] has them too.
pub struct Stream<'a, T: 'static> {
    lp: LoopMut<'a, T>,
    id: SocketId,
}

/// The socket at hand in a callback, with its data. It has all operations of a [`Stream`].
pub struct Socket<'a, T: 'static, D> {
    stream: Stream<'a, T>,
    data: &'a mut D,
}

impl<'a, T, D> Socket<'a, T, D> {
    pub(in crate::event_loop) const fn new(core: &'a mut Core<T>, id: SocketId, data: &'a mut D) -> Self {
        Self { stream: Stream { lp: LoopMut { core }, id }, data }
    }

    /// The socket's own data.
    pub const fn data(&mut self) -> &mut D {
        self.data
    }

    /// The rest of the loop.
    pub const fn loop_mut(&mut self) -> &mut LoopMut<'a, T> {
        &mut self.stream.lp
    }

    /// The data and the rest of the loop.
    pub const fn parts(&mut self) -> (&mut D, &mut LoopMut<'a, T>) {
        (self.data, &mut self.stream.lp)
    }

    /// The data and the socket's operations: for writing what lies in the data.
    pub const fn split(&mut self) -> (&mut D, &mut Stream<'a, T>) {
        (self.data, &mut self.stream)
    }
}

impl<'a, T, D> Deref for Socket<'a, T, D> {
    type Target = Stream<'a, T>;

    fn deref(&self) -> &Self::Target {
        &self.stream
    }
}

impl<T, D> DerefMut for Socket<'_, T, D> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.stream
    }
}

impl<T, D: fmt::Debug> fmt::Debug for Socket<'_, T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("stream", &self.stream).field("data", &self.data).finish()
    }
}

impl<T> fmt::Debug for Stream<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("id", &self.id).field("peer", &self.state().peer).finish_non_exhaustive()
    }
}

impl<T> Stream<'_, T> {
    /// The socket's id.
    #[must_use]
    pub const fn id(&self) -> SocketId {
        self.id
    }

    /// Loop time: [`LoopMut::now`].
    #[must_use]
    pub const fn now(&self) -> wharf_core::Instant {
        self.lp.now()
    }

    /// The clock of the loop, read anew: [`LoopMut::clock`].
    #[must_use]
    pub fn clock(&mut self) -> wharf_core::Instant {
        self.lp.clock()
    }

    /// Sends `bytes` directly if nothing is queued, and queues the rest up to `tx_limit`. Returns what was sent or
    /// queued; less than all, 0 included, means that `writable` will come.
    ///
    /// # Errors
    /// [`Error::NotOpen`], [`Error::ShutDown`] after `shutdown` or `finish`, [`Error::Closed`] after a close or once
    /// sending has failed (then `close` will tell why).
    pub fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        self.write2(bytes, &[])
    }

    /// [`Stream::write`] of two pieces in one system call, as one unit.
    ///
    /// # Errors
    /// As for [`Stream::write`].
    pub fn write2(&mut self, head: &[u8], body: &[u8]) -> Result<usize, Error> {
        self.lp.core.put(self.id.0, head, body, false)
    }

    /// [`Stream::write`] with more to follow in this callback: the bytes are gathered, up to 16 KiB, and leave with the
    /// next plain write, at [`Stream::flush`], or in the same iteration.
    ///
    /// # Errors
    /// As for [`Stream::write`].
    pub fn write_more(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        self.sender()?;
        self.lp.core.gather(self.id.0);
        self.lp.core.put(self.id.0, bytes, &[], true)
    }

    /// Gathers all writes of this socket, up to 16 KiB at a time, until [`Stream::flush`], the end of the callback, or
    /// the cork of another socket.
    ///
    /// # Errors
    /// As for [`Stream::write`].
    pub fn cork(&mut self) -> Result<(), Error> {
        self.sender()?;
        self.lp.core.cork(self.id.0);
        Ok(())
    }

    /// Sends what [`Stream::cork`] and [`Stream::write_more`] have gathered, and ends the cork.
    ///
    /// # Errors
    /// As for [`Stream::write`].
    pub fn flush(&mut self) -> Result<(), Error> {
        self.sender()?;
        self.lp.core.release(self.id.0);
        Ok(())
    }

    /// Sends without queueing. What was gathered before leaves first. Returns what the system took; the rest stays the
    /// caller's, and `writable` will come. With TLS whole records are taken, and what the system does not take of their
    /// ciphertext, at most 64 KiB, waits; [`Stream::queued`] counts it.
    ///
    /// # Errors
    /// [`Error::NotEmpty`] while bytes are queued; else as for [`Stream::write`].
    pub fn write_now(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        self.write_now2(bytes, &[])
    }

    /// [`Stream::write_now`] of two pieces in one system call.
    ///
    /// # Errors
    /// As for [`Stream::write_now`].
    pub fn write_now2(&mut self, head: &[u8], body: &[u8]) -> Result<usize, Error> {
        self.lp.core.put_now(self.id.0, head, body)
    }

    /// Delivers at most `bytes` more, until told otherwise.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn limit_read(&mut self, bytes: u64) -> Result<(), Error> {
        self.not_closed()?;
        self.lp.core.set_limit(self.id.0, bytes);
        Ok(())
    }

    /// Delivers nothing until [`Stream::resume`]. What has arrived stays with the system.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn pause(&mut self) -> Result<(), Error> {
        self.limit_read(0)
    }

    /// Delivers without a limit.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn resume(&mut self) -> Result<(), Error> {
        self.limit_read(u64::MAX)
    }

    /// Ends our side after what is queued. Input goes on, to the last byte.
    ///
    /// # Errors
    /// [`Error::NotOpen`], [`Error::Closed`].
    pub fn shutdown(&mut self) -> Result<(), Error> {
        self.state().check_open()?;
        self.lp.core.shut_down(self.id.0);
        Ok(())
    }

    /// No more `data` and no `end`: what arrives is thrown away and counted. Output goes on.
    ///
    /// # Errors
    /// [`Error::NotOpen`], [`Error::Closed`].
    pub fn shutdown_read(&mut self) -> Result<(), Error> {
        self.state().check_open()?;
        let id = self.id.0;
        if let Some(state) = self.lp.core.stream_mut(id) {
            state.discards = true;
        }
        self.lp.core.set_limit(id, u64::MAX);
        Ok(())
    }

    /// Closes now. What is queued is dropped and counted. A socket that has not opened is cancelled.
    pub fn close(&mut self, code: u32) {
        self.lp.core.begin_close(self.id.0, CloseReason::Local { code });
    }

    /// Closes now, with a reset. A socket that has not opened is cancelled.
    pub fn abort(&mut self) {
        self.lp.core.begin_close(self.id.0, CloseReason::Aborted);
    }

    /// Closes once what is queued has been sent and the peer has answered our end by its own. It waits at most 2 s for
    /// that answer, and as long for the peer to take more of the queue. Nothing is delivered any more.
    ///
    /// # Errors
    /// [`Error::NotOpen`], [`Error::Closed`].
    pub fn finish(&mut self) -> Result<(), Error> {
        self.state().check_open()?;
        self.lp.core.finish(self.id.0);
        Ok(())
    }

    /// Ends a connection that has not opened, without a callback.
    ///
    /// # Errors
    /// [`Error::Closed`] if it is open or closed.
    pub fn cancel(&mut self) -> Result<(), Error> {
        match self.state().phase {
            Phase::Starting | Phase::Connecting | Phase::Handshaking => self.lp.core.cancel(self.id.0),
            Phase::Open | Phase::Finishing | Phase::Closing => return Err(Error::Closed),
        }
        Ok(())
    }

    /// Whether the socket is left out when the loop looks for a reason to go on.
    pub fn unref(&mut self, unref: bool) {
        self.lp.core.set_unref(self.id.0, unref);
    }

    /// Bytes that wait to be sent. With TLS they are counted before encryption.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.state().waiting()
    }

    /// The address of this side.
    ///
    /// # Errors
    /// [`Error::Io`] with what the system says, [`Error::NotOpen`] before there is a descriptor.
    pub fn local(&self) -> Result<Address, Error> {
        let net = self.state().net.ok_or(Error::NotOpen)?;
        self.lp.core.net.local(net).map_err(|source| Error::io("ask for the address of", self.peer(), source))
    }

    /// The IP address of this side.
    ///
    /// # Errors
    /// As for [`Stream::local`], and [`Error::Io`] if it has none.
    pub fn local_addr(&self) -> Result<SocketAddr, Error> {
        let unsupported = || Error::io("ask for the IP address of", self.peer(), io::ErrorKind::Unsupported.into());
        self.local()?.inet().ok_or_else(unsupported)
    }

    /// The address of the peer, or the one that is being connected to. A UNIX peer may be unnamed, and one whose name
    /// is being resolved is.
    #[must_use]
    pub fn peer(&self) -> &Address {
        &self.state().peer
    }

    /// The IP address of the peer, if it has one.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer().inet()
    }

    /// Whether `shutdown` or `finish` was called.
    #[must_use]
    pub fn is_shut_down(&self) -> bool {
        self.state().shut_down
    }

    /// Whether nothing but `close` will happen.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state().phase == Phase::Closing
    }

    /// Whether the system has reported a hang-up; reading tells which end it is.
    #[must_use]
    pub fn is_hung_up(&self) -> bool {
        self.state().has_hung_up
    }

    /// The descriptor; `None` before there is one, and in a simulated world.
    #[must_use]
    pub fn raw(&self) -> Option<BorrowedFd<'_>> {
        self.lp.core.net.fd(self.state().net?)
    }

    pub(super) const fn core(&mut self) -> &mut Core<T> {
        self.lp.core
    }

    pub(super) const fn loop_of(&self) -> &LoopMut<'_, T> {
        &self.lp
    }

    /// Refuses what needs a socket that is open.
    pub(super) fn opened(&self) -> Result<(), Error> {
        self.state().check_open()
    }

    pub(super) fn state(&self) -> &StreamState {
        self.lp.core.stream(self.id.0).expect("a socket that is borrowed here stays in the table")
    }

    fn not_closed(&self) -> Result<(), Error> {
        if self.is_closed() { Err(Error::Closed) } else { Ok(()) }
    }

    fn sender(&self) -> Result<(), Error> {
        self.state().check_sender()
    }
}

impl<T> LoopMut<'_, T> {
    /// A socket's operations.
    ///
    /// # Errors
    /// [`Error::Stale`].
    pub fn stream(&mut self, id: SocketId) -> Result<Stream<'_, T>, Error> {
        self.core.stream(id.0).ok_or(Error::Stale)?;
        Ok(Stream { lp: LoopMut { core: self.core }, id })
    }

    /// Calls `f` with a socket and its data, from anywhere on the loop.
    ///
    /// # Errors
    /// [`Error::Stale`] if the id or the key names nothing here, [`Error::Busy`] inside the socket's own callback.
    pub fn with_socket<H: Handler<T>, R>(
        &mut self,
        key: ContextKey<H>,
        id: SocketId,
        f: impl FnOnce(&mut Socket<'_, T, H::Data>) -> R,
    ) -> Result<R, Error> {
        let place = self.place(key, id)?;
        let context = self.core.context(key.index);
        let context = Self::downcast::<H>(&*context).ok_or(Error::Stale)?;
        let mut data = context.table.borrow(place)?;
        Ok(f(&mut Socket::new(self.core, id, &mut data)))
    }
}
