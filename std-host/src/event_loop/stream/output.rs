//! Writing: directly to the system, by the queue, and our end after it.
//!
//! What is written leaves at once if nothing is queued before it; what the system does not take is queued. A socket can
//! hold its queue back for a moment, so that small writes leave together: [`Hold`].

use super::pool::{BLOCK, GATHER};
use super::{FINISH_WAIT, Phase, StreamState};
use crate::event_loop::net::{Net, NetId};
use crate::event_loop::state::{Core, Object};
use crate::event_loop::{CloseReason, Error, SocketId, Stats};
use std::io::{self, IoSlice};
use wharf_core::slots::SlotId;

/// Until when a queue is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// `write_more`: until a plain write or the next step of the iteration that sends gathered writes.
    Step,
    /// `cork`: until the end of the callback.
    Callback,
}

/// The most bytes that are gathered before they leave.
const GATHERED: usize = BLOCK;

impl StreamState {
    /// Refuses a write.
    pub(super) fn check_sender(&self) -> Result<(), Error> {
        self.check_open()?;
        if self.shut_down {
            Err(Error::ShutDown)
        } else if self.can_send() {
            Ok(())
        } else {
            Err(Error::Closed)
        }
    }

    /// Whether what is written goes to the system as it is, and nothing but its answer decides what follows.
    fn is_calm(&self) -> bool {
        self.writable && self.queue.is_empty() && self.hold.is_none() && self.tls.is_none() && !self.wants_room
    }

    /// One write of two pieces by a socket without TLS that has nothing queued.
    #[inline]
    fn write_plain(&mut self, head: &[u8], body: &[u8], system: &mut dyn Net, stats: &mut Stats) -> io::Result<usize> {
        let Some(net) = self.net else { return Ok(0) };
        let both = [IoSlice::new(head), IoSlice::new(body)];
        let pieces = match (head, body) {
            ([], []) => return Ok(0),
            (_, []) => &both[..1],
            ([], _) => &both[1..],
            (_, _) => &both[..],
        };
        let outcome = write(system, net, pieces);
        self.note_written(head.len() + body.len(), outcome, system, stats)
    }

    /// Takes note of what a write of `offered` bytes came to: how many were taken, or an error for good.
    #[inline]
    fn note_written(
        &mut self,
        offered: usize,
        outcome: io::Result<usize>,
        net: &mut dyn Net,
        stats: &mut Stats,
    ) -> io::Result<usize> {
        let taken = match outcome {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.writable = false;
                stats.short_writes += 1;
                return Ok(0);
            }
            other => other?,
        };
        self.writable = taken == offered;
        if self.tls.is_none() {
            self.sent += taken as u64;
        }
        self.note_sent(net);
        stats.writes += 1;
        stats.bytes_out += taken as u64;
        stats.short_writes += u64::from(taken < offered);
        Ok(taken)
    }
}

impl<T> Core<T> {
    /// Room in the system: sends what is queued, then tells who waits for that.
    #[inline(never)]
    pub(super) fn serve_output(&mut self, id: SlotId) {
        self.flush(id);
        let Some(stream) = self.stream_mut(id) else { return };
        let (context, place) = (stream.context, stream.place);
        if stream.phase == Phase::Open && stream.waiting() == 0 && std::mem::replace(&mut stream.drain_due, false) {
            self.context(context).drained(self, SocketId(id), place);
            self.after_callback("drained");
        }
        let half = self.options.tx_limit / 2;
        let Some(stream) = self.stream_mut(id) else { return };
        let (context, place) = (stream.context, stream.place);
        // The queue can be short while the latch is down: `write_now` came up short and nothing is queued.
        let room = stream.writable || !stream.queue.is_empty();
        if stream.phase == Phase::Open && stream.wants_room && room && stream.waiting() <= half {
            stream.wants_room = false;
            self.context(context).writable(self, SocketId(id), place);
            self.after_callback("writable");
        }
    }

    /// Sends, gathers or queues two pieces as one unit. Returns how much of them was taken; `writable` comes for the
    /// rest.
    pub(super) fn put(&mut self, id: SlotId, head: &[u8], body: &[u8], more: bool) -> Result<usize, Error> {
        let taken = match self.send_if_calm(id, head, body)? {
            Some(taken) if taken == head.len() + body.len() => return Ok(taken),
            Some(taken) => taken,
            None => self.send_unless_gathered(id, head, body, more),
        };
        Ok(self.keep_rest(id, head, body, taken))
    }

    /// Sends two pieces by a socket that may write and has nothing to see to before them; `None` if it has. Returns how much
    /// of them the system took.
    #[inline]
    fn send_if_calm(&mut self, id: SlotId, head: &[u8], body: &[u8]) -> Result<Option<usize>, Error> {
        let Some(Object::Stream(stream)) = self.objects.get_mut(id) else { return Err(Error::Stale) };
        stream.check_sender()?;
        if !stream.is_calm() {
            return Ok(None);
        }
        Ok(Some(match stream.write_plain(head, body, &mut *self.net, &mut self.stats) {
            Ok(taken) => taken,
            Err(error) => self.send_failed(id, error),
        }))
    }

    /// Sends two pieces without queueing. Returns how much of them the system took; `writable` comes for the rest.
    pub(super) fn put_now(&mut self, id: SlotId, head: &[u8], body: &[u8]) -> Result<usize, Error> {
        let offered = head.len() + body.len();
        let taken = match self.send_if_calm(id, head, body)? {
            Some(taken) if taken == offered => return Ok(taken),
            Some(taken) => taken,
            None => self.send_behind(id, head, body)?,
        };
        self.promise_room(id, taken < offered);
        Ok(taken)
    }

    /// Lets what was gathered go and sends two pieces behind it.
    #[inline(never)]
    fn send_behind(&mut self, id: SlotId, head: &[u8], body: &[u8]) -> Result<usize, Error> {
        self.release(id);
        let stream = self.stream(id).ok_or(Error::Stale)?;
        stream.check_sender()?;
        if !stream.queue.is_empty() {
            return Err(Error::NotEmpty);
        }
        Ok(if stream.writable { self.send(id, head, body) } else { 0 })
    }

    /// Sends as much of two pieces as can leave now, unless they are to be gathered.
    #[inline(never)]
    fn send_unless_gathered(&mut self, id: SlotId, head: &[u8], body: &[u8], more: bool) -> usize {
        let limit = GATHERED.min(self.options.tx_limit);
        let Some(stream) = self.stream_mut(id) else { return 0 };
        let gathers = stream.hold == Some(Hold::Callback) || (stream.hold == Some(Hold::Step) && more);
        if gathers && stream.queue.len() + head.len() + body.len() <= limit {
            return 0;
        }
        let direct = stream.writable && (stream.queue.is_empty() || stream.hold.is_some());
        if !gathers {
            stream.hold = None;
        }
        if direct { self.send(id, head, body) } else { 0 }
    }

    /// Queues what was not taken of two pieces, and returns how much is taken now.
    #[inline(never)]
    fn keep_rest(&mut self, id: SlotId, head: &[u8], body: &[u8], mut taken: usize) -> usize {
        let offered = head.len() + body.len();
        // A failure leaves nothing to queue for.
        if taken < offered && self.stream(id).is_some_and(StreamState::can_send) {
            if taken < head.len() {
                taken += self.enqueue(id, &head[taken..]);
            }
            if taken >= head.len() {
                taken += self.enqueue(id, &body[taken - head.len()..]);
            }
        }
        self.promise_room(id, taken < offered);
        taken
    }

    /// What every write ends with: `writable` will come if it was short, and write interest is armed if it is needed.
    pub(super) fn promise_room(&mut self, id: SlotId, short: bool) {
        let Some(stream) = self.stream_mut(id).filter(|stream| stream.can_send()) else { return };
        stream.wants_room |= short;
        if stream.waits_for_room() {
            self.arm_write(id);
        }
    }

    /// One write of what is queued, as far as it can be gathered, with two more pieces behind it. Returns how much of
    /// those was taken; the rest stays the caller's. A failure is told later: first come the bytes that have arrived.
    pub(super) fn send(&mut self, id: SlotId, head: &[u8], body: &[u8]) -> usize {
        let Some(Object::Stream(stream)) = self.objects.get_mut(id) else { return 0 };
        if stream.tls.is_some() {
            return self.send_tls(id, head, body);
        }
        if !stream.queue.is_empty() {
            return self.send_queued(id, head, body);
        }
        match stream.write_plain(head, body, &mut *self.net, &mut self.stats) {
            Ok(taken) => taken,
            Err(error) => self.send_failed(id, error),
        }
    }

    /// [`Core::send`] of a socket without TLS.
    #[inline(never)]
    fn send_queued(&mut self, id: SlotId, head: &[u8], body: &[u8]) -> usize {
        let Some(Object::Stream(stream)) = self.objects.get_mut(id) else { return 0 };
        let Some(net) = stream.net else { return 0 };
        let mut pieces = [IoSlice::new(&[]); GATHER + 2];
        let (mut count, queued) = self.pool.front(&stream.queue, &mut pieces[..GATHER]);
        for piece in [head, body] {
            if !piece.is_empty() {
                pieces[count] = IoSlice::new(piece);
                count += 1;
            }
        }
        let outcome = write(&mut *self.net, net, &pieces[..count]);
        let taken = self.account(id, queued + head.len() + body.len(), outcome);
        let of_queue = taken.min(queued);
        if of_queue > 0
            && let Some(Object::Stream(stream)) = self.objects.get_mut(id)
        {
            self.pool.consume(&mut stream.queue, of_queue);
            self.put_finish_off(id);
        }
        taken - of_queue
    }

    /// The peer takes what is queued: `finish` goes on waiting.
    pub(super) fn put_finish_off(&mut self, id: SlotId) {
        let Some(stream) = self.stream(id) else { return };
        if let (Phase::Finishing, Some(timer)) = (stream.phase, stream.timer) {
            let due = self.net.now().saturating_add(FINISH_WAIT);
            self.timers.arm(timer.0, self.now, due, None);
        }
    }

    /// What a write of `offered` bytes came to, with all that follows from it. Returns how many were taken.
    pub(super) fn account(&mut self, id: SlotId, offered: usize, outcome: io::Result<usize>) -> usize {
        let Some(Object::Stream(stream)) = self.objects.get_mut(id) else { return 0 };
        match stream.note_written(offered, outcome, &mut *self.net, &mut self.stats) {
            Ok(taken) => taken,
            Err(error) => self.send_failed(id, error),
        }
    }

    /// Nothing can be sent any more, so nothing was taken.
    #[cold]
    fn send_failed(&mut self, id: SlotId, error: io::Error) -> usize {
        let Some(stream) = self.stream_mut(id) else { return 0 };
        let stuck = stream.limit == 0 || stream.input_ended;
        (stream.wants_room, stream.drain_due, stream.hold) = (false, false, None);
        let lost = self.drop_queue(id);
        if let Some(stream) = self.stream_mut(id) {
            stream.lost += lost;
        }
        if stuck {
            // Nothing will be read that could end it.
            self.fail(id, error, "write to");
            return 0;
        }
        let Some(stream) = self.stream_mut(id) else { return 0 };
        stream.send_error = Some(error);
        stream.force_read();
        self.mark_ready(id);
        0
    }

    /// Sends what is queued, unless it is held back, as far as the system takes it, and our end after it.
    pub(super) fn flush(&mut self, id: SlotId) {
        while let Some(stream) = self.stream(id) {
            let idle = !stream.writable || !stream.has_unsent() || stream.hold.is_some();
            if idle || stream.phase == Phase::Closing {
                break;
            }
            self.send(id, &[], &[]);
        }
        self.end_output_if_due(id);
        self.arm_write(id);
    }

    /// Queues as much as the limit allows and returns how much that was.
    fn enqueue(&mut self, id: SlotId, bytes: &[u8]) -> usize {
        let limit = self.options.tx_limit;
        let Some(Object::Stream(stream)) = self.objects.get_mut(id) else { return 0 };
        let taken = bytes.len().min(limit.saturating_sub(stream.waiting()));
        self.pool.append(&mut stream.queue, &bytes[..taken]);
        self.stats.queued_peak = self.stats.queued_peak.max(self.pool.queued());
        taken
    }

    /// Holds the queue of a socket back until the gathered writes leave.
    pub(super) fn gather(&mut self, id: SlotId) {
        let Some(stream) = self.stream_mut(id) else { return };
        // A queue that waits for the system anyway needs no holding back.
        if stream.hold.is_none() && stream.queue.is_empty() {
            stream.hold = Some(Hold::Step);
            if !std::mem::replace(&mut stream.in_gathered, true) {
                self.gathered.push(id);
            }
        }
    }

    /// Holds the queue of a socket back until the end of the callback.
    pub(super) fn cork(&mut self, id: SlotId) {
        if self.corked != Some(id) {
            self.uncork();
            self.corked = Some(id);
        }
        if let Some(stream) = self.stream_mut(id) {
            stream.hold = Some(Hold::Callback);
        }
    }

    /// Ends the hold of the one socket that is corked.
    #[inline]
    pub(in crate::event_loop) fn uncork(&mut self) {
        if let Some(id) = self.corked.take() {
            self.release(id);
        }
    }

    /// Lets the queue of a socket go.
    pub(super) fn release(&mut self, id: SlotId) {
        if self.stream_mut(id).is_some_and(|stream| stream.hold.take().is_some()) {
            self.flush(id);
        }
    }

    /// Steps 3 and 8: gathered writes leave.
    #[inline]
    pub(in crate::event_loop) fn send_gathered(&mut self) {
        self.uncork();
        if !self.gathered.is_empty() {
            self.send_all_gathered();
        }
    }

    #[inline(never)]
    fn send_all_gathered(&mut self) {
        let mut gathered = std::mem::take(&mut self.gathered);
        for id in gathered.drain(..) {
            if let Some(stream) = self.stream_mut(id) {
                stream.in_gathered = false;
                self.release(id);
            }
        }
        self.gathered = gathered;
    }

    /// The one place that decides about write interest. Once armed it stays: an edge costs nothing until it comes.
    pub(super) fn arm_write(&mut self, id: SlotId) {
        let Some(stream) = self.stream_mut(id).filter(|stream| stream.hold.is_none()) else { return };
        stream.drain_due |= stream.waiting() > 0;
        if !stream.waits_for_room() || stream.phase == Phase::Closing {
            return;
        }
        if stream.writable {
            // A full queue, not the system, is what made the user wait.
            return self.mark_ready(id);
        }
        if let (false, Some(net)) = (std::mem::replace(&mut stream.watches_write, true), stream.net)
            && let Err(error) = self.net.watch(net, id.to_bits(), true)
        {
            self.fail(id, error, "watch");
        }
    }

    fn end_output_if_due(&mut self, id: SlotId) {
        let Some(stream) = self.stream_mut(id) else { return };
        let due = stream.shut_down && stream.queue.is_empty() && !stream.output_ended;
        if !due || stream.phase == Phase::Closing || stream.send_error.is_some() {
            return;
        }
        if stream.tls.is_some() && !self.end_tls(id) {
            // It goes on when the last record has left.
            return;
        }
        let Some(stream) = self.stream_mut(id) else { return };
        stream.output_ended = true;
        let (net, input_ended) = (stream.net, stream.input_ended);
        if input_ended {
            // Both sides are done: the close says the rest.
            return self.begin_close(id, CloseReason::Peer);
        }
        match net.map(|net| self.net.end_output(net)) {
            Some(Err(error)) if error.kind() == io::ErrorKind::Unsupported => {
                // Only the close can tell our end.
                if self.stream(id).is_some_and(|stream| stream.phase == Phase::Finishing) {
                    self.begin_close(id, CloseReason::Local { code: 0 });
                }
            }
            Some(Err(error)) => {
                self.send_failed(id, error);
            }
            Some(Ok(())) | None => {}
        }
    }

    pub(super) fn shut_down(&mut self, id: SlotId) {
        self.release(id);
        if let Some(stream) = self.stream_mut(id) {
            stream.shut_down = true;
            stream.wants_room = false;
            self.end_output_if_due(id);
            self.arm_write(id);
        }
    }
}

/// One write, whatever signals come meanwhile.
#[inline]
fn write(system: &mut dyn Net, net: NetId, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
    loop {
        match system.write(net, pieces) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
