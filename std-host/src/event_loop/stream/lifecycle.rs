//! How streams come to life and how they end: opening, connecting, closing.

use super::{FINISH_WAIT, LastWord, Phase};
use crate::event_loop::context::Farewell;
use crate::event_loop::handler::Opened;
use crate::event_loop::state::{Core, Object};
use crate::event_loop::timers::{Action, TimerId};
use crate::event_loop::{CloseReason, Error, SocketId};
use std::io;
use wharf_core::slots::SlotId;

impl<T> Core<T> {
    /// Lets sockets that were made in callbacks come to life.
    ///
    /// What is made meanwhile has its turn at the next call: a socket that makes another as it opens cannot hold the loop.
    #[inline]
    pub(in crate::event_loop) fn run_openings(&mut self) {
        if !self.opening.is_empty() {
            self.open_all();
        }
    }

    #[cold]
    fn open_all(&mut self) {
        let present = self.opening.len();
        for at in 0..present {
            let id = self.opening[at];
            match self.stream(id) {
                Some(stream) if stream.phase != Phase::Starting => {}
                Some(stream) if stream.connecting.is_some() => self.start_connecting(id),
                Some(_) => self.begin(id, Opened::Adopted),
                None => {}
            }
        }
        self.opening.drain(..present);
    }

    pub(in crate::event_loop) fn open_stream(&mut self, id: SlotId, how: Opened) {
        let Some(stream) = self.stream_mut(id) else { return };
        stream.phase = Phase::Open;
        let (context, place, timer) = (stream.context, stream.place, stream.timer.take());
        if let Some(TimerId(timer)) = timer {
            self.timers.remove(timer);
        }
        self.stats.opened += 1;
        self.context(context).open(self, SocketId(id), place, how);
        self.after_callback("open");
    }

    /// Connecting or finishing has taken too long.
    pub(in crate::event_loop) fn stream_timeout(&mut self, id: SlotId) {
        let Some(stream) = self.stream_mut(id) else { return };
        stream.timer = None;
        match stream.phase {
            Phase::Starting | Phase::Connecting => self.connecting_timeout(id),
            Phase::Handshaking => self.handshake_timed_out(id),
            Phase::Finishing => self.begin_close(id, CloseReason::Local { code: 0 }),
            Phase::Open | Phase::Closing => {}
        }
    }

    /// Takes a socket out that nobody has heard of yet. Its data stays.
    pub(in crate::event_loop) fn drop_stream(&mut self, id: SlotId) {
        if let Some(Object::Stream(stream)) = self.objects.remove(id) {
            self.alive -= usize::from(stream.counts);
            self.stats.sockets -= 1;
            if let Some(net) = stream.net {
                self.net.close(net, false);
            }
        }
    }

    /// Forgets a socket that has not opened, without a callback.
    pub(in crate::event_loop) fn cancel(&mut self, id: SlotId) {
        self.leave(id, None);
    }

    /// From now on nothing but `close` happens to the socket.
    #[cold]
    pub(in crate::event_loop) fn begin_close(&mut self, id: SlotId, reason: CloseReason) {
        match self.stream(id).map(|stream| stream.phase) {
            Some(Phase::Open | Phase::Finishing) => self.leave(id, Some(LastWord::Close(reason))),
            Some(Phase::Starting | Phase::Connecting | Phase::Handshaking) => self.leave(id, None),
            Some(Phase::Closing) | None => {}
        }
    }

    /// The loop ends.
    pub(in crate::event_loop) fn end_object(&mut self, id: SlotId) {
        match self.stream(id).map(|stream| stream.phase) {
            Some(Phase::Starting | Phase::Connecting) => {
                let tried = self.tried(id);
                self.leave(id, Some(LastWord::ConnectError(Box::new((Error::Ended, tried)))));
            }
            Some(Phase::Handshaking) => {
                let last_word = self.unopened(id, Error::Ended, |_| CloseReason::LoopEnded);
                self.leave(id, Some(last_word));
            }
            Some(Phase::Open | Phase::Finishing) => self.begin_close(id, CloseReason::LoopEnded),
            Some(Phase::Closing) => {}
            None => {
                self.close_listener(id);
                self.close_udp(id);
            }
        }
    }

    pub(super) fn leave(&mut self, id: SlotId, last_word: Option<LastWord>) {
        self.forget_handshake(id);
        let Some(stream) = self.stream_mut(id).filter(|stream| stream.phase != Phase::Closing) else { return };
        stream.phase = Phase::Closing;
        stream.resets = matches!(last_word, Some(LastWord::Close(CloseReason::Aborted)));
        let (counts, timer, connecting) = (stream.counts, stream.timer.take(), stream.connecting.take());
        self.alive -= usize::from(counts);
        if let Some(connecting) = connecting {
            self.end_connecting(&connecting);
        }
        if let Some(TimerId(timer)) = timer {
            self.timers.remove(timer);
        }
        self.drop_timeouts(id);
        self.closing.push((id, last_word));
    }

    pub(in crate::event_loop) fn drop_queue(&mut self, id: SlotId) -> u64 {
        let Some(Object::Stream(stream)) = self.objects.get_mut(id) else { return 0 };
        let sealed = stream.tls.as_mut().map_or(0, |tls| std::mem::take(&mut tls.sealed));
        (self.pool.clear(&mut stream.queue) + sealed) as u64
    }

    /// Step 8: `close` callbacks, then the descriptors and ids of what has been closed.
    #[inline]
    pub(in crate::event_loop) fn run_closings(&mut self) {
        if !self.closing.is_empty() {
            self.close_all();
        }
    }

    #[cold]
    fn close_all(&mut self) {
        let mut next = 0;
        while let Some((id, last_word)) = self.closing.get_mut(next) {
            let (id, last_word) = (*id, last_word.take());
            next += 1;
            let unsent = self.drop_queue(id);
            let Some(stream) = self.stream_mut(id) else { continue };
            let unsent = unsent + stream.lost;
            let (context, place) = (stream.context, stream.place);
            let (received, sent) = (stream.received, stream.sent);
            match last_word {
                Some(LastWord::Close(reason)) => {
                    if unsent == 0 && matches!(reason, CloseReason::Local { .. } | CloseReason::LoopEnded) {
                        // It is a courtesy: without room for it the peer sees a truncation.
                        self.say_goodbye(id);
                    }
                    self.count_close(&reason, unsent);
                    let last = Farewell { reason, unsent, received, sent };
                    self.context(context).close(self, SocketId(id), place, last);
                    self.after_callback("close");
                }
                Some(LastWord::ConnectError(failure)) => {
                    let (error, tried) = *failure;
                    self.stats.connect_failed += 1;
                    self.context(context).connect_error(self, SocketId(id), place, error, tried);
                    self.after_callback("connect_error");
                }
                None => self.context(context).forget(place),
            }
        }
        for at in 0..self.closing.len() {
            match self.objects.remove(self.closing[at].0) {
                Some(Object::Stream(stream)) => {
                    self.stats.sockets -= 1;
                    if let Some(net) = stream.net {
                        self.net.close(net, stream.resets);
                    }
                    if let Some(listener) = stream.listener {
                        self.socket_released(listener);
                    }
                }
                Some(Object::Udp(udp)) => self.release_udp(&udp),
                Some(Object::Listener(_)) | None => {}
            }
        }
        self.closing.clear();
    }

    fn count_close(&mut self, reason: &CloseReason, unsent: u64) {
        self.stats.unsent += unsent;
        let counter = match reason {
            CloseReason::Peer => &mut self.stats.closed_peer,
            CloseReason::PeerReset => &mut self.stats.closed_reset,
            CloseReason::Local { .. } | CloseReason::Detached => &mut self.stats.closed_local,
            CloseReason::Aborted => &mut self.stats.closed_aborted,
            CloseReason::Failed(_)
            | CloseReason::HandshakeFailed(_)
            | CloseReason::HandshakeTimeout
            | CloseReason::Truncated => &mut self.stats.closed_failed,
            CloseReason::LoopEnded => &mut self.stats.closed_ended,
        };
        *counter += 1;
    }

    pub(in crate::event_loop) fn close_if_both_ended(&mut self, id: SlotId) {
        let Some(stream) = self.stream(id) else { return };
        if stream.input_ended && stream.output_ended {
            let finished = stream.phase == Phase::Finishing;
            let reason = if finished { CloseReason::Local { code: 0 } } else { CloseReason::Peer };
            self.begin_close(id, reason);
        }
    }

    /// Reading or writing has failed for good.
    #[cold]
    pub(in crate::event_loop) fn fail(&mut self, id: SlotId, error: io::Error, op: &'static str) {
        let Some(stream) = self.stream(id) else { return };
        if stream.phase == Phase::Handshaking {
            let object = stream.peer_name();
            return self.handshake_failed(id, Error::Io { op, object, source: error });
        }
        // To end the output of a connection that has been reset is refused because there is none any more.
        let gone = [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe, io::ErrorKind::NotConnected];
        let reason = if gone.contains(&error.kind()) {
            CloseReason::PeerReset
        } else {
            CloseReason::Failed(Error::io(op, &stream.peer, error))
        };
        self.begin_close(id, reason);
    }

    pub(in crate::event_loop) fn finish(&mut self, id: SlotId) {
        let Some(stream) = self.stream_mut(id).filter(|stream| stream.phase == Phase::Open) else { return };
        if stream.input_ended && stream.output_ended {
            return self.begin_close(id, CloseReason::Peer);
        }
        (stream.phase, stream.discards) = (Phase::Finishing, true);
        let readable = stream.readable;
        self.drop_timeouts(id);
        if readable {
            self.mark_ready(id);
        }
        self.shut_down(id);
        if self.stream(id).is_some_and(|stream| stream.phase == Phase::Finishing) {
            let timer = self.add_internal(Action::Stream(id), FINISH_WAIT);
            if let Some(stream) = self.stream_mut(id) {
                stream.timer = Some(timer);
            }
        }
    }
}
