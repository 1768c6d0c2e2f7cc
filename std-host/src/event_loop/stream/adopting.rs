//! Streams that come from outside and go there again: adopting and detaching.

use super::any::AnyStream;
use super::pool::GATHER;
use super::{LastWord, Phase, StreamState};
use crate::event_loop::context::ContextKey;
use crate::event_loop::handler::Handler;
use crate::event_loop::state::{Core, Object};
use crate::event_loop::{Address, CloseReason, Error, LoopMut, SocketId};
use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use wharf_core::slots::SlotId;

/// A stream that has left its loop. It is `Send`, for [`LoopMut::adopt`] on another one.
#[derive(Debug)]
#[non_exhaustive]
pub struct Detached {
    /// The stream. It does not block. [`LoopMut::adopt`] takes it as it is.
    pub stream: Released,
    /// Bytes that the loop had read and not delivered, which come before all that the stream has to give. A plain
    /// stream has none: what is not delivered is left with the system.
    pub unread: Vec<u8>,
    /// Bytes that were queued. They come before all that is written from now on.
    pub unsent: Vec<u8>,
}

/// A stream between two loops. It knows what the system would not tell: whether its output has been ended by
/// [`Stream::shutdown`](super::Stream::shutdown). Made from all that is an [`AnyStream`].
#[derive(Debug)]
pub struct Released {
    stream: AnyStream,
    output_ended: bool,
}

impl Released {
    /// Whether our end has been sent, so that nothing can be written any more.
    #[must_use]
    pub const fn is_shut_down(&self) -> bool {
        self.output_ended
    }

    /// The stream alone, for use outside of a loop.
    #[must_use]
    pub fn into_stream(self) -> AnyStream {
        self.stream
    }
}

impl<S: Into<AnyStream>> From<S> for Released {
    fn from(stream: S) -> Self {
        Self { stream: stream.into(), output_ended: false }
    }
}

impl<T> LoopMut<'_, T> {
    /// Takes a connected stream over, in the context `key`. `open` follows in the same iteration. One that another loop
    /// has shut down and [detached](LoopMut::detach) is shut down here as well.
    ///
    /// # Errors
    /// [`Error::Io`] with what the system says, [`Error::Stale`] for the key of another loop, [`Error::Ended`].
    pub fn adopt<H: Handler<T>>(
        &mut self,
        stream: impl Into<Released>,
        key: ContextKey<H>,
        data: H::Data,
    ) -> Result<SocketId, Error> {
        self.core.refuse_if_ended()?;
        self.typed(key)?;
        let Released { stream, output_ended } = stream.into();
        let kind = kind_of(&stream);
        let failed = |source| Error::io("adopt", kind, source);
        let net = self.core.net.adopt_any(stream).map_err(failed)?;
        let peer = match self.core.net.peer(net) {
            Ok(peer) => peer,
            Err(source) => {
                self.core.net.close(net, false);
                return Err(failed(source));
            }
        };
        let place = self.typed(key)?.table.add(data);
        let mut state = StreamState::new(Some(net), key.index, place, Phase::Starting);
        (state.peer, state.shut_down, state.output_ended) = (peer, output_ended, output_ended);
        let id = self.core.add_stream(state);
        if let Err(source) = self.core.net.watch(net, id.to_bits(), false) {
            self.core.drop_stream(id);
            self.core.context(key.index).forget(place);
            return Err(failed(source));
        }
        self.core.opening.push(id);
        Ok(SocketId(id))
    }

    /// [`LoopMut::adopt`] of any descriptor that can be polled: a pseudo-terminal, a FIFO. What is no socket is read
    /// and written as a file. Our end of it can be told only by closing it: `shutdown` refuses further writes, and
    /// `finish` closes as soon as all is written. Not to block is a property that a descriptor shares with its
    /// duplicates.
    ///
    /// # Errors
    /// As for [`LoopMut::adopt`].
    pub fn adopt_fd<H: Handler<T>>(
        &mut self,
        fd: OwnedFd,
        key: ContextKey<H>,
        data: H::Data,
    ) -> Result<SocketId, Error> {
        self.adopt(fd, key, data)
    }

    /// Gives an open stream back, with what the loop holds of it, for another loop or for none. Nothing is sent or lost
    /// by that, and the peer sees nothing of it. `close` follows, with [`CloseReason::Detached`].
    ///
    /// # Errors
    /// [`Error::Stale`], [`Error::NotOpen`], [`Error::Closed`] after `close`, `finish` or a failure to send,
    /// [`Error::NotEmpty`] if our end is to follow bytes that are still queued, [`Error::Io`] with TLS.
    pub fn detach(&mut self, id: SocketId) -> Result<Detached, Error> {
        let stream = self.core.stream(id.0).ok_or(Error::Stale)?;
        stream.check_open()?;
        if !stream.can_send() {
            return Err(Error::Closed);
        }
        if stream.tls.is_some() {
            return Err(Error::io("detach", &stream.peer, io::ErrorKind::Unsupported.into()));
        }
        if stream.shut_down && !stream.queue.is_empty() {
            return Err(Error::NotEmpty);
        }
        let net = stream.net.ok_or(Error::NotOpen)?;
        let Some(fd) = self.core.net.take(net) else {
            let peer = self.core.stream(id.0).map_or(&Address::Unnamed, |stream| &stream.peer);
            return Err(Error::io("detach", peer, io::ErrorKind::Unsupported.into()));
        };
        let unsent = self.core.take_queue(id.0);
        let Some(stream) = self.core.stream_mut(id.0) else { return Err(Error::Stale) };
        stream.net = None;
        let output_ended = stream.output_ended;
        self.core.leave(id.0, Some(LastWord::Close(CloseReason::Detached)));
        Ok(Detached { stream: Released { stream: fd.into(), output_ended }, unread: Vec::new(), unsent })
    }
}

impl<T> Core<T> {
    fn take_queue(&mut self, id: SlotId) -> Vec<u8> {
        let Some(Object::Stream(stream)) = self.objects.get_mut(id) else { return Vec::new() };
        let mut bytes = Vec::with_capacity(stream.queue.len());
        while !stream.queue.is_empty() {
            let mut pieces = [IoSlice::new(&[]); GATHER];
            let (count, total) = self.pool.front(&stream.queue, &mut pieces);
            bytes.extend(pieces[..count].iter().flat_map(|piece| piece.iter()));
            self.pool.consume(&mut stream.queue, total);
        }
        bytes
    }
}

fn kind_of(stream: &AnyStream) -> &'static str {
    match stream {
        AnyStream::Tcp(_) => "a TCP stream",
        AnyStream::Unix(_) => "a UNIX stream",
        AnyStream::Other(_) => "a descriptor",
    }
}
