//! Reading: from the system into the shared buffer, and on to the handler.

use super::Phase;
use crate::event_loop::SocketId;
use crate::event_loop::state::Core;
use std::io;
use wharf_core::slots::SlotId;

impl<T> Core<T> {
    pub(super) fn serve_input(&mut self, id: SlotId) {
        let mut budget = self.options.read_budget;
        let mut first = true;
        while let Some(stream) = self.stream(id) {
            if !stream.readable || !matches!(stream.phase, Phase::Open | Phase::Finishing) {
                return;
            }
            let (Some(net), discards) = (stream.net, stream.discards) else { return };
            let limit = if discards { usize::MAX } else { usize::try_from(stream.limit).unwrap_or(usize::MAX) };
            if limit == 0 {
                return;
            }
            if budget == 0 {
                return self.mark_ready(id);
            }
            let asked = self.receive.len().min(budget).min(limit);
            self.stats.reads += 1;
            match self.net.read(net, &mut self.receive[..asked]) {
                Ok(0) => return self.input_ended(id),
                Ok(count) => {
                    budget -= count;
                    self.deliver(id, count, asked);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.stats.false_events += u64::from(first);
                    if let Some(stream) = self.stream_mut(id) {
                        (stream.readable, stream.hung_up) = (false, false);
                    }
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.fail(id, error, "read from"),
            }
            first = false;
        }
    }

    fn deliver(&mut self, id: SlotId, count: usize, asked: usize) {
        let bytes = count as u64;
        self.stats.bytes_in += bytes;
        let Some(stream) = self.stream_mut(id) else { return };
        stream.received += bytes;
        if count < asked && !stream.hung_up {
            // The system had no more. What comes from now on is a new edge.
            stream.readable = false;
        }
        if stream.discards {
            self.stats.discarded += bytes;
            return;
        }
        if stream.limit != u64::MAX {
            stream.limit -= bytes;
        }
        let (context, place) = (stream.context, stream.place);
        let receive = std::mem::take(&mut self.receive);
        self.context(context).data(self, SocketId(id), place, &receive[..count]);
        self.receive = receive;
        self.after_callback("data");
    }

    fn input_ended(&mut self, id: SlotId) {
        let Some(stream) = self.stream_mut(id) else { return };
        stream.readable = false;
        let before = std::mem::replace(&mut stream.input_ended, true);
        if let Some(error) = stream.send_error.take() {
            // Sending failed before: now all that came is delivered.
            return self.fail(id, error, "write to");
        }
        let (context, place) = (stream.context, stream.place);
        let silent = before || stream.discards;
        if stream.phase == Phase::Open && !silent {
            self.context(context).end(self, SocketId(id), place);
            self.after_callback("end");
        }
        self.close_if_both_ended(id);
    }

    pub(in crate::event_loop) fn set_limit(&mut self, id: SlotId, limit: u64) {
        let Some(stream) = self.stream_mut(id) else { return };
        stream.limit = limit;
        if limit == 0
            && let Some(error) = stream.send_error.take()
        {
            // Sending has failed, and nothing will be read that could tell.
            return self.fail(id, error, "write to");
        }
        if limit > 0 && stream.readable {
            self.mark_ready(id);
        }
    }
}
