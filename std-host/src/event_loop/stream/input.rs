//! Reading: from the system into the shared buffer, and on to the handler.

use super::{Phase, Stream, StreamState};
use crate::event_loop::net::Net;
use crate::event_loop::state::{Core, Object};
use crate::event_loop::{CloseReason, Error, LoopOptions, SocketId, Stats};
use std::cell::Cell;
use std::fmt;
use std::io;
use std::ops::Deref;
use std::rc::Rc;
use wharf_core::slots::SlotId;

/// Bytes that [`Stream::read`] has taken from the system. They lie in the loop's shared receive buffer, which goes back
/// to the loop when this is dropped; until then nothing else can be read by hand.
pub struct Received {
    buffer: Vec<u8>,
    len: usize,
    more: bool,
    home: Rc<Cell<Vec<u8>>>,
}

impl Received {
    /// Whether another read may bring something; if not, `readable` comes first. Behind the end, which is empty, nothing
    /// comes.
    #[must_use]
    pub const fn may_be_more(&self) -> bool {
        self.more
    }
}

impl Deref for Received {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received").field("len", &self.len).finish_non_exhaustive()
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        self.home.set(std::mem::take(&mut self.buffer));
    }
}

/// What one read came to.
pub(super) enum Taken {
    Bytes(usize),
    /// So much ciphertext that has made no plaintext yet.
    Unripe(usize),
    End,
    Nothing,
    Failed(io::Error),
    /// The connection is over for a reason that is not the system's.
    Over(Box<CloseReason>),
}

impl<T> Stream<'_, T> {
    /// Takes at most `max` bytes from the system, for sockets of a handler with
    /// [`manual_read`](crate::event_loop::Handler::manual_read). None (an empty slice) means that the input has ended;
    /// `end` follows. [`Received::may_be_more`] spares a read that would bring nothing.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] if nothing has arrived, while the socket is paused, and once `readable` has used up the
    /// socket's share of the iteration: `readable` will come. [`Error::Busy`] in a `data` callback and while a
    /// [`Received`] is held, [`Error::NotOpen`], [`Error::Closed`].
    pub fn read(&mut self, max: usize) -> Result<Received, Error> {
        let id = self.id().0;
        self.core().read_by_hand(id, max)
    }
}

impl StreamState {
    /// One read of a socket without TLS.
    #[inline]
    fn take_plain(&mut self, system: &mut dyn Net, stats: &mut Stats, buffer: &mut [u8]) -> Taken {
        let Some(net) = self.net else { return Taken::Nothing };
        let outcome = loop {
            stats.reads += 1;
            match system.read(net, buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        match outcome {
            Ok(0) => {
                self.readable = false;
                Taken::End
            }
            Ok(count) => {
                self.note_taken(count, system);
                if count < buffer.len() && !self.hung_up {
                    // The system had no more. What comes from now on is a new edge.
                    self.readable = false;
                }
                stats.bytes_in += count as u64;
                Taken::Bytes(count)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                (self.readable, self.hung_up) = (false, false);
                Taken::Nothing
            }
            Err(error) => Taken::Failed(error),
        }
    }
}

/// The shared buffer. Whoever holds on to a [`Received`] costs the loop another one.
fn take_buffer(home: &Cell<Vec<u8>>, options: &LoopOptions) -> Vec<u8> {
    let buffer = home.take();
    if buffer.is_empty() { vec![0; options.receive_buffer] } else { buffer }
}

impl<T> Core<T> {
    pub(super) fn serve_input(&mut self, id: SlotId) {
        let mut budget = self.options.read_budget;
        let mut first = true;
        while let Some(Object::Stream(stream)) = self.objects.get_mut(id) {
            if stream.end_due {
                return self.input_ended(id);
            }
            if !stream.readable || !matches!(stream.phase, Phase::Open | Phase::Finishing) {
                return;
            }
            if stream.manual && !stream.discards {
                return self.serve_reader(id);
            }
            let limit = if stream.discards { usize::MAX } else { stream.deliverable() };
            if limit == 0 {
                return;
            }
            if budget == 0 {
                return self.mark_ready(id);
            }
            let (context, place, discards) = (stream.context, stream.place, stream.discards);
            let mut buffer = take_buffer(&self.receive, &self.options);
            let asked = buffer.len().min(budget).min(limit);
            let (taken, more) = self.take(id, &mut buffer[..asked]);
            if let Taken::Bytes(count) = taken {
                budget -= count;
                if discards {
                    self.stats.discarded += count as u64;
                } else {
                    self.context(context).data(self, SocketId(id), place, &buffer[..count]);
                    self.after_callback("data");
                }
            }
            self.receive.set(buffer);
            match taken {
                Taken::Bytes(_) if more => {}
                // Whatever the callback has made readable again it has also marked.
                Taken::Bytes(_) => return,
                Taken::Unripe(count) => budget = budget.saturating_sub(count),
                Taken::End => return self.input_ended(id),
                Taken::Nothing => {
                    self.stats.false_events += u64::from(first);
                    self.tell_send_error(id);
                    return;
                }
                Taken::Failed(error) => return self.fail(id, error, "read from"),
                Taken::Over(reason) => return self.begin_close(id, *reason),
            }
            first = false;
        }
    }

    /// Lets a handler read by itself. It is asked again, without a new edge, as long as it reads and something is left.
    #[inline(never)]
    fn serve_reader(&mut self, id: SlotId) {
        let Some(stream) = self.stream_mut(id).filter(|stream| stream.phase == Phase::Open && stream.limit > 0) else {
            return;
        };
        stream.has_read = false;
        let (context, place) = (stream.context, stream.place);
        self.read_left = self.options.read_budget;
        self.context(context).readable(self, SocketId(id), place);
        self.after_callback("readable");
        self.read_left = usize::MAX;
        let Some(stream) = self.stream(id) else { return };
        if stream.end_due || (stream.readable && stream.has_read) {
            self.mark_ready(id);
        } else if !stream.in_ready && stream.send_error.is_some() {
            self.tell_send_error(id);
        }
    }

    fn read_by_hand(&mut self, id: SlotId, max: usize) -> Result<Received, Error> {
        let left = self.read_left;
        let Some(Object::Stream(stream)) = self.objects.get_mut(id) else { return Err(Error::Stale) };
        stream.check_open()?;
        if !stream.readable || stream.discards || stream.input_ended || stream.end_due {
            return Err(Error::WouldBlock);
        }
        let share = stream.deliverable().min(left).min(max);
        if share == 0 {
            if left == 0 {
                self.mark_ready(id);
            }
            return Err(Error::WouldBlock);
        }
        let mut buffer = self.receive.take();
        if buffer.is_empty() {
            return Err(Error::Busy);
        }
        let asked = share.min(buffer.len());
        let (taken, more) = self.take(id, &mut buffer[..asked]);
        let mut received = Received { buffer, len: 0, more, home: Rc::clone(&self.receive) };
        match taken {
            Taken::Bytes(count) => {
                received.len = count;
                if left != usize::MAX {
                    self.read_left -= count;
                }
                Ok(received)
            }
            Taken::End => {
                if let Some(stream) = self.stream_mut(id) {
                    stream.end_due = true;
                }
                self.mark_ready(id);
                Ok(received)
            }
            Taken::Unripe(_) => {
                // Whoever reads until nothing is left comes back for what this was the beginning of.
                if let Some(stream) = self.stream_mut(id) {
                    stream.has_read = true;
                }
                Err(Error::WouldBlock)
            }
            Taken::Nothing => Err(Error::WouldBlock),
            Taken::Failed(error) => {
                self.fail(id, error, "read from");
                Err(Error::Closed)
            }
            Taken::Over(reason) => {
                self.begin_close(id, *reason);
                Err(Error::Closed)
            }
        }
    }

    /// One read, with all that follows from it for the latches and the counts. Whether another may bring something.
    #[inline(always)]
    fn take(&mut self, id: SlotId, buffer: &mut [u8]) -> (Taken, bool) {
        let Some(Object::Stream(stream)) = self.objects.get_mut(id) else { return (Taken::Nothing, false) };
        if stream.tls.is_some() {
            let taken = self.take_tls(id, buffer);
            let ended = matches!(taken, Taken::End);
            return (taken, !ended);
        }
        let taken = stream.take_plain(&mut *self.net, &mut self.stats, buffer);
        (taken, stream.readable)
    }

    #[cold]
    fn input_ended(&mut self, id: SlotId) {
        let Some(stream) = self.stream_mut(id) else { return };
        (stream.readable, stream.end_due) = (false, false);
        let before = std::mem::replace(&mut stream.input_ended, true);
        if self.tell_send_error(id) {
            return;
        }
        let Some(stream) = self.stream(id) else { return };
        let (context, place) = (stream.context, stream.place);
        let silent = before || stream.discards;
        if stream.phase == Phase::Open && !silent {
            self.context(context).end(self, SocketId(id), place);
            self.after_callback("end");
        }
        self.close_if_both_ended(id);
    }

    pub(super) fn set_limit(&mut self, id: SlotId, limit: u64) {
        let Some(stream) = self.stream_mut(id) else { return };
        stream.limit = limit;
        if limit > 0 && stream.readable {
            self.mark_ready(id);
        } else if limit == 0 {
            self.tell_send_error(id);
        }
    }

    /// Closes the socket if sending has failed before: all that came is delivered, or nothing more will be read.
    #[cold]
    fn tell_send_error(&mut self, id: SlotId) -> bool {
        let Some(error) = self.stream_mut(id).and_then(|stream| stream.send_error.take()) else { return false };
        self.fail(id, error, "write to");
        true
    }
}
