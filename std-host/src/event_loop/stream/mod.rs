//! Streams: what a socket's state is, and how it is served.
//!
//! ```text
//! Starting ─► Connecting ─► Handshaking ─► Open ─► Finishing ─► Closing ─► gone
//!     └────────────┴──────── cancelled or failed ─────────────────▲
//! ```
//!
//! Only a socket with TLS is ever `Handshaking`.
//!
//! Two latches remember what the system announced once: that reading or writing may be possible. They fall when the
//! system says that it is not. A hang-up sets both and decides nothing: what read and write then say does.

mod adopting;
mod any;
mod connecting;
mod handshake;
mod input;
mod lifecycle;
mod moving;
mod output;
mod pool;
mod secure;
mod socket;
mod timeouts;

pub use adopting::Detached;
pub use adopting::Released;
pub use any::AnyStream;
pub use input::Received;
pub use socket::{Socket, SocketId, Stream};
pub use timeouts::Traffic;

pub(in crate::event_loop) use handshake::Handshakes;
pub(in crate::event_loop) use pool::Pool;
pub(in crate::event_loop) use secure::Tls;
pub(in crate::event_loop) use timeouts::Which;

use super::net::{Net, NetId, Ready};
use super::state::{Core, Object};
use super::timers::TimerId;
use super::{Address, CloseReason, Error};
use connecting::Connecting;
use output::Hold;
use pool::Queue;
use std::io;
use std::time::Duration;
use timeouts::Timeouts;
use wharf_core::slots::SlotId;

/// The longest wait for a peer that does not answer `finish`, or does not take what is queued before it.
const FINISH_WAIT: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::event_loop) enum Phase {
    /// Made in a callback; comes to life after it.
    Starting,
    Connecting,
    /// Connected; TLS is not settled yet.
    Handshaking,
    Open,
    /// `finish` was called: only what is queued still leaves.
    Finishing,
    /// Has its last callback before it.
    Closing,
}

pub(in crate::event_loop) struct StreamState {
    pub(in crate::event_loop) net: Option<NetId>,
    pub(in crate::event_loop) context: u32,
    pub(in crate::event_loop) place: u32,
    pub(in crate::event_loop) phase: Phase,
    pub(in crate::event_loop) peer: Address,
    pub(in crate::event_loop) listener: Option<SlotId>,
    /// What there is before the socket is open, if it is not adopted.
    pub(in crate::event_loop) connecting: Option<Box<Connecting>>,
    pub(in crate::event_loop) timer: Option<TimerId>,
    pub(in crate::event_loop) in_ready: bool,
    readable: bool,
    /// The handler reads by itself.
    manual: bool,
    /// It has read something in its present `readable`.
    has_read: bool,
    /// A read by hand has found the end, which is to be told.
    end_due: bool,
    pub(in crate::event_loop) writable: bool,
    hung_up: bool,
    /// A hang-up was reported at any time.
    has_hung_up: bool,
    pub(in crate::event_loop) watches_write: bool,
    /// The user was told that `writable` will come.
    pub(in crate::event_loop) wants_room: bool,
    /// Bytes were queued since the last `drained`.
    drain_due: bool,
    pub(in crate::event_loop) input_ended: bool,
    /// Arriving bytes are thrown away.
    pub(in crate::event_loop) discards: bool,
    /// Our end follows the queue.
    pub(in crate::event_loop) shut_down: bool,
    output_ended: bool,
    pub(in crate::event_loop) counts: bool,
    /// The peer is to see a reset.
    pub(in crate::event_loop) resets: bool,
    /// Bytes that may still be delivered; `u64::MAX` is no limit.
    limit: u64,
    pub(in crate::event_loop) received: u64,
    pub(in crate::event_loop) sent: u64,
    /// Queued bytes that were dropped because sending failed.
    pub(in crate::event_loop) lost: u64,
    pub(in crate::event_loop) queue: Queue,
    /// What keeps the queue from leaving.
    hold: Option<Hold>,
    in_gathered: bool,
    timeouts: Option<Box<Timeouts>>,
    pub(in crate::event_loop) tls: Option<Box<Tls>>,
    /// Why sending failed: the reason of a close to which reading gives no better one.
    send_error: Option<io::Error>,
}

/// What `close` or `connect_error` will say; nothing is said of a socket that was cancelled.
pub(in crate::event_loop) enum LastWord {
    Close(CloseReason),
    /// The error, and how many addresses were tried.
    ConnectError(Box<(Error, u32)>),
}

impl StreamState {
    pub(in crate::event_loop) const fn new(net: Option<NetId>, context: u32, place: u32, phase: Phase) -> Self {
        Self {
            net,
            context,
            place,
            phase,
            peer: Address::Unnamed,
            listener: None,
            connecting: None,
            timer: None,
            in_ready: false,
            readable: false,
            manual: false,
            has_read: false,
            end_due: false,
            writable: true,
            hung_up: false,
            has_hung_up: false,
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
            hold: None,
            in_gathered: false,
            timeouts: None,
            tls: None,
            send_error: None,
        }
    }

    pub(in crate::event_loop) const fn latch(&mut self, event: &Ready) {
        self.readable |= event.read;
        self.writable |= event.write;
        self.hung_up |= event.hung_up;
        self.has_hung_up |= event.hung_up;
        if let Some(tls) = &mut self.tls {
            tls.wire |= event.read;
        }
    }

    /// Has the input looked at, whatever the system has announced.
    fn force_read(&mut self) {
        (self.readable, self.hung_up) = (true, true);
        if let Some(tls) = &mut self.tls {
            tls.wire = true;
        }
    }

    /// Counts bytes on their way to the handler.
    fn note_taken(&mut self, count: usize, net: &mut dyn Net) {
        let bytes = count as u64;
        self.has_read = true;
        self.received += bytes;
        if self.limit != u64::MAX && !self.discards {
            self.limit -= bytes;
        }
        self.note_received(net);
    }

    /// How much may still be delivered.
    fn deliverable(&self) -> usize {
        usize::try_from(self.limit).unwrap_or(usize::MAX)
    }

    /// Whether something waits for the system to take more, or for the queue to be shorter.
    fn waits_for_room(&self) -> bool {
        self.wants_room || self.has_unsent()
    }

    /// Whether room in the system changes anything: for the queue, for our end, or for what the user is to be told.
    fn has_output(&self) -> bool {
        self.waits_for_room() || self.drain_due || self.shut_down && !self.output_ended
    }

    /// The sockets of the system that belong to it.
    pub(in crate::event_loop) fn nets(&self) -> impl Iterator<Item = NetId> {
        self.net.into_iter().chain(self.connecting.iter().flat_map(|connecting| connecting.nets()))
    }

    /// Whether what is written now can leave.
    pub(in crate::event_loop) const fn can_send(&self) -> bool {
        matches!(self.phase, Phase::Open) && self.send_error.is_none()
    }

    /// Whether the operations that need an open socket may be used.
    pub(in crate::event_loop) fn check_open(&self) -> Result<(), Error> {
        match self.phase {
            Phase::Starting | Phase::Connecting | Phase::Handshaking => Err(Error::NotOpen),
            Phase::Open | Phase::Finishing => Ok(()),
            Phase::Closing => Err(Error::Closed),
        }
    }
}

impl<T> Core<T> {
    pub(in crate::event_loop) fn stream(&self, id: SlotId) -> Option<&StreamState> {
        match self.objects.get(id)? {
            Object::Stream(stream) => Some(stream),
            Object::Listener(_) | Object::Udp(_) => None,
        }
    }

    pub(in crate::event_loop) fn stream_mut(&mut self, id: SlotId) -> Option<&mut StreamState> {
        match self.objects.get_mut(id)? {
            Object::Stream(stream) => Some(stream),
            Object::Listener(_) | Object::Udp(_) => None,
        }
    }

    pub(in crate::event_loop) fn add_stream(&mut self, mut state: StreamState) -> SlotId {
        let context = self.context(state.context);
        state.manual = context.manual_read();
        let place = state.place;
        let id = self.add_object(Object::Stream(state));
        context.name(place, SocketId(id));
        self.alive += 1;
        self.stats.sockets += 1;
        self.stats.sockets_peak = self.stats.sockets_peak.max(self.stats.sockets);
        id
    }

    pub(in crate::event_loop) fn set_unref(&mut self, id: SlotId, unref: bool) {
        let Some(stream) = self.stream_mut(id) else { return };
        if stream.phase != Phase::Closing {
            let counted = std::mem::replace(&mut stream.counts, !unref);
            self.alive = self.alive - usize::from(counted) + usize::from(!unref);
        }
    }

    /// One turn of a socket: what connecting came to, what is queued, what has arrived.
    pub(in crate::event_loop) fn serve_stream(&mut self, id: SlotId) {
        let Some(mut stream) = self.stream(id) else { return };
        if stream.phase == Phase::Connecting {
            if !self.serve_connecting(id) {
                return;
            }
            let Some(opened) = self.stream(id) else { return };
            stream = opened;
        }
        if stream.phase == Phase::Handshaking {
            return self.serve_handshake(id);
        }
        if stream.has_output() {
            self.serve_output(id);
        }
        self.serve_input(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_of_a_socket_is_small() {
        // Half of what all memory of an idle socket may come to, because a table that grows doubles.
        assert!(size_of::<Object<()>>() <= 256, "{} bytes", size_of::<Object<()>>());
    }
}
