//! Writing: directly to the system, by the queue, and our end after it.

use super::pool::GATHER;
use super::{FINISH_WAIT, Phase};
use crate::event_loop::state::{Core, Object};
use crate::event_loop::{CloseReason, SocketId};
use std::io::{self, IoSlice};
use wharf_core::slots::SlotId;

impl<T> Core<T> {
    pub(super) fn serve_output(&mut self, id: SlotId) {
        self.flush(id);
        let Some(stream) = self.stream_mut(id) else { return };
        let (context, place) = (stream.context, stream.place);
        if stream.phase == Phase::Open && stream.queue.is_empty() && std::mem::replace(&mut stream.drain_due, false) {
            self.context(context).drained(self, SocketId(id), place);
            self.after_callback("drained");
        }
        let half = self.options.tx_limit / 2;
        let Some(stream) = self.stream_mut(id) else { return };
        // The queue can be short while the latch is down: `write_now` came up short and nothing is queued.
        let room = stream.writable || !stream.queue.is_empty();
        if stream.phase == Phase::Open && stream.wants_room && room && stream.queue.len() <= half {
            stream.wants_room = false;
            self.context(context).writable(self, SocketId(id), place);
            self.after_callback("writable");
        }
    }

    /// One write. What the system did not take is the caller's. A failure is told later: first come the bytes that have
    /// arrived.
    pub(in crate::event_loop) fn send(&mut self, id: SlotId, pieces: &[IoSlice<'_>]) -> usize {
        let offered: usize = pieces.iter().map(|piece| piece.len()).sum();
        let Some(net) = self.stream(id).and_then(|stream| stream.net) else { return 0 };
        if offered == 0 {
            return 0;
        }
        let outcome = loop {
            match self.net.write(net, pieces) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.account(id, offered, outcome)
    }

    fn account(&mut self, id: SlotId, offered: usize, outcome: io::Result<usize>) -> usize {
        let Some(stream) = self.stream_mut(id) else { return 0 };
        match outcome {
            Ok(count) => {
                stream.sent += count as u64;
                stream.writable = count == offered;
                (self.stats.bytes_out, self.stats.writes) =
                    (self.stats.bytes_out + count as u64, self.stats.writes + 1);
                self.stats.short_writes += u64::from(count < offered);
                count
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                stream.writable = false;
                self.stats.short_writes += 1;
                0
            }
            Err(error) => {
                self.send_failed(id, error);
                0
            }
        }
    }

    fn send_failed(&mut self, id: SlotId, error: io::Error) {
        let Some(stream) = self.stream_mut(id) else { return };
        let stuck = stream.limit == 0 || stream.input_ended;
        (stream.wants_room, stream.drain_due) = (false, false);
        let lost = self.drop_queue(id);
        if let Some(stream) = self.stream_mut(id) {
            stream.lost += lost;
        }
        if stuck {
            // Nothing will be read that could end it.
            return self.fail(id, error, "write to");
        }
        let Some(stream) = self.stream_mut(id) else { return };
        stream.send_error = Some(error);
        (stream.readable, stream.hung_up) = (true, true);
        self.mark_ready(id);
    }

    /// Sends what is queued, as far as the system takes it, and our end after it.
    pub(in crate::event_loop) fn flush(&mut self, id: SlotId) {
        while let Some(Object::Stream(stream)) = self.objects.get_mut(id) {
            if !stream.writable || stream.queue.is_empty() || stream.phase == Phase::Closing {
                break;
            }
            let Some(net) = stream.net else { return };
            let mut pieces = [IoSlice::new(&[]); GATHER];
            let (count, offered) = self.pool.front(&stream.queue, &mut pieces);
            let outcome = self.net.write(net, &pieces[..count]);
            if outcome.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::Interrupted) {
                continue;
            }
            let taken = self.account(id, offered, outcome);
            let Some(Object::Stream(stream)) = self.objects.get_mut(id) else { return };
            self.pool.consume(&mut stream.queue, taken);
            if let (Phase::Finishing, Some(timer), 1..) = (stream.phase, stream.timer, taken) {
                let due = self.net.now().saturating_add(FINISH_WAIT);
                self.timers.arm(timer.0, self.now, due, None);
            }
        }
        self.end_output_if_due(id);
        self.arm_write(id);
    }

    /// Queues as much as the limit allows and returns how much that was.
    pub(in crate::event_loop) fn enqueue(&mut self, id: SlotId, bytes: &[u8]) -> usize {
        let limit = self.options.tx_limit;
        let Some(Object::Stream(stream)) = self.objects.get_mut(id) else { return 0 };
        let taken = bytes.len().min(limit.saturating_sub(stream.queue.len()));
        stream.drain_due |= taken > 0;
        self.pool.append(&mut stream.queue, &bytes[..taken]);
        self.stats.queued_peak = self.stats.queued_peak.max(self.pool.queued());
        taken
    }

    /// The one place that decides about write interest. Once armed it stays: an edge costs nothing until it comes.
    pub(in crate::event_loop) fn arm_write(&mut self, id: SlotId) {
        let Some(stream) = self.stream_mut(id) else { return };
        let waits = stream.wants_room || !stream.queue.is_empty();
        if !waits || stream.phase == Phase::Closing {
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
            Some(Err(error)) => self.send_failed(id, error),
            Some(Ok(())) | None => {}
        }
    }

    pub(in crate::event_loop) fn shut_down(&mut self, id: SlotId) {
        if let Some(stream) = self.stream_mut(id) {
            stream.shut_down = true;
            stream.wants_room = false;
            self.end_output_if_due(id);
        }
    }
}
