//! Streams: what a socket's state is, and how it is served.
//!
//! ```text
//! Starting ─► Connecting ─► Open ─► Finishing ─► Closing ─► gone
//!     └────────────┴─ cancelled or failed ──────────▲
//! ```
//!
//! Two latches remember what the system announced once: that reading or writing may be possible. They fall when the
//! system says that it is not. A hang-up sets both and decides nothing: what read and write then say does.

use super::handler::Opened;
use super::net::{ConnectOptions, NetId, Ready};
use super::pool::{GATHER, Queue};
use super::state::{Core, Object};
use super::timers::{Action, TimerId};
use super::{CloseReason, Error, SocketId};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::time::Duration;
use wharf_core::slots::SlotId;

/// The longest wait for a peer that does not answer `finish`, or does not take what is queued before it.
const FINISH_WAIT: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Made in a callback; comes to life after it.
    Starting,
    Connecting,
    Open,
    /// `finish` was called: only what is queued still leaves.
    Finishing,
    /// Has its last callback before it.
    Closing,
}

pub(super) struct StreamState {
    pub(super) net: Option<NetId>,
    pub(super) context: u32,
    pub(super) place: u32,
    pub(super) phase: Phase,
    pub(super) peer: Option<SocketAddr>,
    pub(super) listener: Option<SlotId>,
    /// Where to connect to, while that has not begun.
    pub(super) target: Option<Box<(SocketAddr, ConnectOptions)>>,
    pub(super) timer: Option<TimerId>,
    pub(super) in_ready: bool,
    readable: bool,
    pub(super) writable: bool,
    hung_up: bool,
    pub(super) watches_write: bool,
    /// The user was told that `writable` will come.
    pub(super) wants_room: bool,
    /// Bytes were queued since the last `drained`.
    drain_due: bool,
    pub(super) input_ended: bool,
    /// Arriving bytes are thrown away.
    pub(super) discards: bool,
    /// Our end follows the queue.
    pub(super) shut_down: bool,
    output_ended: bool,
    pub(super) counts: bool,
    /// The peer is to see a reset.
    pub(super) resets: bool,
    /// Bytes that may still be delivered; `u64::MAX` is no limit.
    limit: u64,
    pub(super) received: u64,
    pub(super) sent: u64,
    /// Queued bytes that were dropped because sending failed.
    pub(super) lost: u64,
    pub(super) queue: Queue,
    /// Why sending failed: the reason of a close to which reading gives no better one.
    send_error: Option<io::Error>,
    /// What `close` or `connect_error` will say; nothing is said of a socket that was cancelled.
    pub(super) last_word: Option<LastWord>,
}

pub(super) enum LastWord {
    Close(CloseReason),
    ConnectError(Error),
}

impl StreamState {
    pub(super) const fn new(net: Option<NetId>, context: u32, place: u32, phase: Phase) -> Self {
        Self {
            net,
            context,
            place,
            phase,
            peer: None,
            listener: None,
            target: None,
            timer: None,
            in_ready: false,
            readable: false,
            writable: true,
            hung_up: false,
            watches_write: false,
            wants_room: false,
            drain_due: false,
            input_ended: false,
            discards: false,
            shut_down: false,
            output_ended: false,
            counts: true,
            limit: u64::MAX,
            received: 0,
            sent: 0,
            lost: 0,
            resets: false,
            queue: Queue::new(),
            send_error: None,
            last_word: None,
        }
    }

    pub(super) const fn latch(&mut self, event: &Ready) {
        self.readable |= event.read;
        self.writable |= event.write;
        self.hung_up |= event.hung_up;
    }

    /// Whether what is written now can leave.
    pub(super) const fn can_send(&self) -> bool {
        matches!(self.phase, Phase::Open) && self.send_error.is_none()
    }

    /// Whether the operations that need an open socket may be used.
    pub(super) fn check_open(&self) -> Result<(), Error> {
        match self.phase {
            Phase::Starting | Phase::Connecting => Err(Error::NotOpen),
            Phase::Open | Phase::Finishing => Ok(()),
            Phase::Closing => Err(Error::Closed),
        }
    }
}

impl<T> Core<T> {
    pub(super) fn stream(&self, id: SlotId) -> Option<&StreamState> {
        match self.objects.get(id)? {
            Object::Stream(stream) => Some(stream),
            Object::Listener(_) => None,
        }
    }

    pub(super) fn stream_mut(&mut self, id: SlotId) -> Option<&mut StreamState> {
        match self.objects.get_mut(id)? {
            Object::Stream(stream) => Some(stream),
            Object::Listener(_) => None,
        }
    }

    pub(super) fn add_stream(&mut self, state: StreamState) -> SlotId {
        let context = self.context(state.context);
        let place = state.place;
        let id = self.add_object(Object::Stream(state));
        context.name(place, SocketId(id));
        self.alive += 1;
        self.stats.sockets += 1;
        self.stats.sockets_peak = self.stats.sockets_peak.max(self.stats.sockets);
        id
    }

    pub(super) fn set_unref(&mut self, id: SlotId, unref: bool) {
        let Some(stream) = self.stream_mut(id) else { return };
        if stream.phase != Phase::Closing {
            let counted = std::mem::replace(&mut stream.counts, !unref);
            self.alive = self.alive - usize::from(counted) + usize::from(!unref);
        }
    }

    /// One turn of a socket: what connecting came to, what is queued, what has arrived.
    pub(super) fn serve_stream(&mut self, id: SlotId) {
        let Some(stream) = self.stream(id) else { return };
        if stream.phase == Phase::Connecting {
            let Some(net) = stream.net else { return };
            match self.net.connected(net) {
                Ok(true) => self.open_stream(id, Opened::Connected),
                Ok(false) => return,
                Err(error) => return self.connect_failed(id, error),
            }
        }
        self.serve_output(id);
        self.serve_input(id);
    }

    fn serve_output(&mut self, id: SlotId) {
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

    fn serve_input(&mut self, id: SlotId) {
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

    pub(super) fn close_if_both_ended(&mut self, id: SlotId) {
        let Some(stream) = self.stream(id) else { return };
        if stream.input_ended && stream.output_ended {
            let finished = stream.phase == Phase::Finishing;
            let reason = if finished { CloseReason::Local { code: 0 } } else { CloseReason::Peer };
            self.begin_close(id, reason);
        }
    }

    /// Reading or writing has failed for good.
    pub(super) fn fail(&mut self, id: SlotId, error: io::Error, op: &'static str) {
        let Some(stream) = self.stream(id) else { return };
        let reason = if matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) {
            CloseReason::PeerReset
        } else {
            let object = stream.peer.map_or_else(|| "a socket".to_owned(), |peer| peer.to_string());
            CloseReason::Failed(Error::Io { op, object, source: error })
        };
        self.begin_close(id, reason);
    }

    /// One write. What the system did not take is the caller's. A failure is told later: first come the bytes that have
    /// arrived.
    pub(super) fn send(&mut self, id: SlotId, pieces: &[IoSlice<'_>]) -> usize {
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
    pub(super) fn flush(&mut self, id: SlotId) {
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
    pub(super) fn enqueue(&mut self, id: SlotId, bytes: &[u8]) -> usize {
        let limit = self.options.tx_limit;
        let Some(Object::Stream(stream)) = self.objects.get_mut(id) else { return 0 };
        let taken = bytes.len().min(limit.saturating_sub(stream.queue.len()));
        stream.drain_due |= taken > 0;
        self.pool.append(&mut stream.queue, &bytes[..taken]);
        self.stats.queued_peak = self.stats.queued_peak.max(self.pool.queued());
        taken
    }

    /// The one place that decides about write interest. Once armed it stays: an edge costs nothing until it comes.
    pub(super) fn arm_write(&mut self, id: SlotId) {
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
        if let Some(Err(error)) = net.map(|net| self.net.end_output(net)) {
            self.send_failed(id, error);
        }
    }

    pub(super) fn shut_down(&mut self, id: SlotId) {
        if let Some(stream) = self.stream_mut(id) {
            stream.shut_down = true;
            stream.wants_room = false;
            self.end_output_if_due(id);
        }
    }

    pub(super) fn finish(&mut self, id: SlotId) {
        let Some(stream) = self.stream_mut(id).filter(|stream| stream.phase == Phase::Open) else { return };
        if stream.input_ended && stream.output_ended {
            return self.begin_close(id, CloseReason::Peer);
        }
        (stream.phase, stream.discards) = (Phase::Finishing, true);
        let readable = stream.readable;
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

    pub(super) fn set_limit(&mut self, id: SlotId, limit: u64) {
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
